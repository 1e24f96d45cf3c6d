//! Operators that split a tensor into parts.

use super::part::part;
use super::row::Row;
use crate::file::constant::{Constant, Elements};
use crate::importer::{Importer, Node, Value, axis};
use bitbudget_ir::NodeId;
use std::rc::Rc;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "Split",
        versions: &[2, 11, 13, 18],
        attributes: &["axis", "num_outputs", "split"],
        forms: "a `slice` per output that is used; sizes as attribute, known input, `num_outputs` or equal",
        build: Some(split),
        fold: None,
    },
    Row {
        name: "SplitToSequence",
        versions: &[11, 24],
        attributes: &["axis", "keepdims"],
        forms: "a `slice` per part; sizes known at import",
        build: Some(split_to_sequence),
        fold: None,
    },
    Row {
        name: "SequenceAt",
        versions: &[11],
        attributes: &[],
        forms: "nothing, on a sequence made by SplitToSequence; positions known at import",
        build: Some(sequence_at),
        fold: None,
    },
];

/// The dimension that is split, and its size.
fn split_axis(importer: &Importer, node: &Node, x: NodeId) -> Result<(usize, usize), String> {
    let shape = importer.shape(x);
    let axis = axis(node.int("axis")?.unwrap_or(0), shape.rank())?;
    Ok((axis, shape.0[axis].as_fixed().ok_or("the batch cannot be split")?))
}

/// Sizes that make up `size` elements.
fn split_sizes(given: &[i64], size: usize) -> Result<Vec<usize>, String> {
    let sizes: Option<Vec<usize>> = given.iter().map(|&s| usize::try_from(s).ok()).collect();
    sizes
        .filter(|s| s.iter().fold(0usize, |sum, &s| sum.saturating_add(s)) == size)
        .ok_or_else(|| format!("the sizes {given:?} do not make up {size} elements"))
}

fn split(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.moved(node, 0)?;
    let (axis, size) = split_axis(importer, node, x)?;
    let outputs = node.proto.output.len();
    let given = match importer.ints(node, 1)? {
        Some(sizes) => Some(sizes),
        None => node.ints("split")?.map(<[i64]>::to_vec),
    };
    let sizes = match given {
        Some(given) if given.len() != outputs => {
            return Err(format!("the sizes {given:?} are not one per output, of which there are {outputs}"));
        }
        Some(given) => split_sizes(&given, size)?,
        None => {
            if node.int("num_outputs")?.is_some_and(|n| usize::try_from(n) != Ok(outputs)) {
                return Err(format!("num_outputs is not the number of its outputs, {outputs}"));
            }
            // Since version 18 the last part may be smaller.
            let each = size.div_ceil(outputs.max(1));
            if node.version < 18 && size % outputs.max(1) != 0 {
                return Err(format!("{size} elements do not divide into {outputs} equal parts"));
            }
            (0..outputs).map(|i| each.min(size.saturating_sub(i.saturating_mul(each)))).collect()
        }
    };
    let mut start = 0;
    let mut values = Vec::with_capacity(outputs);
    for ((name, &size), &read) in node.proto.output.iter().zip(&sizes).zip(&node.read) {
        values.push(match read {
            // A part of no elements, which Concat leaves out.
            true if size == 0 => {
                let dims = importer.shape(x).0.iter().map(|dim| dim.factor()).collect::<Vec<usize>>();
                let shape = dims.into_iter().enumerate().map(|(a, size)| if a == axis { 0 } else { size }).collect();
                Value::known(Constant { shape, elements: Elements::Floats(Vec::new()) })
            }
            true => Value::Tensor(part(importer, name, x, axis, (start, size, 1))?),
            false => Value::Failed,
        });
        start += size;
    }
    Ok(values)
}

fn split_to_sequence(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.moved(node, 0)?;
    let (axis, size) = split_axis(importer, node, x)?;
    let keep = node.int("keepdims")?.unwrap_or(1) != 0;
    let sizes = match node.input(1) {
        Some(operand) => {
            let given = importer.constant(operand)?;
            match (given.shape.is_empty(), given.as_fixed()?.as_slice()) {
                // One number: parts of that size, the last one smaller.
                (true, &[each]) => {
                    let each = usize::try_from(each).ok().filter(|&e| e > 0).ok_or("the parts must have a size")?;
                    (0..size.div_ceil(each)).map(|i| each.min(size - i * each)).collect()
                }
                (_, list) => split_sizes(list, size)?,
            }
        }
        None => vec![1; size],
    };
    if sizes.len() > MOST_PARTS {
        return Err(format!("{} parts are too many", sizes.len()));
    }
    let squeeze = node.input(1).is_none() && !keep;
    let mut start = 0;
    let mut values = Vec::with_capacity(sizes.len());
    for (i, size) in sizes.into_iter().enumerate() {
        let name = format!("{}.{i}", node.name);
        let mut y = part(importer, &name, x, axis, (start, size, 1))?;
        if squeeze {
            let mut shape = importer.shape(y);
            shape.0.remove(axis);
            y = importer.reshape(&name, y, shape)?;
        }
        values.push(Value::Tensor(y));
        start += size;
    }
    Ok(vec![Value::Sequence(Rc::new(values))])
}

/// More parts than any network splits a tensor into.
const MOST_PARTS: usize = 4096;

fn sequence_at(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let Value::Sequence(values) = &node.need(0)?.value else { return Err("it needs a sequence".into()) };
    let position = importer.ints(node, 1)?.and_then(|list| list.first().copied()).ok_or("its position is missing")?;
    let at = crate::importer::axis(position, values.len())
        .map_err(|_| format!("position {position} is out of range for a sequence of {}", values.len()))?;
    Ok(vec![values[at].clone()])
}
