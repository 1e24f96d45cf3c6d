//! Dropout, and the random numbers of which exporters make it.
//!
//! Where an exporter took dropout or stochastic depth apart, random numbers are compared with a number and cast. The result, 0 or 1, is
//! read as the share that is kept times the dropout of ones: so evaluation, which leaves dropout out, gets the mean.

use super::row::{Build, Row};
use crate::dropout::Dropout;
use crate::file::constant::{Constant, Elements, Int};
use crate::importer::{Importer, Node, Operand, Value};
use crate::warning::WarningKind;
use bitbudget_ir::{DType, NodeId, Op, Real, ScalarKind, Shape, ops};

const fn row(
    name: &'static str,
    versions: &'static [i64],
    attributes: &'static [&'static str],
    forms: &'static str,
    build: Build,
) -> Row {
    Row { name, versions, attributes, forms, build: Some(build), fold: None }
}

pub(super) const ROWS: &[Row] = &[
    row(
        "Dropout",
        &[7, 10, 12, 13, 22],
        &["ratio", "seed", "is_test"],
        "`dropout` in training mode (`training_mode`; before version 7 `is_test` of 0), else nothing, which `--dropout` changes",
        dropout,
    ),
    row("RandomUniform", &[1, 22], UNIFORM, COMPARED, |importer, node| {
        let sizes = node.ints("shape")?.ok_or("attribute `shape` is missing")?;
        let sizes: Option<Vec<usize>> = sizes.iter().map(|&size| usize::try_from(size).ok()).collect();
        uniform(importer, node, Shape::fixed(&sizes.ok_or("its shape has negative dimensions")?))
    }),
    row("RandomUniformLike", &[1, 22], UNIFORM, COMPARED, |importer, node| {
        let shape = shape(importer, node.need(0)?);
        uniform(importer, node, shape)
    }),
    row("Bernoulli", &[15, 22], &["dtype", "seed"], "`dropout` of ones; one number as probability", bernoulli),
];

const UNIFORM: &[&str] = &["dtype", "high", "low", "seed", "shape"];
const COMPARED: &str = "`dropout` of ones, where they are compared with a number and cast";

fn dropout(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let ratio = match node.input(1) {
        Some(operand) => importer.constant(operand)?.as_scalar()?,
        None => node.float("ratio")?.unwrap_or(0.5) as f32,
    };
    node.int("seed")?;
    if !(0.0..1.0).contains(&ratio) {
        return Err(format!("its ratio is {ratio}; it must be from 0 to below 1"));
    }
    let is_training = match node.input(2) {
        Some(operand) => importer.constant(operand)?.as_scalar()? != 0.0,
        None => node.int("is_test")?.is_some_and(|is_test| is_test == 0),
    };
    let drops = match importer.dropout {
        Dropout::Keep => is_training,
        Dropout::On => true,
        Dropout::Off => false,
    };
    if drops && ratio > 0.0 {
        if node.read.iter().skip(1).any(|&read| read) {
            return Err("its mask is read; --dropout off leaves it out".into());
        }
        let x = importer.tensor(node, 0)?;
        let operands = operands(importer, x);
        let op = ops::Dropout { name: node.name.into(), ratio: Real(ratio.into()) };
        return Ok(vec![Value::Tensor(importer.emit(node.name, op, &operands)?)]);
    }
    if ratio > 0.0 && importer.dropout == Dropout::Keep {
        importer.warn(WarningKind::Dropout, node.name);
    }
    let Operand { value, .. } = node.need(0)?;
    let mut results = vec![value.clone()];
    if node.read.iter().skip(1).any(|&read| read) {
        // Nothing is dropped.
        let x = importer.tensor(node, 0)?;
        let (name, shape) = (importer.own_name("kept"), importer.shape(x));
        let all = Constant { shape: Vec::new(), elements: Elements::Ints(vec![Int::fixed(1)]) };
        let all = importer.typed_source(&name, &all, DType::Bool)?;
        results.push(Value::Tensor(importer.broadcast(&format!("{}.mask", node.name), all, shape)?));
    }
    Ok(results)
}

/// A tensor with the numbers of which random ones are made.
fn operands(importer: &mut Importer, x: NodeId) -> [NodeId; 3] {
    let [seed, update] = [ScalarKind::Seed, ScalarKind::Update].map(|kind| importer.scalar(kind));
    [x, seed, update]
}

