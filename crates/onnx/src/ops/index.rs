//! Elements and slices by index: all come to slices along one dimension, by a list for each index of the dimensions before it.

use super::examples::within;
use super::fold;
use super::logic::transposed;
use super::part::part;
use super::row::{Known, Row};
use crate::file::constant::{Constant, Elements, Int};
use crate::importer::{Importer, Node, Operand, Value, axis};
use bitbudget_ir::{DType, Dim, NodeId, Shape, ops};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "GatherElements",
        versions: &[11, 13],
        attributes: &["axis"],
        forms: "`gather`, by a list of indices for each row; not from the batch",
        build: Some(gather_elements),
        fold: Some(fold_elements),
    },
    Row {
        name: "GatherND",
        versions: &[11, 12, 13],
        attributes: &["batch_dims"],
        forms: "`gather` from the indexed dimensions as one; not from the batch",
        build: Some(gather_nd),
        fold: Some(fold_nd),
    },
];

/// The number of elements up to which FP32 holds every index.
const MOST: usize = 1 << 24;

/// Indices along one dimension, as they are known at import or as a tensor computes them.
pub(super) enum Indices {
    Known { shape: Vec<usize>, list: Vec<usize> },
    Computed(NodeId),
}

impl Indices {
    /// The indices as a tensor of whole numbers.
    pub(super) fn tensor(&self, importer: &mut Importer, node: &Node) -> Result<NodeId, String> {
        match self {
            Indices::Computed(id) => Ok(*id),
            Indices::Known { shape, list } => whole_numbers(importer, node, "indices", shape, list),
        }
    }
}

/// A constant of whole numbers that a node reads.
pub(super) fn whole_numbers(
    importer: &mut Importer,
    node: &Node,
    what: &str,
    shape: &[usize],
    list: &[usize],
) -> Result<NodeId, String> {
    let ints = list.iter().map(|&i| i64::try_from(i).map(Int::fixed).map_err(|e| e.to_string()));
    let elements = Elements::Ints(ints.collect::<Result<_, _>>()?);
    let name = importer.fresh_name(&format!("{}.{what}", node.name));
    importer.typed_source(&name, &Constant { shape: shape.to_vec(), elements }, DType::I32)
}

/// A known index that may count from the end.
fn resolved(index: i64, size: usize) -> Result<usize, String> {
    axis(index, size).map_err(|_| format!("index {index} is out of range for a dimension of {size} elements"))
}

/// The sizes of indexed dimensions.
pub(super) fn sizes(shape: &Shape, axes: std::ops::Range<usize>) -> Result<Vec<usize>, String> {
    let dims = shape.0.get(axes.clone()).ok_or_else(|| format!("{shape} has no dimensions {axes:?} to index"))?;
    let sizes: Option<Vec<usize>> = dims.iter().map(|dim| dim.as_fixed()).collect();
    let sizes = sizes.ok_or_else(|| {
        format!("it indexes the batch of {shape}: examples are not told apart by number; export the network without it")
    })?;
    let all = sizes.iter().copied().fold(1, usize::saturating_mul);
    if all > MOST {
        return Err(format!("it indexes {all} elements of {shape}; {MOST} at most are possible"));
    }
    Ok(sizes)
}

/// The axes of a tensor with one of them moved to the end.
pub(super) fn to_last(rank: usize, axis: usize) -> Vec<usize> {
    (0..rank).filter(|&a| a != axis).chain([axis]).collect()
}

/// The axes that undo [`to_last`].
pub(super) fn from_last(rank: usize, axis: usize) -> Vec<usize> {
    let mut back: Vec<usize> = (0..rank.saturating_sub(1)).collect();
    back.insert(axis, rank.saturating_sub(1));
    back
}

/// The indices along one axis, which stands last.
pub(super) fn along(
    importer: &mut Importer,
    node: &Node,
    operand: &Operand,
    axis: usize,
    size: usize,
) -> Result<Indices, String> {
    let rank = importer.shape_of(operand)?.rank();
    let perm = to_last(rank, axis);
    if let Ok(known) = importer.constant(operand) {
        let shape: Vec<usize> = perm.iter().map(|&a| known.shape[a]).collect();
        let mut from = vec![0; rank];
        let moved = fold::gather(&known, &shape, usize::MAX, |index| {
            perm.iter().zip(index).for_each(|(&a, &i)| from[a] = i);
            Some(fold::offset(&known.shape, &from))
        })?;
        let list = moved.as_fixed()?.into_iter().map(|i| resolved(i, size)).collect::<Result<_, _>>()?;
        return Ok(Indices::Known { shape, list });
    }
    let indices = importer.typed(operand, DType::I32)?;
    Ok(Indices::Computed(transposed(importer, node, indices, &perm)?))
}

