//! The largest elements, and the indices of what is not zero.

use super::fold;
use super::index::{from_last, to_last};
use super::logic::{number, transposed};
use super::row::{Known, Row};
use crate::file::constant::{Constant, Elements, Int};
use crate::importer::{Importer, Node, Value, axis};
use bitbudget_ir::ops::LogicalFunction;
use bitbudget_ir::{NodeId, Real, ops};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "TopK",
        versions: &[1, 10, 11, 24],
        attributes: &["axis", "k", "largest", "sorted"],
        forms: "`top_k`, of the negative for the least, and `gather`; k known at import, results always sorted",
        build: Some(top_k),
        fold: None,
    },
    Row {
        name: "NonZero",
        versions: &[9, 13],
        attributes: &[],
        forms: "on known values",
        build: None,
        fold: Some(non_zero),
    },
    Row {
        name: "IsInf",
        versions: &[10, 20],
        attributes: &["detect_negative", "detect_positive"],
        forms: "`compare` with the largest finite numbers, `logical`",
        build: Some(is_infinite),
        fold: None,
    },
];

fn top_k(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    let shape = importer.shape(x);
    let axis = axis(node.int("axis")?.unwrap_or(-1), shape.rank())?;
    let count = match (importer.ints(node, 1)?, node.int("k")?) {
        (Some(list), _) => *list.first().filter(|_| list.len() == 1).ok_or("k must be one number")?,
        (None, count) => count.ok_or("attribute `k` is missing")?,
    };
    let size = shape.0[axis].as_fixed().ok_or_else(|| crate::batch::mixing("it compares the examples of a batch"))?;
    let count = usize::try_from(count).ok().filter(|count| (1..=size).contains(count));
    let count = count.ok_or_else(|| format!("k must be from 1 to {size}, the size of dimension {axis} of {shape}"))?;
    let rows = transposed(importer, node, x, &to_last(shape.rank(), axis))?;
    let compared = match node.int("largest")? {
        Some(0) => importer.inner(node, "negative", ops::Scale { by: Real(-1.0) }, &[rows])?,
        _ => rows,
    };
    let indices = importer.inner(node, "indices", ops::TopK { count }, &[compared])?;
    let last = shape.rank() - 1;
    let op = ops::Gather { axis: last, batch_dims: last };
    let back = from_last(shape.rank(), axis);
    let values = match back.is_sorted() {
        true => importer.emit(node.name, op, &[rows, indices])?,
        false => {
            let values = importer.inner(node, "values", op, &[rows, indices])?;
            importer.emit(node.name, ops::Transpose { perm: back.clone() }, &[values])?
        }
    };
    let indices = transposed(importer, node, indices, &back)?;
    Ok(vec![Value::Tensor(values), Value::Tensor(indices)])
}

fn non_zero(_: &Node, inputs: Known, room: usize) -> Result<Vec<Constant>, String> {
    let x = fold::need(inputs, 0)?;
    let is_zero: Vec<bool> = match &x.elements {
        Elements::Ints(_) => x.as_fixed()?.into_iter().map(|i| i == 0).collect(),
        Elements::Floats(floats) => floats.iter().map(|&f| f == 0.0).collect(),
    };
    let mut found = Vec::new();
    let mut at = is_zero.into_iter();
    fold::each_index(&x.shape, |index| {
        if at.next() == Some(false) {
            found.push(index.to_vec());
        }
    });
    let shape = vec![x.shape.len(), found.len()];
    fold::elements(&shape, room)?;
    let along = |axis: usize| found.iter().map(move |index| Int::fixed(index[axis] as i64)).collect::<Vec<Int>>();
    let elements = Elements::Ints((0..x.shape.len()).flat_map(along).collect());
    Ok(vec![Constant { shape, elements }])
}

fn is_infinite(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    let least = number(importer, node, "least", f32::MIN)?;
    let below = |importer: &mut Importer, x: NodeId| {
        importer.emit(node.name, ops::Compare { less: true, equal: false }, &[x, least])
    };
    let negative = |importer: &mut Importer| importer.inner(node, "negative", ops::Scale { by: Real(-1.0) }, &[x]);
    let wanted = [node.int("detect_negative")? != Some(0), node.int("detect_positive")? != Some(0)];
    let y = match wanted {
        [true, false] => below(importer, x)?,
        [false, true] => {
            let negative = negative(importer)?;
            below(importer, negative)?
        }
        [true, true] => {
            let negative = negative(importer)?;
            let (low, high) = (below(importer, x)?, below(importer, negative)?);
            importer.emit(node.name, ops::Logical { function: LogicalFunction::Or }, &[low, high])?
        }
        [false, false] => importer.emit(node.name, ops::Compare { less: true, equal: false }, &[x, x])?,
    };
    Ok(vec![Value::Tensor(y)])
}
