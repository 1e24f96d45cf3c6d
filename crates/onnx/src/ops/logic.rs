//! Comparisons, truth values, choices by them, and indices of largest elements.

use super::dropout;
use super::fold;
use super::row::{Build, Fold, Known, Row};
use crate::file::constant::{Constant, Elements, Int};
use crate::importer::{Importer, Node, Operand, Value, axis};
use bitbudget_ir::ops::LogicalFunction;
use bitbudget_ir::{DType, Dim, NodeId, Op, Real, Shape, UnaryFunction, ops};
use std::cmp::Ordering;

const fn comparison(name: &'static str, versions: &'static [i64], build: Build, fold: Fold) -> Row {
    Row { name, versions, attributes: &[], forms: "`compare`, broadcast", build: Some(build), fold: Some(fold) }
}

const fn logical(name: &'static str, versions: &'static [i64], build: Build, fold: Fold) -> Row {
    Row { name, versions, attributes: &[], forms: "`logical`, broadcast", build: Some(build), fold: Some(fold) }
}

pub(super) const ROWS: &[Row] = &[
    comparison(
        "Equal",
        &[7, 11, 13, 19],
        |i, n| compare(i, n, false, [false, true]),
        |_, x, room| Ok(vec![fold::compare(x, room, Ordering::is_eq)?]),
    ),
    comparison(
        "Less",
        &[7, 9, 13],
        |i, n| compare(i, n, false, [true, false]),
        |_, x, room| Ok(vec![fold::compare(x, room, Ordering::is_lt)?]),
    ),
    comparison(
        "LessOrEqual",
        &[12, 16],
        |i, n| compare(i, n, false, [true, true]),
        |_, x, room| Ok(vec![fold::compare(x, room, Ordering::is_le)?]),
    ),
    comparison(
        "Greater",
        &[7, 9, 13],
        |i, n| compare(i, n, true, [true, false]),
        |_, x, room| Ok(vec![fold::compare(x, room, Ordering::is_gt)?]),
    ),
    comparison(
        "GreaterOrEqual",
        &[12, 16],
        |i, n| compare(i, n, true, [true, true]),
        |_, x, room| Ok(vec![fold::compare(x, room, Ordering::is_ge)?]),
    ),
    logical("And", &[7], |i, n| logic(i, n, LogicalFunction::And), |_, x, room| truth(x, room, |a, b| a && b)),
    logical("Or", &[7], |i, n| logic(i, n, LogicalFunction::Or), |_, x, room| truth(x, room, |a, b| a || b)),
    logical("Xor", &[7], |i, n| logic(i, n, LogicalFunction::Xor), |_, x, room| truth(x, room, |a, b| a != b)),
    logical("Not", &[1], not, |_, x, room| {
        let x = fold::need(x, 0)?;
        fold::elements(&x.shape, room)?;
        let truths = x.as_fixed()?.into_iter().map(|i| Int::fixed(i64::from(i == 0))).collect();
        Ok(vec![Constant { shape: x.shape.clone(), elements: Elements::Ints(truths) }])
    }),
    Row {
        name: "IsNaN",
        versions: &[9, 13, 20],
        attributes: &[],
        forms: "`compare` with itself, `logical`",
        build: Some(is_nan),
        fold: None,
    },
    Row {
        name: "Where",
        versions: &[9, 16],
        attributes: &[],
        forms: "`where`, broadcast",
        build: Some(choice),
        fold: Some(fold_choice),
    },
    Row {
        name: "Mod",
        versions: &[10, 13, 28],
        attributes: &["fmod"],
        forms: "by `div`, `unary`, `mul` and `sub`",
        build: Some(remainder),
        fold: Some(fold_remainder),
    },
    Row {
        name: "ArgMax",
        versions: &[1, 11, 12, 13],
        attributes: &["axis", "keepdims", "select_last_index"],
        forms: "`arg_max`, `transpose`",
        build: Some(|i, n| arg_max(i, n, false)),
        fold: None,
    },
    Row {
        name: "ArgMin",
        versions: &[1, 11, 12, 13],
        attributes: &["axis", "keepdims", "select_last_index"],
        forms: "`arg_max` of the negative, `transpose`",
        build: Some(|i, n| arg_max(i, n, true)),
        fold: None,
    },
    Row {
        name: "OneHot",
        versions: &[9, 11],
        attributes: &["axis"],
        forms: "`compare` and `where`; depth and values known at import",
        build: Some(one_hot),
        fold: None,
    },
];