/// The first elements of a tensor along the axes where indices are fewer.
pub(super) fn covered(
    importer: &mut Importer,
    node: &Node,
    x: NodeId,
    indices: &Shape,
    axis: usize,
) -> Result<Vec<(usize, usize)>, String> {
    let shape = importer.shape(x);
    let mut fewer = Vec::new();
    for (a, (&own, &count)) in shape.0.iter().zip(&indices.0).enumerate().filter(|&(a, _)| a != axis) {
        match (own.as_fixed(), count.as_fixed()) {
            _ if own == count => {}
            (Some(size), Some(count)) if count < size => fewer.push((a, count)),
            _ => return Err(format!("the indices {indices} leave {shape} in dimension {a} of node `{}`", node.name)),
        }
    }
    Ok(fewer)
}

/// The axis of an operator that indexes single elements, whose operand has as many dimensions as the indices.
pub(super) fn element_axis(importer: &mut Importer, node: &Node) -> Result<(usize, Shape, Shape), String> {
    let (shape, indices) = (importer.shape_of(node.need(0)?)?, importer.shape_of(node.need(1)?)?);
    if shape.rank() != indices.rank() {
        return Err(format!("{shape} and the indices {indices} differ in their number of dimensions"));
    }
    Ok((axis(node.int("axis")?.unwrap_or(0), shape.rank())?, shape, indices))
}

fn gather_elements(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let (axis, shape, counts) = element_axis(importer, node)?;
    let rank = shape.rank();
    let size = sizes(&shape, axis..axis + 1)?[0];
    let mut x = importer.moved(node, 0)?;
    for (a, count) in covered(importer, node, x, &counts, axis)? {
        x = part(importer, &format!("{}.part", node.name), x, a, (0, count, 1))?;
        importer.make_internal(x);
    }
    let x = transposed(importer, node, x, &to_last(rank, axis))?;
    let indices = along(importer, node, node.need(1)?, axis, size)?.tensor(importer, node)?;
    let op = ops::Gather { axis: rank - 1, batch_dims: rank - 1 };
    let back = from_last(rank, axis);
    let y = match back.is_sorted() {
        true => importer.emit(node.name, op, &[x, indices])?,
        false => {
            let y = importer.inner(node, "gathered", op, &[x, indices])?;
            importer.emit(node.name, ops::Transpose { perm: back }, &[y])?
        }
    };
    Ok(vec![Value::Tensor(y)])
}

/// The indices of slices, of so many numbers each, as numbers along the indexed dimensions as one.
pub(super) fn joined(
    importer: &mut Importer,
    node: &Node,
    operand: &Operand,
    sizes: &[usize],
) -> Result<Indices, String> {
    let strides: Vec<usize> = (0..sizes.len()).map(|at| sizes[at + 1..].iter().product()).collect();
    if let Ok(known) = importer.constant(operand) {
        let (shape, all) = (known.shape[..known.shape.len() - 1].to_vec(), known.as_fixed()?);
        let place = |index: &[i64]| {
            let parts = index.iter().zip(sizes).zip(&strides);
            parts.map(|((&i, &size), stride)| Ok(resolved(i, size)? * stride)).sum::<Result<usize, String>>()
        };
        let list = all.chunks(sizes.len()).map(place).collect::<Result<_, _>>()?;
        return Ok(Indices::Known { shape, list });
    }
    let mut shape = importer.shape_of(operand)?;
    if sizes.len() == 1 {
        shape.0.pop();
        let indices = importer.typed(operand, DType::I32)?;
        return Ok(Indices::Computed(importer.reshape(node.name, indices, shape)?));
    }
    let indices = importer.operand(operand)?;
    let numbers = |importer: &mut Importer, what: &str, numbers: &[usize]| {
        let elements = Elements::Floats(numbers.iter().map(|&n| n as f32).collect());
        let name = importer.fresh_name(&format!("{}.{what}", node.name));
        let row = importer.constant_source(&name, &Constant { shape: vec![numbers.len()], elements })?;
        Ok::<NodeId, String>(row)
    };
    let (rows, strides) = (numbers(importer, "sizes", sizes)?, numbers(importer, "strides", &strides)?);
    let zero = super::logic::number(importer, node, "zero", 0.0)?;
    let is_negative = importer.emit(node.name, ops::Compare { less: true, equal: false }, &[indices, zero])?;
    let is_negative = importer.converted(is_negative, DType::F32)?;
    let more = importer.inner(node, "more", ops::Mul {}, &[is_negative, rows])?;
    let counted = importer.inner(node, "counted", ops::Add {}, &[indices, more])?;
    let apart = importer.inner(node, "apart", ops::Mul {}, &[counted, strides])?;
    let last = importer.shape(apart).rank() - 1;
    let places = importer.inner(node, "places", ops::ReduceSum { axes: vec![last], keep: false }, &[apart])?;
    Ok(Indices::Computed(importer.converted(places, DType::I32)?))
}

