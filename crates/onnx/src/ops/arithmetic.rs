//! Addition, subtraction, multiplication, division, powers.

use super::row::Row;
use super::{fold, layer_norm_pattern};
use crate::file::constant::{Constant, Elements, Int};
use crate::importer::{Importer, Node, Operand, Value, decimal};
use bitbudget_ir::{Dim, NodeId, Op, Real, Shape, UnaryFunction, ops};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "Add",
        versions: &[7, 13, 14],
        attributes: &["axis"],
        forms: "`add`, broadcast; the last step of a layer normalisation written out, `layer_normalization`",
        build: Some(add),
        fold: Some(|_, x, room| Ok(vec![fold::binary(x, room, Int::add, |a, b| a + b)?])),
    },
    Row {
        name: "Sub",
        versions: &[7, 13, 14],
        attributes: &["axis"],
        forms: "`sub`, broadcast",
        build: Some(|i, n| binary(i, n, ops::Sub {})),
        fold: Some(|_, x, room| Ok(vec![fold::binary(x, room, Int::sub, |a, b| a - b)?])),
    },
    Row {
        name: "Mul",
        versions: &[7, 13, 14],
        attributes: &["axis"],
        forms: "`mul`, broadcast; by a known number, `scale`",
        build: Some(mul),
        fold: Some(|_, x, room| Ok(vec![fold::binary(x, room, Int::mul, |a, b| a * b)?])),
    },
    Row {
        name: "Div",
        versions: &[7, 13, 14],
        attributes: &["axis"],
        forms: "`div`, broadcast; by a known number, `scale`",
        build: Some(div),
        fold: Some(|_, x, room| Ok(vec![fold::binary(x, room, Int::div, |a, b| a / b)?])),
    },
    Row {
        name: "Pow",
        versions: &[7, 12, 13, 15],
        attributes: &["axis"],
        forms: "exponents known at import: 1 nothing, 2 `mul`, 1/2 `sqrt`, others `unary`; tensors of exponents, `pow`",
        build: Some(pow),
        fold: Some(|_, x, room| Ok(vec![fold::binary(x, room, power, f32::powf)?])),
    },
    Row {
        name: "Neg",
        versions: &[6, 13],
        attributes: &[],
        forms: "`scale`",
        build: Some(|i, n| scale(i, n, n.need(0)?, -1.0)),
        fold: Some(|_, x, room| match &fold::need(x, 0)?.elements {
            Elements::Floats(_) => Ok(vec![fold::unary(x, room, |a| -a)?]),
            Elements::Ints(ints) => {
                let negated: Option<Vec<Int>> = ints.iter().map(|&i| i.mul(Int::fixed(-1))).collect();
                let elements = Elements::Ints(negated.ok_or("a number is too large")?);
                Ok(vec![Constant { shape: fold::need(x, 0)?.shape.clone(), elements }])
            }
        }),
    },
    Row {
        name: "Reciprocal",
        versions: &[6, 13],
        attributes: &[],
        forms: "`div`, of one",
        build: Some(reciprocal),
        fold: Some(|_, x, room| Ok(vec![fold::unary(x, room, f32::recip)?])),
    },
    Row {
        name: "Sum",
        versions: &[6, 8, 13],
        attributes: &[],
        forms: "`sum`, or `add` where shapes broadcast",
        build: Some(sum),
        fold: None,
    },
    Row {
        name: "Mean",
        versions: &[6, 8, 13],
        attributes: &[],
        forms: "`sum` or `add`, and `scale`",
        build: Some(mean),
        fold: None,
    },
];

fn power(base: Int, exponent: Int) -> Option<Int> {
    let exponent = u32::try_from(exponent.as_fixed()?).ok()?;
    base.as_fixed()?.checked_pow(exponent).map(Int::fixed)
}

fn add(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let a = importer.tensor(node, 0)?;
    let b = importer.aligned(node, a)?;
    let y = match layer_norm_pattern::recognised(importer, node, a, b)? {
        Some(y) => y,
        None => importer.emit(node.name, ops::Add {}, &[a, b])?,
    };
    Ok(vec![Value::Tensor(y)])
}

fn binary(importer: &mut Importer, node: &Node, op: impl Into<Op>) -> Result<Vec<Value>, String> {
    let a = importer.tensor(node, 0)?;
    let b = importer.aligned(node, a)?;
    Ok(vec![Value::Tensor(importer.emit(node.name, op, &[a, b])?)])
}

fn scale(importer: &mut Importer, node: &Node, x: &Operand, by: f64) -> Result<Vec<Value>, String> {
    let x = importer.operand(x)?;
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Scale { by: Real(decimal(by as f32)) }, &[x])?)])
}

