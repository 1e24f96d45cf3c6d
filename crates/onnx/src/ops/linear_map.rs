//! Constant linear maps along one axis: what Resize and CumSum are.

use crate::file::constant::{Constant, Elements};
use crate::importer::Importer;
use bitbudget_ir::{Dim, NodeId, Op, Shape, ops};

/// The elements before and after an axis, each as one dimension.
fn around(shape: &Shape, axis: usize) -> Result<(Dim, usize), String> {
    let (before, batches) = Shape(shape.0[..axis].to_vec()).symbolic_elements();
    let (after, batches_after) = Shape(shape.0[axis + 1..].to_vec()).symbolic_elements();
    if batches_after > 0 || shape.0[axis].is_batch() {
        return Err(format!("the batch must stand before dimension {axis} of {shape}"));
    }
    Ok((if batches == 0 { Dim::fixed(before) } else { Dim::batches(before) }, after))
}

/// The product of a matrix `[output, input]` with the elements along an axis; `is_inner` where it is not a tensor of the network.
pub(super) fn product(
    importer: &mut Importer,
    name: &str,
    x: NodeId,
    axis: usize,
    matrix: Vec<f32>,
    is_inner: bool,
) -> Result<NodeId, String> {
    let mut shape = importer.shape(x);
    let (before, after) = around(&shape, axis)?;
    let input = shape.0[axis].factor();
    let output = matrix.len() / input.max(1);
    let base = importer.fresh_name(&format!("{name}.weights"));
    let source = |importer: &mut Importer, dims: &[usize]| {
        let constant = Constant { shape: dims.to_vec(), elements: Elements::Floats(matrix.clone()) };
        importer.constant_source(&base, &constant)
    };
    let (op, dims, weights): (Op, Vec<Dim>, NodeId) = match after {
        1 => {
            let op = ops::Matmul { trans_a: false, trans_b: true };
            (op.into(), vec![before, Dim::fixed(input)], source(importer, &[output, input])?)
        }
        _ => {
            let (ones, zeros) = ([1; 2], [0; 2]);
            let op = ops::Conv { strides: ones, pads_begin: zeros, pads_end: zeros, dilations: ones, groups: 1 };
            let dims = vec![before, Dim::fixed(input), Dim::fixed(1), Dim::fixed(after)];
            (op.into(), dims, source(importer, &[output, input, 1, 1])?)
        }
    };
    let x = importer.reshape(name, x, Shape(dims))?;
    let y = match is_inner {
        true => importer.emit_internal(name, op, &[x, weights])?,
        false => importer.emit(name, op, &[x, weights])?,
    };
    shape.0[axis] = Dim::fixed(output);
    importer.reshape(name, y, shape)
}