/// How many of the first dimensions indices of slices share with the indexed tensor, and how many they index after these.
pub(super) fn depth(shape: &Shape, indices: &Shape, batch_dims: usize) -> Result<usize, String> {
    let depth = indices
        .0
        .last()
        .and_then(|dim| dim.as_fixed())
        .filter(|&depth| depth > 0 && batch_dims + depth <= shape.rank());
    let depth = depth.filter(|_| batch_dims < indices.rank() && shape.0[..batch_dims] == indices.0[..batch_dims]);
    depth.ok_or_else(|| format!("the indices {indices} do not fit {shape} with {batch_dims} shared dimensions"))
}

fn gather_nd(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let (shape, indices) = (importer.shape_of(node.need(0)?)?, importer.shape_of(node.need(1)?)?);
    let mut shared = usize::try_from(node.int("batch_dims")?.unwrap_or(0)).map_err(|_| "batch_dims is negative")?;
    let mut depth = depth(&shape, &indices, shared)?;
    let mut operand = node.need(1)?.clone();
    if shared == 0
        && shape.get(0) == Some(Dim::BATCH)
        && let Some(own) = own_indices(importer, node, &operand)?
    {
        (operand.value, shared, depth) = (Value::Tensor(own), 1, depth - 1);
    }
    let sizes = sizes(&shape, shared..shared + depth)?;
    let x = importer.moved(node, 0)?;
    let x = importer.reshape(node.name, x, as_one(&shape, shared, &sizes))?;
    let indices = joined(importer, node, &operand, &sizes)?.tensor(importer, node)?;
    let op = ops::Gather { axis: shared, batch_dims: shared };
    Ok(vec![Value::Tensor(importer.emit(node.name, op, &[x, indices])?)])
}

/// The indices within each example of slices that are named by the examples' numbers first.
pub(super) fn own_indices(importer: &mut Importer, node: &Node, operand: &Operand) -> Result<Option<NodeId>, String> {
    match operand.value {
        Value::Tensor(indices) => within(importer, node, indices),
        _ => Ok(None),
    }
}

/// A shape with its dimensions from `at` on, of the given sizes, as one.
pub(super) fn as_one(shape: &Shape, at: usize, sizes: &[usize]) -> Shape {
    Shape([&shape.0[..at], &[Dim::fixed(sizes.iter().product())], &shape.0[at + sizes.len()..]].concat())
}

fn fold_elements(node: &Node, inputs: Known, room: usize) -> Result<Vec<Constant>, String> {
    let (x, indices) = (fold::need(inputs, 0)?, fold::need(inputs, 1)?);
    let axis = axis(node.int("axis")?.unwrap_or(0), x.shape.len())?;
    if indices.shape.len() != x.shape.len() {
        return Err("its inputs differ in their number of dimensions".into());
    }
    let list = indices.as_fixed()?;
    let mut from = vec![0; x.shape.len()];
    let result = fold::gather(x, &indices.shape, room, |index| {
        from.copy_from_slice(index);
        from[axis] = resolved(*list.get(fold::offset(&indices.shape, index))?, x.shape[axis]).ok()?;
        from.iter().zip(&x.shape).all(|(i, d)| i < d).then(|| fold::offset(&x.shape, &from))
    })?;
    Ok(vec![result])
}

fn fold_nd(node: &Node, inputs: Known, room: usize) -> Result<Vec<Constant>, String> {
    let (x, indices) = (fold::need(inputs, 0)?, fold::need(inputs, 1)?);
    let shared = usize::try_from(node.int("batch_dims")?.unwrap_or(0)).map_err(|_| "batch_dims is negative")?;
    let depth = depth(&Shape::fixed(&x.shape), &Shape::fixed(&indices.shape), shared)?;
    let (list, outer) = (indices.as_fixed()?, indices.shape.len() - 1);
    let shape = [&indices.shape[..outer], &x.shape[shared + depth..]].concat();
    let result = fold::gather(x, &shape, room, |index| {
        let at = fold::offset(&indices.shape[..outer], &index[..outer]) * depth;
        let own = list.get(at..at + depth)?.iter().zip(&x.shape[shared..]);
        let own: Vec<usize> = own.map(|(&i, &size)| resolved(i, size).ok()).collect::<Option<_>>()?;
        Some(fold::offset(&x.shape, &[&index[..shared], &own, &index[outer..]].concat()))
    })?;
    Ok(vec![result])
}
