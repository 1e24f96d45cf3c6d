//! Statistics of batch normalisation, and its gradients by scale and bias.

use super::call::{Call, put, put_both};
use crate::cpu::operands::{Operands, Place};
use crate::error::Fault;
use bitbudget_formats::Counts;
use bitbudget_ir::ops::BatchNormGradScale;
use bitbudget_kernels::{self as kernels, NormGradient};
use bitbudget_select::geometry::channels;

pub(super) fn mean(Call { operands, y, .. }: Call) -> Result<Counts, Fault> {
    let (x, x_shape) = operands.shaped(0)?;
    let [n, c, s] = channels(x_shape);
    Ok(put(y, |mean| kernels::batch_mean(n, c, s, x, mean))?.0)
}

pub(super) fn variance(Call { operands, y, .. }: Call) -> Result<Counts, Fault> {
    let (x, x_shape) = operands.shaped(0)?;
    let [n, c, s] = channels(x_shape);
    let mean = operands.exact(1)?;
    Ok(put(y, |variance| kernels::batch_variance(n, c, s, x, mean, variance))?.0)
}

/// Mean and variance in one pass.
pub(super) fn moments(operands: &Operands<'_>, results: [&mut Place<'_>; 2]) -> Result<[Counts; 2], Fault> {
    let (x, x_shape) = operands.shaped(0)?;
    let [n, c, s] = channels(x_shape);
    put_both(results, |mean, variance| kernels::batch_moments(n, c, s, x, mean, variance))
}

pub(super) fn grad_scale(op: &BatchNormGradScale, Call { operands, y, .. }: Call) -> Result<Counts, Fault> {
    let g = gradient(op, operands)?;
    Ok(put(y, |dscale| kernels::batch_norm_grad_scale(&g, dscale))?.0)
}

/// The gradients by scale and bias in one pass, and what they overflow.
pub(super) fn grad_sums(
    op: &BatchNormGradScale,
    operands: &Operands<'_>,
    results: [&mut Place<'_>; 2],
) -> Result<[Counts; 2], Fault> {
    let g = gradient(op, operands)?;
    put_both(results, |dscale, dbias| kernels::batch_norm_grad_sums(&g, dscale, dbias))
}

fn gradient<'t>(op: &BatchNormGradScale, operands: &'t Operands<'_>) -> Result<NormGradient<'t>, Fault> {
    let (dy, dy_shape) = operands.shaped(0)?;
    let (x, mean, var) = (operands.numbers(1)?, operands.exact(2)?, operands.exact(3)?);
    Ok(NormGradient { shape: channels(dy_shape), dy, x, mean, var, epsilon: op.epsilon.0 as f32 })
}
