//! Pad.

use super::part::part;
use super::row::Row;
use crate::file::constant::{Constant, Elements};
use crate::importer::{Importer, Node, Padded, Value, axis};
use bitbudget_ir::{Dim, NodeId, Shape, ops};
use std::rc::Rc;

pub(super) const ROWS: &[Row] = &[Row {
    name: "Pad",
    versions: &[2, 11, 13, 18, 19, 21, 23, 24, 25],
    attributes: &["mode", "pads", "value"],
    forms: "zeros: part of the Conv or AveragePool that reads it, or `slice_scatter`; the least number: part of the MaxPool that \
            reads it; other numbers: `slice_scatter` and `add`; reflect, edge and wrap: `slice`, `broadcast` and `concat`; negative \
            pads: `slice`; not the batch",
    build: Some(pad),
    fold: None,
}];

/// What stands around a tensor.
#[derive(Clone, Copy, PartialEq)]
enum Border {
    Constant(f32),
    Reflect,
    Edge,
    Wrap,
}

fn border(importer: &Importer, node: &Node) -> Result<Border, String> {
    Ok(match node.text("mode")?.unwrap_or_else(|| "constant".into()).as_str() {
        "constant" => {
            let value = match node.input(2) {
                Some(operand) => importer.constant(operand)?.as_scalar()?,
                None => node.float("value")?.unwrap_or(0.0) as f32,
            };
            // The largest negative number stands for minus infinity.
            Border::Constant(if value <= -f32::MAX { f32::NEG_INFINITY } else { value })
        }
        "reflect" => Border::Reflect,
        "edge" => Border::Edge,
        "wrap" => Border::Wrap,
        other => return Err(format!("mode `{other}` is not known (constant, reflect, edge, wrap)")),
    })
}

fn pad(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let border = border(importer, node)?;
    let x = importer.tensor(node, 0)?;
    let shape = importer.shape(x);
    let (begin, end) = pads(importer, node, &shape)?;
    let x = cropped(importer, node, x, [&begin, &end])?;
    let positive = |pads: &[i64]| pads.iter().map(|&p| usize::try_from(p).unwrap_or(0)).collect::<Vec<_>>();
    let (begin, end) = (positive(&begin), positive(&end));
    if begin.iter().chain(&end).all(|&p| p == 0) {
        return Ok(vec![Value::Tensor(x)]);
    }
    match border {
        Border::Constant(value) if value == 0.0 || value == f32::NEG_INFINITY => {
            let made = std::cell::Cell::new(None);
            Ok(vec![Value::Padded(Rc::new(Padded { x, begin, end, value, made, name: node.name.to_string() }))])
        }
        Border::Constant(value) => {
            let y = surrounded(importer, node, x, &begin, &end, value)?;
            Ok(vec![Value::Tensor(y)])
        }
        _ => {
            let last = (0..shape.rank()).rfind(|&axis| begin[axis] + end[axis] > 0);
            let mut y = x;
            for axis in (0..shape.rank()).filter(|&axis| begin[axis] + end[axis] > 0) {
                y = extended(importer, node, y, axis, [begin[axis], end[axis]], border, Some(axis) == last)?;
            }
            Ok(vec![Value::Tensor(y)])
        }
    }
}

