//! Operators of the first operator set that the standard soon took back, which files of that time still have.

use super::row::{Build, Row};
use crate::file::constant::{Constant, Elements};
use crate::importer::{Importer, Node, Value};
use bitbudget_ir::{Dim, NodeId, Real, ops};

const fn row(name: &'static str, attributes: &'static [&'static str], forms: &'static str, build: Build) -> Row {
    Row { name, versions: &[1], attributes, forms, build: Some(build), fold: None }
}

pub(super) const ROWS: &[Row] = &[
    row("Affine", &["alpha", "beta"], "`scale`, `add`", |importer, node| {
        let x = importer.tensor(node, 0)?;
        let (alpha, beta) = (node.float("alpha")?.unwrap_or(1.0), node.float("beta")?.unwrap_or(0.0));
        let y = scaled(importer, node, x, alpha)?;
        shifted(importer, node, y, &[beta as f32], &[])
    }),
    row("ImageScaler", &["bias", "scale"], "`scale`, `add` of a number per channel", |importer, node| {
        let x = importer.tensor(node, 0)?;
        let bias = node.floats("bias")?.unwrap_or_default();
        let y = scaled(importer, node, x, node.float("scale")?.unwrap_or(1.0))?;
        shifted(importer, node, y, bias, &[bias.len(), 1, 1])
    }),
    row("Crop", &["border", "scale"], "`slice`", crop),
];

fn scaled(importer: &mut Importer, node: &Node, x: NodeId, by: f64) -> Result<NodeId, String> {
    match by {
        1.0 => Ok(x),
        by => importer.emit_internal(node.name, ops::Scale { by: Real(by) }, &[x]),
    }
}

fn shifted(
    importer: &mut Importer,
    node: &Node,
    x: NodeId,
    numbers: &[f32],
    shape: &[usize],
) -> Result<Vec<Value>, String> {
    let name = importer.own_name("bias");
    let bias = Constant { shape: shape.to_vec(), elements: Elements::Floats(numbers.to_vec()) };
    let bias = importer.constant_source(&name, &bias)?;
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Add {}, &[x, bias])?)])
}

/// An image without its border: left, top, right, bottom; with a scale, that height and width from the left and top border on.
fn crop(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    let mut shape = importer.shape(x);
    let (&[_, _, height, width], Some(&[left, top, right, bottom])) =
        (shape.0.as_slice(), node.ints("border")?.and_then(|border| border.as_array::<4>()))
    else {
        return Err(format!("it needs an image [N, channels, height, width] and four borders, has {shape}"));
    };
    let fixed = |dim: Dim| dim.as_fixed().map(|size| size as i64).ok_or("the batch cannot be cropped");
    let (height, width) = (fixed(height)?, fixed(width)?);
    let sizes = match node.ints("scale")? {
        Some(&[height, width]) => [height, width],
        Some(_) => return Err("attribute `scale` must hold a height and a width".into()),
        None => [height - top - bottom, width - left - right],
    };
    let inside = |begin: i64, size: i64, whole: i64| begin >= 0 && size > 0 && begin + size <= whole;
    if !inside(top, sizes[0], height) || !inside(left, sizes[1], width) {
        return Err(format!("it takes {}x{} from {top}, {left} on of {shape}", sizes[0], sizes[1]));
    }
    (shape.0[2], shape.0[3]) = ((sizes[0] as usize).into(), (sizes[1] as usize).into());
    let op = ops::Slice { begin: vec![0, 0, top as usize, left as usize], step: vec![1; 4], shape };
    Ok(vec![Value::Tensor(importer.emit(node.name, op, &[x])?)])
}