fn shape(importer: &Importer, operand: &Operand) -> Shape {
    match &operand.value {
        Value::Tensor(id) => importer.shape(*id),
        Value::Constant(constant) => Shape::fixed(&constant.shape),
        _ => Shape::fixed(&[]),
    }
}

fn ones(importer: &mut Importer, name: &str, shape: Shape) -> Result<NodeId, String> {
    let one = Constant { shape: Vec::new(), elements: Elements::Floats(vec![1.0]) };
    let source = importer.own_name("one");
    let one = importer.typed_source(&source, &one, DType::F32)?;
    let ones = importer.broadcast(name, one, shape)?;
    importer.make_internal(ones);
    Ok(ones)
}

/// Stands for random numbers until they are compared.
fn uniform(importer: &mut Importer, node: &Node, shape: Shape) -> Result<Vec<Value>, String> {
    let range = [node.float("low")?.unwrap_or(0.0), node.float("high")?.unwrap_or(1.0)];
    node.float("seed")?;
    let ones = ones(importer, node.name, shape)?;
    let numbers = importer.emit_internal(node.name, ops::Cast {}, &[ones])?;
    importer.uniform.insert(numbers, range);
    Ok(vec![Value::Tensor(numbers)])
}

/// Random numbers that are less than a number (or more, `is_less` being false): truth values that count as numbers once they are cast.
pub(super) fn compared(
    importer: &mut Importer,
    node: &Node,
    [random, bound]: [usize; 2],
    is_less: bool,
) -> Result<Option<NodeId>, String> {
    let Value::Tensor(numbers) = node.need(random)?.value else { return Ok(None) };
    let Some(&[low, high]) = importer.uniform.get(&numbers) else { return Ok(None) };
    let bound = importer.constant(node.need(bound)?)?.as_scalar()?;
    let below = ((f64::from(bound) - low) / (high - low)).clamp(0.0, 1.0);
    let shape = importer.shape(numbers);
    let kept = random_ones(importer, node, shape, if is_less { below } else { 1.0 - below })?;
    let zero = importer.emit_internal(node.name, ops::Scale { by: Real(0.0) }, &[kept])?;
    let truths = importer.emit_internal(node.name, ops::Compare { less: true, equal: false }, &[zero, kept])?;
    importer.count_as(truths, kept);
    Ok(Some(truths))
}

/// Ones for a random share of the elements, zeros for the others; the share itself in evaluation.
fn random_ones(importer: &mut Importer, node: &Node, shape: Shape, share: f64) -> Result<NodeId, String> {
    if share <= 0.0 {
        return Err("it keeps nothing".into());
    }
    let ones = ones(importer, node.name, shape)?;
    let dropped = match importer.dropout {
        Dropout::Off => ones,
        Dropout::Keep | Dropout::On => {
            let operands = operands(importer, ones);
            let op = ops::Dropout { name: node.name.into(), ratio: Real(1.0 - share) };
            importer.emit_internal(node.name, op, &operands)?
        }
    };
    importer.emit_internal(node.name, ops::Scale { by: Real(share) }, &[dropped])
}

/// The only element of a constant.
fn number(importer: &Importer, id: NodeId) -> Option<f32> {
    let Op::Constant(op) = importer.graph.op(id) else { return None };
    importer.values.get(&op.name).filter(|numbers| numbers.len() == 1).map(|numbers| numbers[0])
}

fn bernoulli(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    node.element_type("dtype")?;
    node.float("seed")?;
    let operand = node.need(0)?;
    let unknown = || format!("its probability `{}` must be one number that is known at import", operand.name);
    let share = match &operand.value {
        Value::Tensor(id) => match importer.graph.op(*id) {
            Op::Broadcast(_) => number(importer, importer.graph.operands(*id)[0]).ok_or_else(unknown)?,
            _ => return Err(unknown()),
        },
        _ => {
            let numbers = importer.constant(operand)?.as_floats()?;
            let first = *numbers.first().ok_or_else(unknown)?;
            numbers.iter().all(|&x| x == first).then_some(first).ok_or_else(unknown)?
        }
    };
    if !(0.0..=1.0).contains(&share) {
        return Err(format!("its probability is {share}, not from 0 to 1"));
    }
    let shape = shape(importer, operand);
    Ok(vec![Value::Tensor(random_ones(importer, node, shape, share.into())?)])
}
