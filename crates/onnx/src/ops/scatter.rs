//! Tensors with some elements replaced by index: slices of the old and the new ones together, or sums over what has one index.

use super::fold;
use super::index::{
    Indices, along, as_one, covered, depth, element_axis, from_last, joined, own_indices, sizes, to_last, whole_numbers,
};
use super::logic::{number, transposed};
use super::part::part;
use super::reduce_composed::multiplied;
use super::row::{Known, Row};
use crate::file::constant::{Constant, Elements, Int};
use crate::importer::{Importer, Node, Value};
use bitbudget_ir::{DType, Dim, NodeId, Shape, ops};

pub(super) const ROWS: &[Row] = &[
    row("ScatterElements", &[11, 13, 16, 18], &["axis", "reduction"], elements),
    row("Scatter", &[9, 11], &["axis"], elements),
    row("ScatterND", &[11, 13, 16, 18], &["reduction"], slices),
];

const fn row(
    name: &'static str,
    versions: &'static [i64],
    attributes: &'static [&'static str],
    build: super::row::Build,
) -> Row {
    Row {
        name,
        versions,
        attributes,
        forms: "`gather` from the old and the new elements, `concat`; of indices that are computed, no two may be equal; with reduction \
                `add` by `gather_grad`; with `mul`, `min` or `max` over all pairs of an element and an index; not into the batch",
        build: Some(build),
        fold: Some(folded),
    }
}

/// What becomes of several new elements of one index, and of the old one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reduction {
    Last,
    Add,
    Mul,
    Extremum { least: bool },
}

fn reduction(node: &Node) -> Result<Reduction, String> {
    Ok(match node.text("reduction")?.as_deref() {
        None | Some("none") => Reduction::Last,
        Some("add") => Reduction::Add,
        Some("mul") => Reduction::Mul,
        Some("min") => Reduction::Extremum { least: true },
        Some("max") => Reduction::Extremum { least: false },
        Some(other) => return Err(format!("its reduction `{other}` is not known")),
    })
}

/// A tensor and its new slices along dimension `at`, by a list of indices for each index of the dimensions before it.
struct Scatter {
    data: NodeId,
    indices: Indices,
    updates: NodeId,
    at: usize,
}

/// The inputs that are changed and that change it: whole numbers and truth values only move, unless they are reduced.
fn operands(importer: &mut Importer, node: &Node, reduction: Reduction) -> Result<[NodeId; 2], String> {
    let dtype = match reduction {
        Reduction::Last => importer.dtype(node.need(0)?).min(importer.dtype(node.need(2)?)),
        _ => DType::F32,
    };
    Ok([importer.typed(node.need(0)?, dtype)?, importer.typed(node.need(2)?, dtype)?])
}

/// Elements along one axis; what lies beyond the indices along another one stays as it is.
fn elements(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let reduction = reduction(node)?;
    let (axis, shape, counts) = element_axis(importer, node)?;
    let (rank, size) = (shape.rank(), sizes(&shape, axis..axis + 1)?[0]);
    let [mut data, updates] = operands(importer, node, reduction)?;
    if importer.shape(updates) != counts {
        return Err(format!("the updates {} do not have the shape of the indices", importer.shape(updates)));
    }
    let mut beyond = Vec::new();
    for (a, count) in covered(importer, node, data, &counts, axis)? {
        let whole = importer.shape(data).0[a].factor();
        for (taken, is_rest) in [((count, whole - count, 1), true), ((0, count, 1), false)] {
            let piece = part(importer, &format!("{}.part", node.name), data, a, taken)?;
            importer.make_internal(piece);
            if is_rest {
                beyond.push((a, piece));
            } else {
                data = piece;
            }
        }
    }
    let data = transposed(importer, node, data, &to_last(rank, axis))?;
    let updates = transposed(importer, node, updates, &to_last(rank, axis))?;
    let indices = along(importer, node, node.need(1)?, axis, size)?;
    let scattered = scatter(importer, node, Scatter { data, indices, updates, at: rank - 1 }, reduction)?;
    let mut y = scattered;
    let back = from_last(rank, axis);
    if !back.is_sorted() {
        y = importer.emit(node.name, ops::Transpose { perm: back }, &[y])?;
    }
    for (a, rest) in beyond.into_iter().rev() {
        y = importer.emit(node.name, ops::Concat { axis: a }, &[y, rest])?;
    }
    if y != scattered {
        importer.make_internal(scattered);
    }
    Ok(vec![Value::Tensor(y)])
}

