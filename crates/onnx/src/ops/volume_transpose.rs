//! Transposed convolution in three spatial dimensions: in the planes for each layer of the kernel, whose results are added where they lie.

use super::part::part;
use super::window::{Line, pair};
use crate::importer::{Importer, Node};
use bitbudget_ir::{Dim, NodeId, Op, Shape, ops};

/// The result of `[N, C, D, H, W]` with a weight `[C, M/groups, KD, KH, KW]`, without what lies behind the last windows.
pub(super) fn conv_transpose(
    importer: &mut Importer,
    node: &Node,
    [x, w]: [NodeId; 2],
    along: &[Line],
    groups: usize,
    name: Option<&str>,
) -> Result<NodeId, String> {
    let (x_shape, w_shape) = (importer.shape(x), importer.shape(w));
    let sizes = |shape: &Shape| shape.0.iter().skip(1).map(|dim| dim.factor()).collect::<Vec<usize>>();
    let ([channels, depth, ..], [per_group, deep, high, wide]) = (&sizes(&x_shape)[..], &sizes(&w_shape)[..]) else {
        return Err("five dimensions are needed".into());
    };
    let (channels, depth, deep) = (*channels, *depth, *deep);
    let ([first, rows, columns], batch) = (along, x_shape.0[0]) else { return Err("three lines are needed".into()) };
    let outputs = per_group * groups;
    let batches = match batch.as_fixed() {
        Some(size) => Dim::fixed(size * depth),
        None => Dim::batches(batch.factor() * depth),
    };
    let shape =
        |batch: Dim, sizes: &[usize]| Shape([batch].into_iter().chain(sizes.iter().map(|&s| Dim::fixed(s))).collect());
    let of = |f: fn(&Line) -> usize| along[1..].iter().map(f).collect::<Vec<usize>>();
    let op = ops::ConvGradInput {
        strides: pair(&of(|line| line.stride), 1),
        pads_begin: pair(&of(|line| line.begin), 0),
        pads_end: pair(&of(|line| line.end), 0),
        dilations: pair(&of(|line| line.dilation), 1),
        groups,
        input: shape(batches, &[outputs * deep, rows.output, columns.output]),
    };
    let planes = importer.inner(node, "layers", ops::Transpose { perm: vec![0, 2, 1, 3, 4] }, &[x])?;
    let (height, width) = (x_shape.0[3].factor(), x_shape.0[4].factor());
    let planes = importer.reshape(node.name, planes, shape(batches, &[channels, height, width]))?;
    let w = importer.reshape(node.name, w, Shape::fixed(&[channels, per_group * deep, *high, *wide]))?;
    let y = importer.inner(node, "planes", op, &[planes, w])?;
    let plane = rows.output * columns.output;
    let y = importer.reshape(node.name, y, shape(batch, &[depth, outputs, deep, plane]))?;
    let y = importer.inner(node, "apart", ops::Transpose { perm: vec![0, 2, 3, 1, 4] }, &[y])?;
    let (stride, reach) = (first.stride, (depth - 1) * first.stride + 1);
    let full = (reach + (deep - 1) * first.dilation).max(first.begin + first.output);
    let scatter = |begin: Vec<usize>, shape: Shape| ops::SliceScatter { step: vec![1; begin.len()], begin, shape };
    let layers = (0..deep).map(|k| {
        let mut layer = y;
        if deep > 1 {
            layer = part(importer, &format!("{}.layer{k}", node.name), y, 2, (k, 1, 1))?;
            importer.make_internal(layer);
        }
        layer = importer.reshape(node.name, layer, shape(batch, &[outputs, depth, 1, plane]))?;
        if stride > 1 {
            let op = scatter(vec![0; 5], shape(batch, &[outputs, depth, stride, plane]));
            layer = importer.inner(node, "spread", op, &[layer])?;
        }
        layer = importer.reshape(node.name, layer, shape(batch, &[outputs, depth * stride, plane]))?;
        if reach < depth * stride {
            layer = part(importer, &format!("{}.reach", node.name), layer, 2, (0, reach, 1))?;
            importer.make_internal(layer);
        }
        let op = scatter(vec![0, 0, k * first.dilation, 0], shape(batch, &[outputs, full, plane]));
        if full == reach { Ok(layer) } else { importer.inner(node, "placed", op, &[layer]) }
    });
    let layers = layers.collect::<Result<Vec<_>, String>>()?;
    let is_whole = first.begin == 0 && full == first.output;
    let emit = |importer: &mut Importer, what: &str, op: Op, operands: &[NodeId], is_last: bool| match (is_last, name) {
        (true, Some(name)) => importer.emit(name, op, operands),
        _ => importer.inner(node, what, op, operands),
    };
    let mut y = match layers[..] {
        [only] => only,
        _ => emit(importer, "sum", ops::Sum {}.into(), &layers, is_whole)?,
    };
    if !is_whole {
        let part = shape(batch, &[outputs, first.output, plane]);
        let op = ops::Slice { begin: vec![0, 0, first.begin, 0], step: vec![1; 4], shape: part };
        y = emit(importer, "part", op.into(), &[y], true)?;
    }
    if is_whole && deep == 1 && name.is_some() {
        importer.make_output(y);
    }
    importer.reshape(node.name, y, shape(batch, &[outputs, first.output, rows.output, columns.output]))
}
