//! Elements in another arrangement.

use super::orders::Order;
use super::work::{EmitError, Tensor, Work};
use crate::effort::Effort;
use crate::epilogue::Epilogue;
use crate::moves::{MoveAxis, moved};
use bitbudget_ir::{Layout, Op};
use bitbudget_program::BufferId;

/// Indices of a shape, and where the elements lie that belong to them.
struct Indices {
    shape: Vec<usize>,
    from: Vec<i64>,
    to: Vec<i64>,
    /// The first elements.
    offsets: [i64; 2],
}

impl Indices {
    fn new(shape: &[usize], from: Vec<i64>, to: Vec<i64>) -> Indices {
        Indices { shape: shape.to_vec(), from, to, offsets: [0, 0] }
    }

    fn axes(&self) -> Vec<MoveAxis> {
        let axis = |i: usize| MoveAxis { size: self.shape[i], from: self.from[i], to: self.to[i] };
        (0..self.shape.len()).map(axis).collect()
    }
}

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

fn launch(
    work: &mut Work<'_>,
    part: usize,
    read: Tensor,
    written: u64,
    epilogue: Epilogue,
    indices: &Indices,
) -> Result<(), EmitError> {
    work.takes(Effort::of_move(read.elements, epilogue, indices.axes().iter().map(|axis| axis.size).product()));
    let launches = moved(&indices.axes(), indices.offsets);
    let launches = launches.ok_or_else(|| work.error(part, "it moves along more than 6 axes"))?;
    let counters = if epilogue.is_counted() { work.counters(&[part]) } else { 0 };
    for one in launches {
        let kernel = one.kernel(read.elements, epilogue);
        let arguments = one.arguments([read.address, written], counters);
        work.launch("move", &|name| kernel.kernel(name), (one.blocks(), kernel.shared()), arguments);
    }
    Ok(())
}

/// Copies a tensor to the workspace in another arrangement.
fn copied(work: &mut Work<'_>, part: usize, read: Tensor, indices: &Indices) -> Result<Tensor, EmitError> {
    let elements = indices.shape.iter().product::<usize>();
    let address = work.scratch(elements * read.elements.width() as usize / 8);
    let epilogue = Epilogue { rounding: None, elements: read.elements };
    launch(work, part, read, address, epilogue, indices)?;
    Ok(Tensor { elements: read.elements, address })
}

/// A transposition, slice, concatenation or repetition.
pub(super) fn moved_part(work: &mut Work<'_>, part: usize) -> Result<(), EmitError> {
    let of = &work.parts[part];
    if let Some(&id) = of.inputs.iter().find(|&&id| work.part_of(id, part).is_some()) {
        return Err(work.error(part, format!("{id} is computed in its own step")));
    }
    let (result, epilogue, shape) = (work.address(of.output), work.epilogue(part), work.shape(of.output));
    let to = work.order(of.output).strides();
    let (id, read) = (of.inputs[0], work.tensor(of.inputs[0]));
    let from = work.order(id).strides();
    let sum = |begin: &[usize], strides: &[i64]| -> i64 {
        begin.iter().zip(strides).map(|(&begin, &stride)| begin as i64 * stride).sum()
    };
    let steps =
        |steps: &[i64], strides: &[i64]| steps.iter().zip(strides).map(|(step, stride)| step * stride).collect();
    let indices = match &of.op {
        Op::Transpose(op) => Indices::new(shape, op.perm.iter().map(|&axis| from[axis]).collect(), to),
        Op::Slice(op) => {
            Indices { offsets: [sum(&op.begin, &from), 0], ..Indices::new(shape, steps(&op.step, &from), to) }
        }
        Op::SliceScatter(op) => {
            work.zero(result, shape.iter().product::<usize>() * epilogue.elements.width() as usize / 8);
            let offsets = [0, sum(&op.begin, &to)];
            Indices { offsets, ..Indices::new(work.shape(id), from, steps(&op.step, &to)) }
        }
        Op::Broadcast(_) => Indices::new(shape, repeating(work.shape(id), &from, shape), to),
        Op::Concat(op) => return concatenated(work, part, op.axis),
        _ => return Err(work.error(part, "it moves nothing")),
    };
    launch(work, part, read, result, epilogue, &indices)
}

fn concatenated(work: &mut Work<'_>, part: usize, axis: usize) -> Result<(), EmitError> {
    let of = &work.parts[part];
    let (result, epilogue, to) = (work.address(of.output), work.epilogue(part), work.order(of.output).strides());
    let mut begin = 0;
    for &id in &of.inputs {
        let (read, shape) = (work.tensor(id), work.shape(id));
        let offsets = [0, begin as i64 * to[axis]];
        let indices = Indices { offsets, ..Indices::new(shape, work.order(id).strides(), to.clone()) };
        launch(work, part, read, result, epilogue, &indices)?;
        begin += shape[axis];
    }
    Ok(())
}

