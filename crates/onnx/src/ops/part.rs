//! Operators that take parts of tensors and put them together.

use super::fold;
use super::row::Row;
use crate::file::constant::{Constant, Elements, Int};
use crate::importer::{Importer, Node, Operand, Value, axis};
use bitbudget_ir::{Dim, NodeId, Shape, ops};
use std::rc::Rc;

type Inputs<'a> = &'a [Option<Rc<Constant>>];

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "Concat",
        versions: &[4, 11, 13],
        attributes: &["axis"],
        forms: "`concat`, not along the batch",
        build: Some(concat),
        fold: Some(fold_concat),
    },
    Row {
        name: "Slice",
        versions: &[1, 10, 11, 13],
        attributes: &["axes", "ends", "starts"],
        forms: "`slice`; bounds, axes and steps as attributes or known inputs; the batch only whole",
        build: Some(slice),
        fold: Some(fold_slice),
    },
    Row {
        name: "Gather",
        versions: &[1, 11, 13],
        attributes: &["axis"],
        forms: "`slice` (and `reshape`), for one known index or known indices in equal steps; else `gather`; not from the batch",
        build: Some(gather),
        fold: Some(fold_gather),
    },
];

fn concat(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let joined: Vec<&Operand> = node.inputs.iter().flatten().filter(|operand| !is_empty(importer, operand)).collect();
    let dtype = joined.iter().map(|operand| importer.dtype(operand)).min();
    let dtype = dtype.ok_or("it joins nothing: it has no inputs with elements")?;
    let parts: Vec<NodeId> =
        joined.into_iter().map(|operand| importer.typed(operand, dtype)).collect::<Result<_, _>>()?;
    let first = *parts.first().ok_or("it has no inputs")?;
    let axis = axis(node.int("axis")?.ok_or("attribute `axis` is missing")?, importer.shape(first).rank())?;
    if parts.len() == 1 {
        return Ok(vec![Value::Tensor(first)]);
    }
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Concat { axis }, &parts)?)])
}

/// Whether an operand is stored without elements, as low-rank adapters and caches of no length are.
fn is_empty(importer: &Importer, operand: &Operand) -> bool {
    importer.constant(operand).is_ok_and(|constant| constant.len() == 0)
}

fn fold_concat(node: &Node, inputs: Inputs, room: usize) -> Result<Vec<Constant>, String> {
    let first = fold::need(inputs, 0)?;
    let axis = axis(node.int("axis")?.ok_or("attribute `axis` is missing")?, first.shape.len())?;
    let mut shape = first.shape.clone();
    shape[axis] = 0;
    for part in inputs.iter().flatten() {
        let same = |(a, (x, y)): (usize, (&usize, &usize))| a == axis || x == y;
        if part.shape.len() != shape.len() || !part.shape.iter().zip(&shape).enumerate().all(same) {
            return Err("their shapes differ in another dimension".into());
        }
        shape[axis] = shape[axis].saturating_add(part.shape[axis]);
    }
    fold::elements(&shape, room)?;
    let outer: usize = shape[..axis].iter().product();
    fn join<T: Copy>(parts: &[(&[T], usize)], outer: usize) -> Vec<T> {
        (0..outer)
            .flat_map(|o| parts.iter().flat_map(move |(all, n)| all[o * n..(o + 1) * n].iter().copied()))
            .collect()
    }
    let width = |part: &Constant| part.shape[axis..].iter().product::<usize>();
    let (mut ints, mut floats) = (Vec::new(), Vec::new());
    for part in inputs.iter().flatten() {
        match &part.elements {
            Elements::Ints(all) => ints.push((all.as_slice(), width(part))),
            Elements::Floats(all) => floats.push((all.as_slice(), width(part))),
        }
    }
    let elements = match (ints.is_empty(), floats.is_empty()) {
        (_, true) => Elements::Ints(join(&ints, outer)),
        (true, false) => Elements::Floats(join(&floats, outer)),
        (false, false) => return Err("whole and floating-point numbers do not mix".into()),
    };
    Ok(vec![Constant { shape, elements }])
}

/// A part along one dimension: first index, number of elements, step.
pub(super) fn part(
    importer: &mut Importer,
    name: &str,
    x: NodeId,
    axis: usize,
    taken: (usize, usize, i64),
) -> Result<NodeId, String> {
    let mut shape = importer.shape(x);
    let (mut begin, mut step) = (vec![0; shape.rank()], vec![1; shape.rank()]);
    (begin[axis], step[axis]) = (taken.0, taken.2);
    shape.0[axis] = Dim::fixed(taken.1);
    importer.emit(name, ops::Slice { begin, step, shape }, &[x])
}