/// The shape to which several broadcast.
fn together(importer: &Importer, tensors: &[NodeId]) -> Result<Shape, String> {
    let shapes: Vec<Shape> = tensors.iter().map(|&x| importer.shape(x)).collect();
    let rank = shapes.iter().map(Shape::rank).max().unwrap_or(0);
    let one = Dim::fixed(1);
    let mut all = vec![one; rank];
    for shape in &shapes {
        for (dim, &own) in all[rank - shape.rank()..].iter_mut().zip(&shape.0) {
            match *dim == one {
                true => *dim = own,
                false if own == one || own == *dim => {}
                false => return Err(format!("{shape} does not broadcast: {own} against {dim}")),
            }
        }
    }
    Ok(Shape(all))
}

/// An operand as an operator takes it that also reads scalars: a scalar if it has one element, else of the given shape.
fn spread(importer: &mut Importer, node: &Node, x: NodeId, shape: &Shape) -> Result<NodeId, String> {
    match importer.shape(x).symbolic_elements() {
        (1, 0) => importer.reshape(node.name, x, Shape::default()),
        _ => importer.broadcast(node.name, x, shape.clone()),
    }
}

fn compare(
    importer: &mut Importer,
    node: &Node,
    swapped: bool,
    [less, equal]: [bool; 2],
) -> Result<Vec<Value>, String> {
    for (positions, is_less) in [([0, 1], !swapped), ([1, 0], swapped)] {
        let kept = if less { dropout::compared(importer, node, positions, is_less)? } else { None };
        if let Some(kept) = kept {
            return Ok(vec![Value::Tensor(kept)]);
        }
    }
    let (mut a, mut b) = (importer.tensor(node, 0)?, importer.tensor(node, 1)?);
    if swapped {
        (a, b) = (b, a);
    }
    let shape = together(importer, &[a, b])?;
    let a = importer.broadcast(node.name, a, shape.clone())?;
    let b = spread(importer, node, b, &shape)?;
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Compare { less, equal }, &[a, b])?)])
}

fn logic(importer: &mut Importer, node: &Node, function: LogicalFunction) -> Result<Vec<Value>, String> {
    let (a, b) = (importer.truth(node, 0)?, importer.truth(node, 1)?);
    let shape = together(importer, &[a, b])?;
    let a = importer.broadcast(node.name, a, shape.clone())?;
    let b = importer.broadcast(node.name, b, shape)?;
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Logical { function }, &[a, b])?)])
}

fn not(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.truth(node, 0)?;
    let op = ops::Logical { function: LogicalFunction::Not };
    Ok(vec![Value::Tensor(importer.emit(node.name, op, &[x])?)])
}

/// What is not equal to itself.
fn is_nan(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    let is_number = importer.emit(node.name, ops::Compare { less: false, equal: true }, &[x, x])?;
    let op = ops::Logical { function: LogicalFunction::Not };
    Ok(vec![Value::Tensor(importer.emit(node.name, op, &[is_number])?)])
}

fn truth(inputs: Known, room: usize, holds: impl Fn(bool, bool) -> bool) -> Result<Vec<Constant>, String> {
    let fixed = |i: Int| i.as_fixed().map(|i| i != 0);
    let ints = |a: Int, b: Int| Some(Int::fixed(i64::from(holds(fixed(a)?, fixed(b)?))));
    Ok(vec![fold::binary(inputs, room, ints, |_, _| f32::NAN)?])
}

