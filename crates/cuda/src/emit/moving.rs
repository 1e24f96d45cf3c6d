//! Elements in another arrangement.

use super::orders::Order;
use super::work::{EmitError, Work};
use crate::chain::Rounding;
use crate::elements::Elements;
use crate::moves::{MoveAxis, moved};
use bitbudget_ir::Op;
use bitbudget_program::BufferId;

/// Whether a tensor lies as another one of as many elements: each element in the place of the one of the same number.
pub(super) fn is_same(work: &Work<'_>, a: BufferId, b: BufferId) -> bool {
    let (of_a, of_b) = (work.order(a), work.order(b));
    if of_a.is_by_rows() && of_b.is_by_rows() {
        return true;
    }
    // Channels that lie last still do so, if there are as many of them in as many pixels of as many examples.
    let batch = |id: BufferId| work.shape(id).first().copied().unwrap_or(1);
    let both_last = of_a.has_channels_last() && of_b.has_channels_last();
    both_last && batch(a) == batch(b) && of_a.around_channels() == of_b.around_channels()
}

/// Launches a move, unless there is nothing to move.
fn launch(
    work: &mut Work<'_>,
    part: usize,
    (from, read): (Elements, u64),
    (to, written): (Elements, u64),
    rounding: Option<Rounding>,
    (axes, offsets): (&[MoveAxis], [i64; 2]),
) -> Result<(), EmitError> {
    let launches = moved(axes, offsets).ok_or_else(|| work.error(part, "it moves along more than 6 axes"))?;
    let counters = match rounding {
        Some((.., true)) => work.counters(&[part]),
        _ => 0,
    };
    for one in launches {
        let kernel = one.kernel(from, rounding, to);
        let arguments = one.arguments([read, written], counters);
        work.launch("move", &|name| kernel.kernel(name), (one.blocks(), kernel.shared()), arguments);
    }
    Ok(())
}

fn axes(shape: &[usize], from: &[i64], to: &[i64]) -> Vec<MoveAxis> {
    (0..shape.len()).map(|axis| MoveAxis { size: shape[axis], from: from[axis], to: to[axis] }).collect()
}

/// A transposition, slice, concatenation or repetition.
pub(super) fn moved_part(work: &mut Work<'_>, part: usize) -> Result<(), EmitError> {
    let of = &work.parts[part];
    if let Some(&id) = of.inputs.iter().find(|&&id| work.part_of(id, part).is_some()) {
        return Err(work.error(part, format!("{id} is computed in its own step")));
    }
    let (result, rounding) = ((work.elements(of.output), work.address(of.output)), work.rounding(part));
    let to = work.order(of.output).strides();
    let shape = work.shape(of.output);
    let read = |id: BufferId| (work.elements(id), work.address(id), work.order(id).strides());
    let (elements, address, from) = read(of.inputs[0]);
    match &of.op {
        Op::Transpose(op) => {
            let from: Vec<i64> = op.perm.iter().map(|&axis| from[axis]).collect();
            launch(work, part, (elements, address), result, rounding, (&axes(shape, &from, &to), [0, 0]))
        }
        Op::Slice(op) => {
            let first = op.begin.iter().zip(&from).map(|(&begin, &stride)| begin as i64 * stride).sum();
            let from: Vec<i64> = op.step.iter().zip(&from).map(|(&step, &stride)| step * stride).collect();
            launch(work, part, (elements, address), result, rounding, (&axes(shape, &from, &to), [first, 0]))
        }
        Op::SliceScatter(op) => {
            let first = op.begin.iter().zip(&to).map(|(&begin, &stride)| begin as i64 * stride).sum();
            let to: Vec<i64> = op.step.iter().zip(&to).map(|(&step, &stride)| step * stride).collect();
            let bytes = shape.iter().product::<usize>() * result.0.width() as usize / 8;
            work.zero(result.1, bytes);
            let region = work.shape(of.inputs[0]);
            launch(work, part, (elements, address), result, rounding, (&axes(region, &from, &to), [0, first]))
        }
        Op::Broadcast(_) => {
            let from = repeating(work.shape(of.inputs[0]), &from, shape);
            launch(work, part, (elements, address), result, rounding, (&axes(shape, &from, &to), [0, 0]))
        }
        Op::Concat(op) => {
            let mut begin = 0;
            for &id in &of.inputs {
                let (elements, address, from) = (work.elements(id), work.address(id), work.order(id).strides());
                let (region, first) = (work.shape(id), begin as i64 * to[op.axis]);
                begin += region[op.axis];
                launch(work, part, (elements, address), result, rounding, (&axes(region, &from, &to), [0, first]))?;
            }
            Ok(())
        }
        _ => Err(work.error(part, "it moves nothing")),
    }
}