/// The range of a Slice along one dimension.
#[derive(Clone, Copy)]
struct Bounds {
    axis: usize,
    start: Int,
    end: Int,
    step: i64,
}

/// First index and number of elements of the part of a dimension of `size` elements (ONNX Slice: bounds are clamped to the
/// elements there are, the start of a backward step to the first and last one).
fn resolve(size: usize, bounds: Bounds) -> Result<(usize, usize), String> {
    let fixed = |i: Int| i.as_fixed().ok_or_else(|| format!("the bound {i} depends on the batch size"));
    let (start, end, size) =
        (fixed(bounds.start)?, fixed(bounds.end)?, i64::try_from(size).map_err(|e| e.to_string())?);
    if size == 0 {
        return Ok((0, 0));
    }
    let counted = |i: i64| if i < 0 { i.saturating_add(size) } else { i };
    let (first, span) = match bounds.step > 0 {
        true => {
            let (first, last) = (counted(start).clamp(0, size), counted(end).clamp(0, size));
            (first, last - first)
        }
        false => {
            let (first, last) = (counted(start).clamp(0, size - 1), counted(end).clamp(-1, size - 1));
            (first, first - last)
        }
    };
    let (first, span) = (usize::try_from(first).unwrap_or(0), usize::try_from(span).unwrap_or(0));
    let step = usize::try_from(bounds.step.unsigned_abs()).unwrap_or(usize::MAX);
    Ok((first, span.div_ceil(step)))
}

/// Whether the bounds take a batch dimension whole.
fn whole(dim: Dim, bounds: Bounds, batch: Option<usize>) -> bool {
    let all = Int::of(dim);
    let known = batch.map(|b| all.batches.saturating_mul(b as i64));
    let far = |i: i64| i >= i64::from(i32::MAX) || known.is_some_and(|known| i >= known);
    let from_start = |i: i64| i == 0 || far(i.saturating_neg());
    let starts = bounds.start.as_fixed().is_some_and(from_start) || bounds.start.add(all) == Some(Int::fixed(0));
    let ends = bounds.end == all || bounds.end.as_fixed().is_some_and(far);
    bounds.step == 1 && starts && ends
}

fn bounds(
    node: &Node,
    rank: usize,
    mut input: impl FnMut(usize) -> Result<Option<Rc<Constant>>, String>,
) -> Result<Vec<Bounds>, String> {
    let attribute = |name: &str| -> Result<Option<Vec<Int>>, String> {
        Ok(node.ints(name)?.map(|list| list.iter().map(|&i| Int::fixed(i)).collect()))
    };
    let mut list = |position: usize, name: &str| -> Result<Option<Vec<Int>>, String> {
        match input(position)? {
            Some(constant) => Ok(Some(constant.as_ints()?.to_vec())),
            None => attribute(name),
        }
    };
    let starts = list(1, "starts")?.ok_or("its starts are missing")?;
    let ends = list(2, "ends")?.ok_or("its ends are missing")?;
    let axes = list(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).map(Int::fixed).collect());
    let steps = match input(4)? {
        Some(steps) => steps.as_ints()?.to_vec(),
        None => vec![Int::fixed(1); starts.len()],
    };
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return Err("its starts, ends, axes and steps differ in number".into());
    }
    let mut all: Vec<Bounds> = Vec::with_capacity(starts.len());
    for i in 0..starts.len() {
        let step = steps[i].as_fixed().filter(|&s| s != 0).ok_or("its steps must be numbers other than 0")?;
        let step = step.clamp(-(1 << 40), 1 << 40);
        let axis = axis(axes[i].as_fixed().ok_or("its axes must be numbers")?, rank)?;
        if all.iter().any(|other| other.axis == axis) {
            return Err(format!("its axes name dimension {axis} twice"));
        }
        all.push(Bounds { axis, start: starts[i], end: ends[i], step });
    }
    Ok(all)
}