fn choice(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let to = importer.dtype(node.need(1)?).min(importer.dtype(node.need(2)?));
    let (condition, a, b) = (importer.truth(node, 0)?, importer.tensor(node, 1)?, importer.tensor(node, 2)?);
    let shape = together(importer, &[condition, a, b])?;
    let condition = importer.broadcast(node.name, condition, shape.clone())?;
    let (a, b) = (spread(importer, node, a, &shape)?, spread(importer, node, b, &shape)?);
    let y = importer.emit(node.name, ops::Where {}, &[condition, a, b])?;
    Ok(vec![Value::Tensor(importer.whole_again(y, to)?)])
}

fn fold_choice(_: &Node, inputs: Known, room: usize) -> Result<Vec<Constant>, String> {
    let (condition, a, b) = (fold::need(inputs, 0)?, fold::need(inputs, 1)?, fold::need(inputs, 2)?);
    let shape = fold::broadcast(&fold::broadcast(&condition.shape, &a.shape)?, &b.shape)?;
    let condition = fold::expand(condition, &shape, room)?.as_fixed()?;
    let (a, b) = (fold::expand(a, &shape, room)?, fold::expand(b, &shape, room)?);
    fn pick<T: Copy>(condition: &[i64], a: &[T], b: &[T]) -> Vec<T> {
        condition.iter().zip(a.iter().zip(b)).map(|(&c, (&a, &b))| if c != 0 { a } else { b }).collect()
    }
    let elements = match (&a.elements, &b.elements) {
        (Elements::Ints(a), Elements::Ints(b)) => Elements::Ints(pick(&condition, a, b)),
        (Elements::Floats(a), Elements::Floats(b)) => Elements::Floats(pick(&condition, a, b)),
        _ => return Err("whole and floating-point numbers do not mix".into()),
    };
    Ok(vec![Constant { shape, elements }])
}

/// `a - b * floor(a / b)`, whose sign is the divisor's; with `fmod` the quotient is truncated, and the sign is the dividend's.
fn remainder(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let divisor = importer.constant(node.need(1)?).and_then(|divisor| divisor.as_floats());
    if divisor.is_ok_and(|divisor| divisor.contains(&0.0)) {
        return Err("it divides by zero".into());
    }
    let (a, b) = (importer.tensor(node, 0)?, importer.tensor(node, 1)?);
    let quotient = importer.emit_internal(node.name, ops::Div {}, &[a, b])?;
    let quotient = match node.flag("fmod")? {
        true => {
            let whole = importer.converted(quotient, DType::I32)?;
            importer.converted(whole, DType::F32)?
        }
        false => {
            let op = ops::Unary { function: UnaryFunction::Floor, alpha: Real(1.0), gamma: Real(1.0) };
            importer.emit_internal(node.name, op, &[quotient])?
        }
    };
    let whole = importer.emit_internal(node.name, ops::Mul {}, &[quotient, b])?;
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Sub {}, &[a, whole])?)])
}

fn fold_remainder(node: &Node, inputs: Known, room: usize) -> Result<Vec<Constant>, String> {
    let like_c = node.flag("fmod")?;
    let ints = |a: Int, b: Int| {
        let (a, b) = (a.as_fixed()?, b.as_fixed()?);
        let rest = a.checked_rem(b)?;
        // Without fmod the result has the divisor's sign, as in Python.
        Some(Int::fixed(if !like_c && rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }))
    };
    Ok(vec![fold::binary(inputs, room, ints, |a, b| a % b)?])
}