/// The strides of a tensor that is repeated to a shape.
fn repeating(shape: &[usize], strides: &[i64], to: &[usize]) -> Vec<i64> {
    let missing = to.len() - shape.len();
    let stride = |axis: usize| match axis < missing || shape[axis - missing] == 1 {
        true => 0,
        false => strides[axis - missing],
    };
    (0..to.len()).map(stride).collect()
}

/// A tensor repeated to the shape and order of another one, in the workspace.
pub(super) fn repeated(work: &mut Work<'_>, part: usize, id: BufferId, like: BufferId) -> Result<Tensor, EmitError> {
    let shape = work.shape(like);
    let from = repeating(work.shape(id), &work.order(id).strides(), shape);
    copied(work, part, work.tensor(id), &Indices::new(shape, from, work.order(like).strides()))
}

/// A tensor with some axes last: itself if they are, or a copy in the workspace, and whether it is one.
pub(super) fn with_last(
    work: &mut Work<'_>,
    part: usize,
    id: BufferId,
    last: &[usize],
) -> Result<(Tensor, bool), EmitError> {
    if work.part_of(id, part).is_some() {
        return Err(work.error(part, format!("{id} is computed in its own step")));
    }
    let (read, shape, from) = (work.tensor(id), work.shape(id), work.order(id).strides());
    let to = strides_with_last(shape, last);
    match (0..shape.len()).all(|axis| shape[axis] == 1 || from[axis] == to[axis]) {
        true => Ok((read, false)),
        false => Ok((copied(work, part, read, &Indices::new(shape, from, to))?, true)),
    }
}

/// The strides of a tensor with some axes last.
fn strides_with_last(shape: &[usize], last: &[usize]) -> Vec<i64> {
    let (kept, reduced): (Vec<usize>, Vec<usize>) = (0..shape.len()).partition(|axis| !last.contains(axis));
    let mut strides = vec![0; shape.len()];
    let mut stride = 1;
    for &axis in kept.iter().chain(&reduced).rev() {
        strides[axis] = stride;
        stride *= shape[axis] as i64;
    }
    strides
}

/// A part's results, which were computed with some axes last.
pub(super) fn from_last(work: &mut Work<'_>, part: usize, read: Tensor, last: &[usize]) -> Result<(), EmitError> {
    let output = work.parts[part].output;
    let (shape, to) = (work.shape(output), work.order(output).strides());
    let indices = Indices::new(shape, strides_with_last(shape, last), to);
    launch(work, part, read, work.address(output), work.epilogue(part), &indices)
}

/// A tensor in another order or by another shape, rounded to another format.
pub(super) fn reordered(work: &mut Work<'_>, part: usize) -> Result<(), EmitError> {
    let of = &work.parts[part];
    let indices = between(work, part, of.inputs[0], of.output)?;
    let (read, epilogue) = (work.tensor(of.inputs[0]), work.epilogue(part));
    launch(work, part, read, work.address(of.output), epilogue, &indices)
}

/// The places of elements of the same number in two tensors.
fn between(work: &Work<'_>, part: usize, a: BufferId, b: BufferId) -> Result<Indices, EmitError> {
    let (of_a, of_b) = (work.order(a), work.order(b));
    let (shape_a, shape_b) = (work.shape(a), work.shape(b));
    let by_rows = |shape: &[usize]| Order::new(shape, Layout::ROWS).strides();
    match (of_a.is_by_rows(), of_b.is_by_rows()) {
        _ if shape_a == shape_b => Ok(Indices::new(shape_a, of_a.strides(), of_b.strides())),
        (_, true) => Ok(Indices::new(shape_a, of_a.strides(), by_rows(shape_a))),
        (true, false) => Ok(Indices::new(shape_b, by_rows(shape_b), of_b.strides())),
        (false, false) => Err(work.error(part, format!("{shape_a:?} becomes {shape_b:?}, both with channels last"))),
    }
}

/// A value becomes that of a kept buffer.
pub(super) fn stored(work: &mut Work<'_>, value: BufferId, target: BufferId) -> Result<(), EmitError> {
    let indices = between(work, 0, value, target)?;
    let epilogue = Epilogue { rounding: None, elements: work.elements(target) };
    launch(work, 0, work.tensor(value), work.address(target), epilogue, &indices)
}