/// Slices, named by their indices along the first dimensions.
fn slices(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let reduction = reduction(node)?;
    let (shape, counts) = (importer.shape_of(node.need(0)?)?, importer.shape_of(node.need(1)?)?);
    let mut operand = node.need(1)?.clone();
    let (mut depth, mut at) = (depth(&shape, &counts, 0)?, 0);
    let expected = Shape([&counts.0[..counts.rank() - 1], &shape.0[depth..]].concat());
    if shape.get(0) == Some(Dim::BATCH)
        && let Some(own) = own_indices(importer, node, &operand)?
    {
        (operand.value, at, depth) = (Value::Tensor(own), 1, depth - 1);
    }
    let sizes = sizes(&shape, at..at + depth)?;
    let [data, updates] = operands(importer, node, reduction)?;
    if importer.shape(updates) != expected {
        return Err(format!("the updates are {} where {expected} are needed", importer.shape(updates)));
    }
    let data = importer.reshape(node.name, data, as_one(&shape, at, &sizes))?;
    let indices = joined(importer, node, &operand, &sizes)?;
    let y = scatter(importer, node, Scatter { data, indices, updates, at }, reduction)?;
    Ok(vec![Value::Tensor(importer.reshape(node.name, y, shape)?)])
}

fn scatter(importer: &mut Importer, node: &Node, of: Scatter, reduction: Reduction) -> Result<NodeId, String> {
    let (shape, at) = (importer.shape(of.data), of.at);
    match reduction {
        Reduction::Last => replaced(importer, node, &of),
        Reduction::Add => {
            let indices = of.indices.tensor(importer, node)?;
            let op = ops::GatherGrad { axis: at, batch_dims: at, shape };
            let sums = importer.inner(node, "sums", op, &[of.updates, indices])?;
            importer.emit(node.name, ops::Add {}, &[of.data, sums])
        }
        Reduction::Mul => {
            let pairs = pairs(importer, node, &of, 1.0)?;
            let product = multiplied(importer, node, pairs, at + 1)?;
            importer.make_internal(product);
            importer.emit(node.name, ops::Mul {}, &[of.data, product])
        }
        Reduction::Extremum { least } => {
            let pairs = pairs(importer, node, &of, if least { f32::INFINITY } else { f32::NEG_INFINITY })?;
            let op = ops::ReduceExtremum { axes: vec![at + 1], keep: false, least };
            let extreme = importer.inner(node, "extreme", op, &[pairs])?;
            importer.emit(node.name, ops::Extremum { least }, &[of.data, extreme])
        }
    }
}

/// Shapes of a scatter: the dimensions before the indexed one, its size, the number of indices, the dimensions after it.
fn shapes(importer: &Importer, of: &Scatter) -> Result<(Vec<Dim>, usize, usize, Vec<Dim>), String> {
    let (data, updates) = (importer.shape(of.data), importer.shape(of.updates));
    let size = sizes(&data, of.at..of.at + 1)?[0];
    let (before, after) = (data.0[..of.at].to_vec(), data.0[of.at + 1..].to_vec());
    let own = &updates.0[of.at..updates.rank() - after.len()];
    let count = Shape(own.to_vec()).symbolic_elements();
    match count {
        (count, 0) => Ok((before, size, count, after)),
        _ => Err(crate::batch::mixing("it puts slices of all examples into one tensor")),
    }
}