fn arg_max(importer: &mut Importer, node: &Node, least: bool) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    let rank = importer.shape(x).rank();
    let axis = axis(node.int("axis")?.unwrap_or(0), rank)?;
    let x = match least {
        true => importer.emit_internal(node.name, ops::Scale { by: Real(-1.0) }, &[x])?,
        false => x,
    };
    let to_last: Vec<usize> = (0..rank).filter(|&a| a != axis).chain([axis]).collect();
    let x = transposed(importer, node, x, &to_last)?;
    let y = importer.emit(node.name, ops::ArgMax { last: node.flag("select_last_index")? }, &[x])?;
    let mut back: Vec<usize> = (0..rank - 1).collect();
    back.insert(axis, rank - 1);
    let y = transposed(importer, node, y, &back)?;
    let mut shape = importer.shape(y);
    if node.int("keepdims")? == Some(0) {
        shape.0.remove(axis);
    }
    Ok(vec![Value::Tensor(importer.reshape(node.name, y, shape)?)])
}

pub(super) fn transposed(importer: &mut Importer, node: &Node, x: NodeId, perm: &[usize]) -> Result<NodeId, String> {
    match perm.is_sorted() {
        true => Ok(x),
        false => importer.emit_internal(node.name, ops::Transpose { perm: perm.to_vec() }, &[x]),
    }
}

/// `values[1]` where the index names the position along a new axis, else `values[0]`.
fn one_hot(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let depth = match importer.constant(node.need(1)?)?.as_floats()?.as_slice() {
        &[depth] if depth >= 1.0 && depth.fract() == 0.0 => depth,
        other => return Err(format!("its depth must be a positive whole number, but is {other:?}")),
    };
    let values = importer.constant(node.need(2)?)?;
    let &[off, on] = values.as_floats()?.as_slice() else { return Err("its values must be two".into()) };
    let to = if matches!(values.elements, Elements::Ints(_)) { DType::I32 } else { DType::F32 };
    let mut indices = importer.tensor(node, 0)?;
    let mut shape = importer.shape(indices);
    let axis = axis(node.int("axis")?.unwrap_or(-1), shape.rank() + 1)?;
    shape.0.insert(axis, Dim::fixed(1));
    indices = importer.reshape(node.name, indices, shape.clone())?;
    // Negative indices count from the end.
    let zero = number(importer, node, "zero", 0.0)?;
    let is_negative = importer.emit(node.name, ops::Compare { less: true, equal: false }, &[indices, zero])?;
    let is_negative = importer.converted(is_negative, DType::F32)?;
    let more = importer.emit_internal(node.name, ops::Scale { by: Real(f64::from(depth)) }, &[is_negative])?;
    indices = importer.emit_internal(node.name, ops::Add {}, &[indices, more])?;
    let mut positions = vec![1; shape.rank()];
    positions[axis] = depth as usize;
    let elements = Elements::Floats((0..fold::made(&positions)?).map(|i| i as f32).collect());
    let all = Constant { shape: positions, elements };
    let name = importer.own_name("positions");
    let positions = importer.constant_source(&name, &all)?;
    shape.0[axis] = Dim::fixed(depth as usize);
    let indices = importer.broadcast(node.name, indices, shape.clone())?;
    let positions = importer.broadcast(node.name, positions, shape)?;
    for internal in [indices, positions] {
        importer.graph.set_role(internal, bitbudget_ir::Role::Internal);
    }
    let is_it: Op = ops::Compare { less: false, equal: true }.into();
    let is_it = importer.emit(node.name, is_it, &[indices, positions])?;
    let (on, off) = (number(importer, node, "on", on)?, number(importer, node, "off", off)?);
    let y = importer.emit(node.name, ops::Where {}, &[is_it, on, off])?;
    Ok(vec![Value::Tensor(importer.whole_again(y, to)?)])
}

/// A number as a constant of the graph.
pub(super) fn number(importer: &mut Importer, node: &Node, what: &str, number: f32) -> Result<NodeId, String> {
    let constant = Constant { shape: Vec::new(), elements: Elements::Floats(vec![number]) };
    let operand = Operand { name: format!("{}.{what}", node.name), value: Value::known(constant) };
    importer.operand(&operand)
}
