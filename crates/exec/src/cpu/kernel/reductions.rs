//! Sums, means and extrema over axes, and whether all elements are finite.

use super::call::Call;
use crate::error::Fault;
use bitbudget_formats::Counts;
use bitbudget_ir::ops;
use bitbudget_kernels as kernels;

pub(super) fn sum(op: &ops::ReduceSum, Call { operands, y, .. }: Call) -> Result<Counts, Fault> {
    let (x, x_shape) = operands.shaped(0)?;
    Ok(kernels::reduce_sum(x, x_shape, &op.axes, y)?)
}

pub(super) fn mean(op: &ops::ReduceMean, Call { operands, y, .. }: Call) -> Result<Counts, Fault> {
    let (x, x_shape) = operands.shaped(0)?;
    Ok(kernels::reduce_mean(x, x_shape, &op.axes, y)?)
}

pub(super) fn extremum(op: &ops::ReduceExtremum, Call { operands, y, .. }: Call) -> Result<Counts, Fault> {
    let (x, x_shape) = operands.shaped(0)?;
    Ok(kernels::reduce_extremum(x, x_shape, &op.axes, op.least, y)?)
}

pub(super) fn extremum_grad(
    op: &ops::ReduceExtremumGrad,
    Call { operands, y, workspace, .. }: Call,
) -> Result<Counts, Fault> {
    let (dy, (x, x_shape)) = (operands.numbers(0)?, operands.shaped(1)?);
    Ok(kernels::reduce_extremum_grad(dy, x, x_shape, &op.axes, op.least, workspace, y)?)
}

pub(super) fn all_finite(Call { operands, y, .. }: Call) -> Result<Counts, Fault> {
    let finite = operands.all()?.into_iter().all(|(x, _)| kernels::all_finite(x));
    Ok(y.put(&[if finite { 1.0 } else { 0.0 }])?)
}
