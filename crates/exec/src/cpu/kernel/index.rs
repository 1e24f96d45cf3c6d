//! Slices by index, and indices of the largest elements.

use super::call::Call;
use crate::error::Fault;
use bitbudget_formats::Counts;
use bitbudget_ir::ops;
use bitbudget_kernels as kernels;
use bitbudget_select::geometry;

pub(super) fn gather(op: &ops::Gather, Call { operands, y, .. }: Call) -> Result<Counts, Fault> {
    let (x, shape) = operands.shaped(0)?;
    Ok(kernels::gather(x, geometry::indexed(shape, op.axis, op.batch_dims), operands.exact(1)?, y)?)
}

pub(super) fn gather_grad(op: &ops::GatherGrad, call: Call) -> Result<Counts, Fault> {
    let Call { operands, y, shape, workspace } = call;
    let (dy, of) = (operands.numbers(0)?, geometry::indexed(shape, op.axis, op.batch_dims));
    Ok(kernels::gather_grad(dy, of, operands.exact(1)?, y, workspace)?)
}

pub(super) fn arg_max(op: &ops::ArgMax, Call { operands, y, .. }: Call) -> Result<Counts, Fault> {
    let (x, shape) = operands.shaped(0)?;
    Ok(kernels::arg_max(geometry::rows(shape).1, op.last, x, y)?)
}

pub(super) fn top_k(op: &ops::TopK, Call { operands, y, .. }: Call) -> Result<Counts, Fault> {
    let (x, shape) = operands.shaped(0)?;
    Ok(kernels::top_k(geometry::rows(shape).1, op.count, x, y)?)
}