/// The numbers of elements to add before and after each dimension; negative ones are taken away.
fn pads(importer: &Importer, node: &Node, shape: &Shape) -> Result<(Vec<i64>, Vec<i64>), String> {
    let rank = shape.rank();
    let pads = match importer.ints(node, 1)? {
        Some(pads) => pads,
        None => node.ints("pads")?.ok_or("its pads are missing")?.to_vec(),
    };
    let axes = match importer.ints(node, 3)? {
        Some(axes) => axes.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() || pads.iter().any(|p| p.unsigned_abs() >= 1 << 30) {
        return Err(format!("its pads {pads:?} are too large or not two per dimension"));
    }
    let (mut begin, mut end) = (vec![0; rank], vec![0; rank]);
    for (i, &axis) in axes.iter().enumerate() {
        (begin[axis], end[axis]) = (pads[i], pads[axes.len() + i]);
    }
    match (0..rank).find(|&axis| shape.0[axis].is_batch() && (begin[axis] != 0 || end[axis] != 0)) {
        Some(axis) => Err(format!("the batch (dimension {axis} of {shape}) cannot be padded")),
        None => Ok((begin, end)),
    }
}

/// The tensor without the elements that negative pads take away.
fn cropped(importer: &mut Importer, node: &Node, x: NodeId, [begin, end]: [&[i64]; 2]) -> Result<NodeId, String> {
    let mut shape = importer.shape(x);
    let mut first = vec![0; shape.rank()];
    for axis in 0..shape.rank() {
        let gone = |pad: i64| usize::try_from(-pad).unwrap_or(0);
        let (before, after) = (gone(begin[axis]), gone(end[axis]));
        if before + after == 0 {
            continue;
        }
        let left = shape.0[axis].as_fixed().and_then(|size| size.checked_sub(before + after)).filter(|&left| left > 0);
        let left = left.ok_or_else(|| format!("it takes all elements of dimension {axis} of {shape} away"))?;
        first[axis] = before;
        shape.0[axis] = Dim::fixed(left);
    }
    if shape == importer.shape(x) {
        return Ok(x);
    }
    let step = vec![1; shape.rank()];
    let is_last = begin.iter().chain(end).all(|&pad| pad <= 0);
    let name = if is_last { node.name.to_string() } else { format!("{}.cropped", node.name) };
    importer.emit(&name, ops::Slice { begin: first, step, shape }, &[x])
}

/// The tensor with one number around it, which a constant adds to zeros.
fn surrounded(
    importer: &mut Importer,
    node: &Node,
    x: NodeId,
    begin: &[usize],
    end: &[usize],
    value: f32,
) -> Result<NodeId, String> {
    let inside = importer.shape(x);
    let mut shape = inside.clone();
    for axis in 0..shape.rank() {
        if let Some(size) = shape.0[axis].as_fixed() {
            shape.0[axis] = Dim::fixed(size.saturating_add(begin[axis]).saturating_add(end[axis]));
        }
    }
    let op = ops::SliceScatter { begin: begin.to_vec(), step: vec![1; shape.rank()], shape: shape.clone() };
    let zeros = importer.emit_internal(&format!("{}.zeros", node.name), op, &[x])?;
    // Only the padded dimensions and those behind them matter.
    let first = (0..shape.rank()).find(|&axis| begin[axis] + end[axis] > 0).unwrap_or(0);
    let is_padded = |axis: usize| begin[axis] + end[axis] > 0;
    let sizes: Vec<usize> =
        (first..shape.rank()).map(|axis| if is_padded(axis) { shape.0[axis].factor() } else { 1 }).collect();
    let mut numbers = Vec::with_capacity(super::fold::made(&sizes)?);
    super::fold::each_index(&sizes, |index| {
        let is_inside = index.iter().enumerate().all(|(i, &at)| {
            let axis = first + i;
            !is_padded(axis) || (begin[axis]..begin[axis] + inside.0[axis].factor()).contains(&at)
        });
        numbers.push(if is_inside { 0.0 } else { value });
    });
    let name = importer.fresh_name(&format!("{}.border", node.name));
    let border = importer.constant_source(&name, &Constant { shape: sizes, elements: Elements::Floats(numbers) })?;
    importer.emit(node.name, ops::Add {}, &[zeros, border])
}

/// The tensor with its own elements before and after it along an axis.
fn extended(
    importer: &mut Importer,
    node: &Node,
    x: NodeId,
    axis: usize,
    [begin, end]: [usize; 2],
    border: Border,
    is_last: bool,
) -> Result<NodeId, String> {
    let shape = importer.shape(x);
    let size = shape.0[axis].factor();
    let most = if border == Border::Reflect { size - 1 } else { size };
    if border != Border::Edge && begin.max(end) > most {
        return Err(format!("it takes {} elements from dimension {axis} of {shape}, which has {most}", begin.max(end)));
    }
    let side = |importer: &mut Importer, count: usize, is_begin: bool| -> Result<Option<NodeId>, String> {
        let taken = match (border, is_begin) {
            _ if count == 0 => return Ok(None),
            (Border::Reflect, true) => (count, count, -1),
            (Border::Reflect, false) => (size - 2, count, -1),
            (Border::Wrap, true) => (size - count, count, 1),
            (Border::Wrap, false) => (0, count, 1),
            (_, true) => (0, 1, 1),
            (_, false) => (size - 1, 1, 1),
        };
        let taken = if taken.1 == 1 { (taken.0, 1, 1) } else { taken };
        let name = format!("{}.{}", node.name, if is_begin { "before" } else { "after" });
        let y = part(importer, &name, x, axis, taken)?;
        importer.make_internal(y);
        let mut wide = shape.clone();
        wide.0[axis] = Dim::fixed(count);
        match importer.shape(y) == wide {
            true => Ok(Some(y)),
            false => importer.emit_internal(&name, ops::Broadcast { shape: wide }, &[y]).map(Some),
        }
    };
    let before = side(importer, begin, true)?;
    let after = side(importer, end, false)?;
    let parts: Vec<NodeId> = before.into_iter().chain([x]).chain(after).collect();
    match is_last {
        true => importer.emit(node.name, ops::Concat { axis }, &parts),
        false => importer.emit_internal(&format!("{}.axis{axis}", node.name), ops::Concat { axis }, &parts),
    }
}