/// The number that an operand is, if it is known, finite and does not give the other operand more dimensions.
fn number(importer: &mut Importer, operand: &Operand, other: &Operand) -> Result<Option<f64>, String> {
    let Value::Constant(constant) = &operand.value else { return Ok(None) };
    let Elements::Floats(floats) = &constant.elements else { return Ok(None) };
    match floats.as_slice() {
        [x] if x.is_finite() => {
            let other = importer.operand(other)?;
            Ok((constant.shape.len() <= importer.shape(other).rank()).then(|| decimal(*x)))
        }
        _ => Ok(None),
    }
}

fn mul(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let (a, b) = (node.need(0)?, node.need(1)?);
    if let Some(by) = number(importer, b, a)? {
        return scale(importer, node, a, by);
    }
    if let Some(by) = number(importer, a, b)? {
        return scale(importer, node, b, by);
    }
    binary(importer, node, ops::Mul {})
}

fn div(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let (a, b) = (node.need(0)?, node.need(1)?);
    if matches!(&b.value, Value::Constant(by) if by.as_scalar() == Ok(0.0)) {
        return Err("it divides by zero".into());
    }
    match number(importer, b, a)? {
        Some(0.0) => Err("it divides by zero".into()),
        Some(by) => scale(importer, node, a, 1.0 / by),
        None => binary(importer, node, ops::Div {}),
    }
}

fn pow(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    let rank = importer.shape(x).rank();
    let known = match &node.need(1)?.value {
        Value::Constant(exponent) if exponent.len() == 1 && exponent.shape.len() <= rank => Some(exponent.as_scalar()?),
        Value::Initializer(i) => {
            // A square or a root is meant as such, and negative numbers have no derivative by the exponent.
            let exponent = importer.initializers[*i].constant.clone();
            let number =
                (exponent.len() == 1 && exponent.shape.len() <= rank).then(|| exponent.as_scalar()).transpose()?;
            number.filter(|exponent| [0.5, 2.0, 3.0].contains(exponent))
        }
        _ => None,
    };
    let y = match known {
        Some(1.0) => x,
        Some(2.0) => importer.emit(node.name, ops::Mul {}, &[x, x])?,
        Some(0.5) => importer.emit(node.name, ops::Sqrt {}, &[x])?,
        Some(exponent) => {
            let (function, alpha) = (UnaryFunction::Power, Real(decimal(exponent)));
            importer.emit(node.name, ops::Unary { function, alpha, gamma: Real(1.0) }, &[x])?
        }
        None => {
            let exponent = importer.aligned(node, x)?;
            let is_one = importer.shape(exponent).0.iter().all(|&dim| dim == Dim::fixed(1));
            let fits = importer.shape(exponent).rank() <= importer.shape(x).rank();
            let exponent = match is_one && fits {
                true => importer.reshape(node.name, exponent, Shape(Vec::new()))?,
                false => exponent,
            };
            importer.emit(node.name, ops::Pow {}, &[x, exponent])?
        }
    };
    Ok(vec![Value::Tensor(y)])
}

fn reciprocal(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    let one = Constant { shape: Vec::new(), elements: Elements::Floats(vec![1.0]) };
    let name = importer.fresh_name(&format!("{}.one", node.name));
    let one = importer.constant_source(&name, &one)?;
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Div {}, &[one, x])?)])
}

/// The sum of all inputs; nothing is added to a single one.
fn total(importer: &mut Importer, node: &Node, name: &str, is_inner: bool) -> Result<NodeId, String> {
    let terms = (0..node.inputs.len()).map(|i| importer.tensor(node, i)).collect::<Result<Vec<_>, _>>()?;
    let Some((&first, rest)) = terms.split_first() else { return Err("it has no inputs".into()) };
    let shape = importer.shape(first);
    let is_even = rest.iter().all(|&x| importer.shape(x) == shape);
    let total = match is_even && !rest.is_empty() {
        true => importer.emit(name, ops::Sum {}, &terms)?,
        false => rest.iter().try_fold(first, |sum, &x| importer.emit(name, ops::Add {}, &[sum, x]))?,
    };
    if is_inner && !rest.is_empty() {
        importer.make_internal(total);
    }
    Ok(total)
}

fn sum(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    Ok(vec![Value::Tensor(total(importer, node, node.name, false)?)])
}

fn mean(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let total = total(importer, node, &format!("{}.sum", node.name), true)?;
    let by = Real(1.0 / node.inputs.len() as f64);
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Scale { by }, &[total])?)])
}