/// The strides of a tensor that is repeated to a shape.
fn repeating(shape: &[usize], strides: &[i64], to: &[usize]) -> Vec<i64> {
    let missing = to.len() - shape.len();
    (0..to.len()).map(|axis| if axis < missing || shape[axis - missing] == 1 { 0 } else { strides[axis - missing] }).collect()
}

/// A tensor repeated to the shape and order of another one, in the workspace.
pub(super) fn repeated(
    work: &mut Work<'_>,
    part: usize,
    id: BufferId,
    like: BufferId,
) -> Result<(Elements, u64), EmitError> {
    let (elements, address, shape) = (work.elements(id), work.address(id), work.shape(like));
    let from = repeating(work.shape(id), &work.order(id).strides(), shape);
    let to = work.order(like).strides();
    let copy = work.scratch(shape.iter().product::<usize>() * elements.width() as usize / 8);
    launch(work, part, (elements, address), (elements, copy), None, (&axes(shape, &from, &to), [0, 0]))?;
    Ok((elements, copy))
}

/// A tensor with some axes last: itself if they are, or a copy in the workspace.
pub(super) fn with_last(
    work: &mut Work<'_>,
    part: usize,
    id: BufferId,
    last: &[usize],
) -> Result<(Elements, u64), EmitError> {
    if work.part_of(id, part).is_some() {
        return Err(work.error(part, format!("{id} is computed in its own step")));
    }
    let (elements, address, shape) = (work.elements(id), work.address(id), work.shape(id));
    let from = work.order(id).strides();
    let (kept, reduced): (Vec<usize>, Vec<usize>) = (0..shape.len()).partition(|axis| !last.contains(axis));
    let mut to = vec![0; shape.len()];
    let mut stride = 1;
    for &axis in kept.iter().chain(&reduced).rev() {
        to[axis] = stride;
        stride *= shape[axis] as i64;
    }
    if (0..shape.len()).all(|axis| shape[axis] == 1 || from[axis] == to[axis]) {
        return Ok((elements, address));
    }
    let copy = work.scratch(stride as usize * elements.width() as usize / 8);
    launch(work, part, (elements, address), (elements, copy), None, (&axes(shape, &from, &to), [0, 0]))?;
    Ok((elements, copy))
}

/// A tensor in another order or by another shape, rounded to another format.
pub(super) fn reordered(work: &mut Work<'_>, part: usize) -> Result<(), EmitError> {
    let of = &work.parts[part];
    let (id, rounding) = (of.inputs[0], work.rounding(part));
    let result = (work.elements(of.output), work.address(of.output));
    let read = (work.elements(id), work.address(id));
    let (from, to) = between(work, part, id, of.output)?;
    launch(work, part, read, result, rounding, (&axes(&from.0, &from.1, &to), [0, 0]))
}

/// The shape in which one tensor's elements are those of the other, with the strides of both.
fn between(
    work: &Work<'_>,
    part: usize,
    a: BufferId,
    b: BufferId,
) -> Result<((Vec<usize>, Vec<i64>), Vec<i64>), EmitError> {
    let (of_a, of_b): (Order, Order) = (work.order(a), work.order(b));
    let (shape_a, shape_b) = (work.shape(a), work.shape(b));
    let by_rows = |shape: &[usize]| Order::new(shape, false).strides();
    if shape_a == shape_b {
        return Ok(((shape_a.to_vec(), of_a.strides()), of_b.strides()));
    }
    match (of_a.is_by_rows(), of_b.is_by_rows()) {
        (_, true) => Ok(((shape_a.to_vec(), of_a.strides()), by_rows(shape_a))),
        (true, false) => Ok(((shape_b.to_vec(), by_rows(shape_b)), of_b.strides())),
        (false, false) => Err(work.error(part, format!("{shape_a:?} becomes {shape_b:?}, both with channels last"))),
    }
}

/// A value becomes that of a kept buffer.
pub(super) fn stored(work: &mut Work<'_>, value: BufferId, target: BufferId) -> Result<(), EmitError> {
    let result = (work.elements(target), work.address(target));
    let read = (work.elements(value), work.address(value));
    let (from, to) = between(work, 0, value, target)?;
    launch(work, 0, read, result, None, (&axes(&from.0, &from.1, &to), [0, 0]))
}
