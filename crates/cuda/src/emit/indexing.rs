//! Slices by index, and indices of the largest elements.

use super::work::{EmitError, Work};
use crate::index::{IndexSizes, Indexed, Largest};
use bitbudget_ir::Op;
use bitbudget_program::BufferId;

/// Slices of a tensor, or sums of slices.
pub(super) fn slices(work: &mut Work<'_>, part: usize) -> Result<(), EmitError> {
    let of = &work.parts[part];
    let (table, axis, batch_dims, sums) = match &of.op {
        Op::Gather(op) => (of.inputs[0], op.axis, op.batch_dims, false),
        Op::GatherGrad(op) => (of.output, op.axis, op.batch_dims, true),
        _ => return Err(work.error(part, "it has no indices")),
    };
    are_by_rows(work, part, &[of.inputs[0], of.inputs[1], of.output])?;
    let [read, indices] = [of.inputs[0], of.inputs[1]].map(|id| work.tensor(id));
    let sizes = IndexSizes::new(work.shape(table), axis, batch_dims, work.buffer(of.inputs[1]).elements());
    let (address, epilogue) = (work.address(of.output), work.epilogue(part));
    let kernel = Indexed { sums, from: read.elements, indices: indices.elements, epilogue };
    let counters = if epilogue.is_counted() { work.counters(&[part]) } else { 0 };
    let arguments = kernel.arguments(&sizes, [read.address, indices.address, address], counters);
    work.launch("indexed", &|name| kernel.kernel(name), (kernel.blocks(&sizes), 0), arguments);
    Ok(())
}

/// The indices of the largest elements of each row.
pub(super) fn largest(work: &mut Work<'_>, part: usize) -> Result<(), EmitError> {
    let of = &work.parts[part];
    let (count, last) = match &of.op {
        Op::ArgMax(op) => (1, op.last),
        Op::TopK(op) => (op.count, false),
        _ => return Err(work.error(part, "it finds no largest elements")),
    };
    are_by_rows(work, part, &[of.inputs[0], of.output])?;
    let (read, written) = (work.tensor(of.inputs[0]), work.tensor(of.output));
    let shape = work.shape(of.inputs[0]);
    let length = shape.last().copied().unwrap_or(1).max(1);
    let rows = shape.iter().product::<usize>() / length;
    let kernel = Largest { from: read.elements, to: written.elements, last };
    let arguments = Largest::arguments([rows, length, count], [read.address, written.address]);
    work.launch("largest", &|name| kernel.kernel(name), (Largest::blocks(rows), 0), arguments);
    Ok(())
}

/// Checks that tensors have memory and lie by rows.
fn are_by_rows(work: &Work<'_>, part: usize, ids: &[BufferId]) -> Result<(), EmitError> {
    match ids.iter().find(|&&id| work.part_of(id, part).is_some() || !work.order(id).is_by_rows()) {
        Some(id) => Err(work.error(part, format!("{id} is computed in its own step, or does not lie by rows"))),
        None => Ok(()),
    }
}
