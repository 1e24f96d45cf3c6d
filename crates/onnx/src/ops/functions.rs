//! Functions of one number.

use super::fold;
use super::row::{Build, Fold, Known, Row};
use crate::file::constant::{Constant, Elements, Int};
use crate::importer::{Importer, Node, Value, decimal};
use bitbudget_ir::{Dim, Real, Shape, UnaryFunction, ops};

const fn row(
    name: &'static str,
    versions: &'static [i64],
    attributes: &'static [&'static str],
    build: Build,
    fold: Option<Fold>,
) -> Row {
    Row { name, versions, attributes, forms: "`unary`", build: Some(build), fold }
}

pub(super) const ROWS: &[Row] = &[
    row("Abs", &[6, 13], &[], |i, n| plain(i, n, UnaryFunction::Abs), Some(|_, x, room| magnitude(x, room))),
    row(
        "Sign",
        &[9, 13],
        &[],
        |i, n| plain(i, n, UnaryFunction::Sign),
        Some(|_, x, room| Ok(vec![fold::unary(x, room, |x| if x == 0.0 || x.is_nan() { x } else { x.signum() })?])),
    ),
    row(
        "Sin",
        &[7, 22],
        &[],
        |i, n| plain(i, n, UnaryFunction::Sin),
        Some(|_, x, room| Ok(vec![fold::unary(x, room, libm::sinf)?])),
    ),
    row(
        "Cos",
        &[7, 22],
        &[],
        |i, n| plain(i, n, UnaryFunction::Cos),
        Some(|_, x, room| Ok(vec![fold::unary(x, room, libm::cosf)?])),
    ),
    row(
        "Erf",
        &[9, 13],
        &[],
        |i, n| plain(i, n, UnaryFunction::Erf),
        Some(|_, x, room| Ok(vec![fold::unary(x, room, libm::erff)?])),
    ),
    row(
        "Floor",
        &[6, 13],
        &[],
        |i, n| plain(i, n, UnaryFunction::Floor),
        Some(|_, x, room| Ok(vec![fold::unary(x, room, f32::floor)?])),
    ),
    row(
        "Ceil",
        &[6, 13],
        &[],
        |i, n| plain(i, n, UnaryFunction::Ceil),
        Some(|_, x, room| Ok(vec![fold::unary(x, room, f32::ceil)?])),
    ),
    row(
        "Round",
        &[11, 22],
        &[],
        |i, n| plain(i, n, UnaryFunction::Round),
        Some(|_, x, room| Ok(vec![fold::unary(x, room, f32::round_ties_even)?])),
    ),
    row("Softplus", &[1, 22], &[], |i, n| plain(i, n, UnaryFunction::Softplus), None),
    row("Softsign", &[1, 22], &[], |i, n| plain(i, n, UnaryFunction::Softsign), None),
    row("Elu", &[6, 22], &["alpha"], |i, n| with_alpha(i, n, UnaryFunction::Elu), None),
    row("Selu", &[6, 22], &["alpha", "gamma"], selu, None),
    row("Celu", &[12], &["alpha"], celu, None),
    row("Mish", &[18, 22], &[], |i, n| plain(i, n, UnaryFunction::Mish), None),
    row("Swish", &[24], &["alpha"], |i, n| with_alpha(i, n, UnaryFunction::Swish), None),
    row("ThresholdedRelu", &[10, 22], &["alpha"], |i, n| with_alpha(i, n, UnaryFunction::ThresholdedRelu), None),
    Row {
        name: "PRelu",
        versions: &[7, 9, 16],
        attributes: &["axis"],
        forms: "`prelu`; a slope of one element, per channel, or broadcast",
        build: Some(prelu),
        fold: None,
    },
];

/// The function of the first input.
fn unary(
    importer: &mut Importer,
    node: &Node,
    function: UnaryFunction,
    alpha: f64,
    gamma: f64,
) -> Result<Vec<Value>, String> {
    if !alpha.is_finite() || !gamma.is_finite() {
        return Err(format!("its attributes {alpha} and {gamma} must be finite"));
    }
    let x = importer.tensor(node, 0)?;
    let op = ops::Unary { function, alpha: Real(alpha), gamma: Real(gamma) };
    Ok(vec![Value::Tensor(importer.emit(node.name, op, &[x])?)])
}

fn plain(importer: &mut Importer, node: &Node, function: UnaryFunction) -> Result<Vec<Value>, String> {
    unary(importer, node, function, 1.0, 1.0)
}

/// A function whose parameter is 1 where the node does not give it.
fn with_alpha(importer: &mut Importer, node: &Node, function: UnaryFunction) -> Result<Vec<Value>, String> {
    let alpha = node.float("alpha")?.unwrap_or(1.0);
    unary(importer, node, function, alpha, 1.0)
}

fn selu(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let alpha = node.float("alpha")?.unwrap_or(decimal(1.673_263_2));
    let gamma = node.float("gamma")?.unwrap_or(decimal(1.050_701));
    unary(importer, node, UnaryFunction::Elu, alpha, gamma)
}

fn celu(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    match node.float("alpha")?.unwrap_or(1.0) {
        alpha if alpha > 0.0 => unary(importer, node, UnaryFunction::Celu, alpha, 1.0),
        alpha => Err(format!("alpha is {alpha}; it must be positive")),
    }
}

fn magnitude(inputs: Known, room: usize) -> Result<Vec<Constant>, String> {
    let x = fold::need(inputs, 0)?;
    let Elements::Ints(ints) = &x.elements else { return Ok(vec![fold::unary(inputs, room, f32::abs)?]) };
    let abs = |int: &Int| int.as_fixed().and_then(i64::checked_abs).map(Int::fixed);
    let ints: Option<Vec<Int>> = ints.iter().map(abs).collect();
    let elements = Elements::Ints(ints.ok_or("a number depends on the batch size or is too large")?);
    Ok(vec![Constant { shape: x.shape.clone(), elements }])
}

fn prelu(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    let slope = importer.aligned(node, x)?;
    let (shape, given) = (importer.shape(x), importer.shape(slope));
    let is_one = |dim: &Dim| *dim == Dim::fixed(1);
    let behind = given.0.iter().skip_while(|dim| is_one(dim)).skip(1).all(is_one);
    let per_channel = || {
        let axis = given.0.iter().position(|dim| !is_one(dim))?;
        let channels = shape.get(1).filter(|&channels| behind && given.0[axis] == channels)?;
        let mut dims = vec![Dim::fixed(1); shape.rank() - 1];
        dims[0] = channels;
        (given.rank() - axis + 1 == shape.rank()).then_some(Shape(dims))
    };
    let slope = match per_channel() {
        _ if given.0.iter().all(is_one) => importer.reshape(node.name, slope, Shape(Vec::new()))?,
        Some(vector) => importer.reshape(node.name, slope, vector)?,
        None => importer.broadcast(node.name, slope, shape)?,
    };
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Prelu {}, &[x, slope])?)])
}
