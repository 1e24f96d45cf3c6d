//! Sums and means over axes, and whether all elements are finite.

use super::call::{Call, put};
use crate::error::Fault;
use bitbudget_formats::Counts;
use bitbudget_ir::ops;
use bitbudget_kernels as kernels;
use bitbudget_select::geometry::channels;

pub(super) fn sum(op: &ops::ReduceSum, Call { operands, y, .. }: Call) -> Result<Counts, Fault> {
    let (x, x_shape) = operands.shaped(0)?;
    if is_over_channels(&op.axes, x_shape) {
        let [n, c, s] = channels(x_shape);
        return Ok(put(y, |sums| kernels::channel_sum(n, c, s, x, sums))?.0);
    }
    Ok(kernels::reduce_sum(x, x_shape, &op.axes, y)?)
}

pub(super) fn mean(op: &ops::ReduceMean, Call { operands, y, .. }: Call) -> Result<Counts, Fault> {
    let (x, x_shape) = operands.shaped(0)?;
    Ok(kernels::reduce_mean(x, x_shape, &op.axes, y)?)
}

pub(super) fn all_finite(Call { operands, y, .. }: Call) -> Result<Counts, Fault> {
    let finite = operands.all()?.into_iter().all(|(x, _)| kernels::all_finite(x));
    Ok(y.put(&[if finite { 1.0 } else { 0.0 }])?)
}

/// Whether a sum leaves the channels of `[N, C, …]`.
fn is_over_channels(axes: &[usize], shape: &[usize]) -> bool {
    shape.len() > 1 && axes.iter().copied().eq((0..shape.len()).filter(|&axis| axis != 1))
}