fn slice(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.moved(node, 0)?;
    let mut shape = importer.shape(x);
    let source = shape.clone();
    let all = bounds(node, shape.rank(), |i| node.input(i).map(|operand| importer.constant(operand)).transpose())?;
    let (mut begin, mut step) = (vec![0; shape.rank()], vec![1; shape.rank()]);
    for bounds in all {
        match source.0[bounds.axis].as_fixed() {
            Some(size) => {
                let (first, count) = resolve(size, bounds)?;
                if count == 0 {
                    return Err(format!("it takes nothing of dimension {} of {source}", bounds.axis));
                }
                (begin[bounds.axis], step[bounds.axis]) = (first, if count == 1 { 1 } else { bounds.step });
                shape.0[bounds.axis] = Dim::fixed(count);
            }
            None if whole(source.0[bounds.axis], bounds, None) => {}
            None if whole(source.0[bounds.axis], bounds, importer.batch) => importer.replaced_batch(node.name),
            None => return Err(format!("the batch (dimension {} of {source}) can only be taken whole", bounds.axis)),
        }
    }
    if shape == source && step.iter().all(|&s| s == 1) {
        return Ok(vec![Value::Tensor(x)]);
    }
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Slice { begin, step, shape }, &[x])?)])
}

fn fold_slice(node: &Node, inputs: Inputs, room: usize) -> Result<Vec<Constant>, String> {
    let x = fold::need(inputs, 0)?;
    let rank = x.shape.len();
    let all = bounds(node, rank, |i| Ok(inputs.get(i).cloned().flatten()))?;
    let mut shape = x.shape.clone();
    let (mut begin, mut step) = (vec![0i64; rank], vec![1i64; rank]);
    for bounds in all {
        let (first, count) = resolve(x.shape[bounds.axis], bounds)?;
        (begin[bounds.axis], step[bounds.axis]) = (first as i64, bounds.step);
        shape[bounds.axis] = count;
    }
    let mut from = vec![0; rank];
    let result = fold::gather(x, &shape, room, |index| {
        for axis in 0..rank {
            from[axis] = usize::try_from(begin[axis] + index[axis] as i64 * step[axis]).ok()?;
        }
        Some(fold::offset(&x.shape, &from))
    })?;
    Ok(vec![result])
}

fn gather(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.moved(node, 0)?;
    let shape = importer.shape(x);
    let axis = axis(node.int("axis")?.unwrap_or(0), shape.rank())?;
    let Some(size) = shape.0[axis].as_fixed() else {
        let indices = importer.whole(node, 1)?;
        let (x, indices) =
            super::examples::own(importer, x, axis, indices)?.ok_or("the batch cannot be gathered from")?;
        let op = ops::Gather { axis: 1, batch_dims: 1 };
        return Ok(vec![Value::Tensor(importer.emit(node.name, op, &[x, indices])?)]);
    };
    if let Ok(indices) = importer.constant(node.need(1)?) {
        let counted = indices.as_fixed()?.into_iter().map(|i| crate::importer::axis(i, size).map_err(|_| i));
        let list: Vec<usize> = counted
            .collect::<Result<_, i64>>()
            .map_err(|i| format!("index {i} is out of range for dimension {axis} of {shape}"))?;
        let step = match list.as_slice() {
            [first, second, ..] => *second as i64 - *first as i64,
            _ => 1,
        };
        if step != 0 && !list.is_empty() && list.windows(2).all(|w| w[1] as i64 - w[0] as i64 == step) {
            let y = part(importer, node.name, x, axis, (list[0], list.len(), step))?;
            let mut dims = shape.0;
            dims.splice(axis..=axis, indices.shape.iter().map(|&d| Dim::fixed(d)));
            return Ok(vec![Value::Tensor(importer.reshape(node.name, y, Shape(dims))?)]);
        }
    }
    let indices = importer.whole(node, 1)?;
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Gather { axis, batch_dims: 0 }, &[x, indices])?)])
}

fn fold_gather(node: &Node, inputs: Inputs, room: usize) -> Result<Vec<Constant>, String> {
    let (x, indices) = (fold::need(inputs, 0)?, fold::need(inputs, 1)?);
    let axis = axis(node.int("axis")?.unwrap_or(0), x.shape.len())?;
    let size = x.shape[axis];
    let list = indices.as_fixed()?;
    let mut shape = x.shape.clone();
    shape.splice(axis..=axis, indices.shape.iter().copied());
    let inner = indices.shape.len();
    let mut from = vec![0; x.shape.len()];
    let result = fold::gather(x, &shape, room, |index| {
        let i = *list.get(fold::offset(&indices.shape, &index[axis..axis + inner]))?;
        from[..axis].copy_from_slice(&index[..axis]);
        from[axis] = crate::importer::axis(i, size).ok()?;
        from[axis + 1..].copy_from_slice(&index[axis + inner..]);
        Some(fold::offset(&x.shape, &from))
    })?;
    Ok(vec![result])
}
