//! Activations, and operators that do nothing in training.

use super::fold;
use super::row::{Build, Fold, Known, Row};
use crate::file::constant::{Constant, Elements};
use crate::importer::{Importer, Node, Value, axis, decimal};
use bitbudget_ir::{Dim, NodeId, Op, Real, Shape, ops};
use std::cmp::Ordering;
use std::rc::Rc;

const fn row(
    name: &'static str,
    versions: &'static [i64],
    attributes: &'static [&'static str],
    forms: &'static str,
    build: Build,
) -> Row {
    Row { name, versions, attributes, forms, build: Some(build), fold: None }
}

const fn folded(row: Row, fold: Fold) -> Row {
    Row { fold: Some(fold), ..row }
}

pub(super) const ROWS: &[Row] = &[
    row("Relu", &[6, 13, 14], &[], "`relu`", |i, n| unary(i, n, ops::Relu {})),
    row("LeakyRelu", &[6, 16], &["alpha"], "`leaky_relu`", leaky_relu),
    folded(
        row(
            "Clip",
            &[6, 11, 12, 13],
            &["max", "min"],
            "`clip`; bounds as attributes or inputs, `extremum` with those that are computed",
            clip,
        ),
        folded_clip,
    ),
    row("Gelu", &[20], &["approximate"], "`gelu`", gelu),
    row("Sigmoid", &[6, 13], &[], "`sigmoid`", |i, n| unary(i, n, ops::Sigmoid {})),
    row("HardSigmoid", &[6, 22], &["alpha", "beta"], "`scale`, `add` and `clip`", hard_sigmoid),
    row("HardSwish", &[14, 22], &[], "like HardSigmoid with alpha 1/6 and beta 1/2, then `mul`", hard_swish),
    row("Tanh", &[6, 13], &[], "`tanh`", |i, n| unary(i, n, ops::Tanh {})),
    folded(row("Exp", &[6, 13], &[], "`exp`", |i, n| unary(i, n, ops::Exp {})), |_, x, room| {
        Ok(vec![fold::unary(x, room, f32::exp)?])
    }),
    folded(row("Log", &[6, 13], &[], "`log`", |i, n| unary(i, n, ops::Log {})), |_, x, room| {
        Ok(vec![fold::unary(x, room, f32::ln)?])
    }),
    folded(row("Sqrt", &[6, 13], &[], "`sqrt`", |i, n| unary(i, n, ops::Sqrt {})), |_, x, room| {
        Ok(vec![fold::unary(x, room, f32::sqrt)?])
    }),
    row(
        "Softmax",
        &[1, 11, 13],
        &["axis"],
        "`softmax`; any axis by way of `transpose` or `reshape`; before version 13 over all dimensions from the axis on",
        |i, n| softmax(i, n, ops::Softmax {}.into()),
    ),
    row("LogSoftmax", &[1, 11, 13], &["axis"], "`log_softmax`; like Softmax", |i, n| {
        softmax(i, n, ops::LogSoftmax {}.into())
    }),
    folded(
        row("Identity", &[1, 13, 14, 16, 19, 21, 23, 24, 25], &[], "nothing", |importer, node| {
            let output = node.proto.output.first().map_or("", String::as_str);
            Ok(vec![importer.renamed(&node.need(0)?.value, output)])
        }),
        fold::identity,
    ),
];

fn unary(importer: &mut Importer, node: &Node, op: impl Into<Op>) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    Ok(vec![Value::Tensor(importer.emit(node.name, op, &[x])?)])
}

fn leaky_relu(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let alpha = Real(node.float("alpha")?.unwrap_or(0.01));
    unary(importer, node, ops::LeakyRelu { alpha })
}

fn gelu(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    match node.text("approximate")?.as_deref().unwrap_or("none") {
        "none" => unary(importer, node, ops::Gelu { tanh: false }),
        "tanh" => unary(importer, node, ops::Gelu { tanh: true }),
        other => Err(format!("approximate is `{other}`; only `none` and `tanh` are known")),
    }
}