/// Slices of the old and the new ones together, the new one where there is one.
fn replaced(importer: &mut Importer, node: &Node, of: &Scatter) -> Result<NodeId, String> {
    let (before, size, count, after) = shapes(importer, of)?;
    let listed = Shape([before.as_slice(), &[Dim::fixed(count)], &after].concat());
    let updates = importer.reshape(node.name, of.updates, listed)?;
    let all = importer.inner(node, "all", ops::Concat { axis: of.at }, &[of.data, updates])?;
    let sources = match &of.indices {
        Indices::Known { list, .. } => {
            let lists = list.len() / count;
            let mut sources: Vec<usize> = (0..lists).flat_map(|_| 0..size).collect();
            for (position, index) in list.iter().enumerate() {
                sources[position / count * size + index] = size + position % count;
            }
            let shape: Vec<usize> = before.iter().map(|dim| dim.factor()).chain([size]).collect();
            whole_numbers(importer, node, "sources", &shape, &sources)?
        }
        Indices::Computed(indices) => {
            let row = |from: usize, count: usize| Elements::Floats((from..from + count).map(|i| i as f32).collect());
            let constant = |importer: &mut Importer, what: &str, from: usize, count: usize| {
                let name = importer.fresh_name(&format!("{}.{what}", node.name));
                importer.constant_source(&name, &Constant { shape: vec![count], elements: row(from, count) })
            };
            let listed = Shape([before.as_slice(), &[Dim::fixed(count)]].concat());
            let indices = importer.reshape(node.name, *indices, listed.clone())?;
            let numbers = constant(importer, "numbers", 1, count)?;
            let numbers = importer.broadcast(&format!("{}.numbers", node.name), numbers, listed)?;
            importer.make_internal(numbers);
            let shape = Shape([before.as_slice(), &[Dim::fixed(size)]].concat());
            let op = ops::GatherGrad { axis: of.at, batch_dims: of.at, shape: shape.clone() };
            let writers = importer.inner(node, "writers", op, &[numbers, indices])?;
            let zero = number(importer, node, "zero", 0.0)?;
            let is_kept = importer.emit(node.name, ops::Compare { less: false, equal: true }, &[writers, zero])?;
            let offset = number(importer, node, "offset", size as f32 - 1.0)?;
            let moved = importer.inner(node, "moved", ops::Add {}, &[writers, offset])?;
            let own = constant(importer, "own", 0, size)?;
            let own = importer.broadcast(&format!("{}.own", node.name), own, shape)?;
            importer.make_internal(own);
            let sources = importer.inner(node, "sources", ops::Where {}, &[is_kept, own, moved])?;
            importer.converted(sources, DType::I32)?
        }
    };
    importer.emit(node.name, ops::Gather { axis: of.at, batch_dims: of.at }, &[all, sources])
}

/// The new slices for each pair of an index along the dimension and a slice; `other` where the slice is of another index.
fn pairs(importer: &mut Importer, node: &Node, of: &Scatter, other: f32) -> Result<NodeId, String> {
    let (before, size, count, after) = shapes(importer, of)?;
    let (one, size_dim, count_dim) = (Dim::fixed(1), Dim::fixed(size), Dim::fixed(count));
    let indices = of.indices.tensor(importer, node)?;
    let indices = importer.converted(indices, DType::F32)?;
    let indices = importer.reshape(node.name, indices, Shape([before.as_slice(), &[one, count_dim]].concat()))?;
    let indices = match of.indices {
        Indices::Known { .. } => indices,
        Indices::Computed(_) => counted(importer, node, indices, size)?,
    };
    let flat = Shape([before.as_slice(), &[size_dim, count_dim]].concat());
    let elements = Elements::Floats((0..size).map(|i| i as f32).collect());
    let name = importer.fresh_name(&format!("{}.positions", node.name));
    let positions = importer.constant_source(&name, &Constant { shape: vec![size, 1], elements })?;
    let positions = importer.broadcast(&format!("{}.positions", node.name), positions, flat.clone())?;
    let indices = importer.broadcast(&format!("{}.indices", node.name), indices, flat)?;
    importer.make_internal(positions);
    importer.make_internal(indices);
    let is_of = importer.emit(node.name, ops::Compare { less: false, equal: true }, &[positions, indices])?;
    let ones = vec![one; after.len()];
    let is_of =
        importer.reshape(node.name, is_of, Shape([before.as_slice(), &[size_dim, count_dim], &ones].concat()))?;
    let whole = Shape([before.as_slice(), &[size_dim, count_dim], &after].concat());
    let is_of = importer.broadcast(&format!("{}.is_of", node.name), is_of, whole.clone())?;
    let updates = Shape([before.as_slice(), &[one, count_dim], &after].concat());
    let updates = importer.reshape(node.name, of.updates, updates)?;
    let updates = importer.broadcast(&format!("{}.updates", node.name), updates, whole)?;
    importer.make_internal(updates);
    let other = number(importer, node, "other", other)?;
    importer.inner(node, "pairs", ops::Where {}, &[is_of, updates, other])
}

