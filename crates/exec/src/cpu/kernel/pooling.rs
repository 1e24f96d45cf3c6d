//! Pooling and its gradients.

use super::call::Call;
use crate::cpu::operands::{Operands, Place};
use crate::error::Fault;
use bitbudget_formats::Counts;
use bitbudget_ir::ops;
use bitbudget_kernels as kernels;
use bitbudget_select::geometry::pool2d;

pub(super) fn max(op: &ops::MaxPool, Call { operands, y, shape, .. }: Call) -> Result<Counts, Fault> {
    let (x, x_shape) = operands.shaped(0)?;
    Ok(kernels::max_pool(&pool2d(&op.window(), x_shape, shape)?, x, y)?)
}

/// The positions of the maxima.
pub(super) fn max_indices(
    op: &ops::MaxPoolIndices,
    operands: &Operands<'_>,
    place: &mut Place<'_>,
    shape: &[usize],
) -> Result<Counts, Fault> {
    let (x, x_shape) = operands.shaped(0)?;
    kernels::max_pool_indices(&pool2d(&op.window(), x_shape, shape)?, x, place.indices()?)?;
    Ok(Counts::default())
}

/// The maxima, of this shape, and their positions in one pass.
pub(super) fn max_with_indices(
    op: &ops::MaxPool,
    operands: &Operands<'_>,
    [maxima, indices]: [&mut Place<'_>; 2],
    shape: &[usize],
) -> Result<[Counts; 2], Fault> {
    let (x, x_shape) = operands.shaped(0)?;
    let g = pool2d(&op.window(), x_shape, shape)?;
    let counts = kernels::max_pool_with_indices(&g, x, maxima.numbers()?, indices.indices()?)?;
    Ok([counts, Counts::default()])
}

pub(super) fn max_grad(op: &ops::MaxPoolGrad, Call { operands, y, shape, .. }: Call) -> Result<Counts, Fault> {
    let (dy, dy_shape) = operands.shaped(0)?;
    Ok(kernels::max_pool_grad(&pool2d(&op.window(), shape, dy_shape)?, dy, operands.indices(1)?, y)?)
}

pub(super) fn average(op: &ops::AveragePool, Call { operands, y, shape, .. }: Call) -> Result<Counts, Fault> {
    let (x, x_shape) = operands.shaped(0)?;
    Ok(kernels::avg_pool(&pool2d(&op.window(), x_shape, shape)?, op.count_include_pad, x, y)?)
}

pub(super) fn average_grad(op: &ops::AveragePoolGrad, Call { operands, y, shape, .. }: Call) -> Result<Counts, Fault> {
    let (dy, dy_shape) = operands.shaped(0)?;
    Ok(kernels::avg_pool_grad(&pool2d(&op.window(), shape, dy_shape)?, op.count_include_pad, dy, y)?)
}