fn clip(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let is_computed = |position: usize| {
        node.input(position).is_some_and(|operand| matches!(operand.value, Value::Tensor(_) | Value::Padded(_)))
    };
    let bound = |importer: &Importer, position: usize, name: &str, none: f64| -> Result<Real, String> {
        let given = match node.input(position) {
            Some(_) if is_computed(position) => None,
            Some(operand) => Some(decimal(importer.constant(operand)?.as_scalar()?)),
            None => node.float(name)?,
        };
        // Exporters write the largest FP32 number for "no bound".
        let open = |x: f64| if x.abs() >= f64::from(f32::MAX) * 0.999 { f64::INFINITY.copysign(x) } else { x };
        Ok(Real(given.map_or(none, open)))
    };
    let min = bound(importer, 1, "min", f64::NEG_INFINITY)?;
    let max = bound(importer, 2, "max", f64::INFINITY)?;
    if min.0.is_nan() || max.0.is_nan() || min.0 > max.0 {
        return Err(format!("the bounds {} and {} leave nothing", min.0, max.0));
    }
    if !is_computed(1) && !is_computed(2) {
        return unary(importer, node, ops::Clip { min, max });
    }
    // The upper bound wins where they cross.
    let mut y = importer.tensor(node, 0)?;
    for (position, min, max) in [(1, min, Real(f64::INFINITY)), (2, Real(f64::NEG_INFINITY), max)] {
        if is_computed(position) {
            let bound = importer.tensor(node, position)?;
            y = importer.emit(node.name, ops::Extremum { least: position == 2 }, &[y, bound])?;
        } else if min.0.is_finite() || max.0.is_finite() {
            y = importer.emit(node.name, ops::Clip { min, max }, &[y])?;
        }
    }
    Ok(vec![Value::Tensor(y)])
}

/// The numbers between bounds that are known too: exporters compute paddings with it.
fn folded_clip(node: &Node, inputs: Known, room: usize) -> Result<Vec<Constant>, String> {
    let mut x = fold::need(inputs, 0)?.clone();
    for (position, name, is_least) in [(1, "min", true), (2, "max", false)] {
        let bound = match (inputs.get(position).and_then(Option::as_ref), node.float(name)?) {
            (Some(bound), _) => bound.clone(),
            (None, Some(bound)) => {
                Rc::new(Constant { shape: Vec::new(), elements: Elements::Floats(vec![bound as f32]) })
            }
            (None, None) => continue,
        };
        let beyond = |order: Ordering| order == if is_least { Ordering::Less } else { Ordering::Greater };
        x = fold::binary(
            &[Some(Rc::new(x)), Some(bound)],
            room,
            |x, bound| Some(if beyond(x.compare(bound)?) { bound } else { x }),
            |x, bound| if x.partial_cmp(&bound).is_some_and(beyond) { bound } else { x },
        )?;
    }
    Ok(vec![x])
}

fn hard(importer: &mut Importer, node: &Node, x: NodeId, alpha: f64, beta: f64) -> Result<NodeId, String> {
    let scaled = importer.emit(node.name, ops::Scale { by: Real(decimal(alpha as f32)) }, &[x])?;
    let name = importer.fresh_name(&format!("{}.beta", node.name));
    let beta = Constant { shape: Vec::new(), elements: Elements::Floats(vec![beta as f32]) };
    let beta = importer.constant_source(&name, &beta)?;
    let sum = importer.emit(node.name, ops::Add {}, &[scaled, beta])?;
    importer.emit(node.name, ops::Clip { min: Real(0.0), max: Real(1.0) }, &[sum])
}

fn hard_sigmoid(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let (alpha, beta) = (node.float("alpha")?.unwrap_or(0.2), node.float("beta")?.unwrap_or(0.5));
    let x = importer.tensor(node, 0)?;
    Ok(vec![Value::Tensor(hard(importer, node, x, alpha, beta)?)])
}

fn hard_swish(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    let gate = hard(importer, node, x, 1.0 / 6.0, 0.5)?;
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Mul {}, &[x, gate])?)])
}

fn softmax(importer: &mut Importer, node: &Node, op: Op) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    let shape = importer.shape(x);
    let rank = shape.rank();
    let given = node.int("axis")?;
    if node.version < 13 {
        let axis = axis(given.unwrap_or(1), rank)?;
        if axis + 1 == rank {
            return unary(importer, node, op);
        }
        let (factor, batches) = Shape(shape.0[axis..].to_vec()).symbolic_elements();
        if batches > 0 {
            return Err("it would mix the examples of a batch".into());
        }
        let mut rows = shape.0[..axis].to_vec();
        rows.push(Dim::fixed(factor));
        let flat = importer.reshape(node.name, x, Shape(rows))?;
        let y = importer.emit(node.name, op, &[flat])?;
        return Ok(vec![Value::Tensor(importer.reshape(node.name, y, shape)?)]);
    }
    let axis = axis(given.unwrap_or(-1), rank)?;
    if axis + 1 == rank {
        return unary(importer, node, op);
    }
    if shape.0[axis + 1..].iter().all(|&d| d == Dim::fixed(1)) {
        let rows = importer.reshape(node.name, x, Shape(shape.0[..=axis].to_vec()))?;
        let y = importer.emit(node.name, op, &[rows])?;
        return Ok(vec![Value::Tensor(importer.reshape(node.name, y, shape)?)]);
    }
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(axis, rank - 1);
    let moved = importer.emit(node.name, ops::Transpose { perm: perm.clone() }, &[x])?;
    let y = importer.emit(node.name, op, &[moved])?;
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Transpose { perm }, &[y])?)])
}