/// Indices from the start, where negative ones count from the end.
fn counted(importer: &mut Importer, node: &Node, indices: NodeId, size: usize) -> Result<NodeId, String> {
    let zero = number(importer, node, "zero", 0.0)?;
    let is_negative = importer.emit(node.name, ops::Compare { less: true, equal: false }, &[indices, zero])?;
    let is_negative = importer.converted(is_negative, DType::F32)?;
    let by = bitbudget_ir::Real(size as f64);
    let more = importer.inner(node, "more", ops::Scale { by }, &[is_negative])?;
    importer.inner(node, "counted", ops::Add {}, &[indices, more])
}

/// Known whole numbers, such as a shape of which one size is replaced.
fn folded(node: &Node, inputs: Known, room: usize) -> Result<Vec<Constant>, String> {
    let (data, indices, updates) = (fold::need(inputs, 0)?, fold::need(inputs, 1)?, fold::need(inputs, 2)?);
    fold::elements(&data.shape, room)?;
    let (list, reduction) = (indices.as_fixed()?, reduction(node)?);
    let resolved = |index: i64, size: usize| crate::importer::axis(index, size).map_err(|_| wrong(index));
    let mut targets = Vec::with_capacity(updates.len());
    if node.proto.op_type == "ScatterND" {
        let depth = depth(&Shape::fixed(&data.shape), &Shape::fixed(&indices.shape), 0)?;
        let inner: usize = data.shape[depth..].iter().product();
        for index in list.chunks(depth.max(1)) {
            let mut parts = index.iter().zip(&data.shape);
            let first = parts.try_fold(0, |at, (&i, &size)| Ok::<usize, String>(at * size + resolved(i, size)?))?;
            targets.extend(first * inner..(first + 1) * inner);
        }
    } else {
        let axis = crate::importer::axis(node.int("axis")?.unwrap_or(0), data.shape.len())?;
        if indices.shape.len() != data.shape.len() {
            return Err("its inputs differ in their number of dimensions".into());
        }
        let mut wrong_index = None;
        fold::each_index(&indices.shape, |index| {
            let mut to = index.to_vec();
            match list.get(targets.len()).map(|&i| resolved(i, data.shape[axis])) {
                Some(Ok(i)) => to[axis] = i,
                Some(Err(reason)) => wrong_index = Some(reason),
                None => {}
            }
            targets.push(fold::offset(&data.shape, &to));
        });
        if let Some(reason) = wrong_index {
            return Err(reason);
        }
    }
    if targets.len() != updates.len() || targets.iter().any(|&at| at >= data.len()) {
        return Err("its indices and updates do not fit its data".into());
    }
    let elements = match (&data.elements, &updates.elements) {
        (Elements::Ints(old), Elements::Ints(new)) => {
            let with = |a: Int, b: Int| match reduction {
                Reduction::Last => Some(b),
                Reduction::Add => a.add(b),
                Reduction::Mul => a.mul(b),
                Reduction::Extremum { least } => Some(if a.compare(b)?.is_lt() == least { a } else { b }),
            };
            let mut all = old.clone();
            for (&at, &new) in targets.iter().zip(new) {
                all[at] = with(all[at], new).ok_or("it has no result that is known for every batch size N")?;
            }
            Elements::Ints(all)
        }
        (Elements::Floats(old), Elements::Floats(new)) => {
            let mut all = old.clone();
            for (&at, &new) in targets.iter().zip(new) {
                all[at] = match reduction {
                    Reduction::Last => new,
                    Reduction::Add => all[at] + new,
                    Reduction::Mul => all[at] * new,
                    Reduction::Extremum { least: true } => all[at].min(new),
                    Reduction::Extremum { least: false } => all[at].max(new),
                };
            }
            Elements::Floats(all)
        }
        _ => return Err("whole and floating-point numbers do not mix".into()),
    };
    Ok(vec![Constant { shape: data.shape.clone(), elements }])
}

fn wrong(index: i64) -> String {
    format!("index {index} is out of range")
}
