//! Functions of whole rows: normalisation, softmax, losses and their gradients.

use super::call::{Call, put};
use crate::cpu::operands::Operands;
use crate::error::Fault;
use bitbudget_formats::Counts;
use bitbudget_ir::{Real, ops};
use bitbudget_kernels::{self as kernels, Elements, Output, ShapeError};
use bitbudget_select::geometry;

pub(super) fn layer_norm(op: &ops::LayerNormalization, Call { operands, y, shape, .. }: Call) -> Result<Counts, Fault> {
    let (x, scale, bias) = (operands.numbers(0)?, operands.numbers(1)?, operands.optional(2)?);
    let epsilon = op.epsilon.0 as f32;
    Ok(kernels::layer_norm(geometry::rows_from(shape, op.axis), epsilon, x, scale, bias, y)?)
}

pub(super) fn layer_norm_grad_input(
    op: &ops::LayerNormGradInput,
    Call { operands, y, shape, .. }: Call,
) -> Result<Counts, Fault> {
    let (dy, x, scale) = (operands.numbers(0)?, operands.numbers(1)?, operands.numbers(2)?);
    let epsilon = op.epsilon.0 as f32;
    Ok(kernels::layer_norm_grad_input(geometry::rows_from(shape, op.axis), epsilon, dy, x, scale, y)?)
}

pub(super) fn layer_norm_grad_scale(
    op: &ops::LayerNormGradScale,
    Call { operands, y, workspace, .. }: Call,
) -> Result<Counts, Fault> {
    let ((dy, shape), x) = (operands.shaped(0)?, operands.numbers(1)?);
    let (rows, epsilon) = (geometry::rows_from(shape, op.axis), op.epsilon.0 as f32);
    Ok(put(y, |dscale| kernels::layer_norm_grad_scale(rows, epsilon, dy, x, dscale, workspace))?.0)
}

/// A kernel over `rows` rows of `columns` elements.
pub(super) type Rows = fn(usize, usize, Elements<'_>, &mut Output<'_>) -> Result<Counts, ShapeError>;
/// The same of two operands.
pub(super) type Rows2 = fn(usize, usize, Elements<'_>, Elements<'_>, &mut Output<'_>) -> Result<Counts, ShapeError>;

pub(super) fn rows(kernel: Rows, Call { operands, y, shape, .. }: Call) -> Result<Counts, Fault> {
    let (rows, columns) = geometry::rows(shape);
    Ok(kernel(rows, columns, operands.numbers(0)?, y)?)
}

pub(super) fn rows2(kernel: Rows2, Call { operands, y, shape, .. }: Call) -> Result<Counts, Fault> {
    let (rows, columns) = geometry::rows(shape);
    Ok(kernel(rows, columns, operands.numbers(0)?, operands.numbers(1)?, y)?)
}

/// The labels, which are the second operand, and the weights of the classes behind them, where there are any.
fn targets<'t>(operands: &Operands<'t>, smoothing: Real) -> Result<kernels::Targets<'t>, Fault> {
    let weights = operands.optional(2)?.map(|_| operands.exact(2)).transpose()?;
    Ok(kernels::Targets { labels: operands.exact(1)?, smoothing: smoothing.0, weights })
}

pub(super) fn nll_loss(op: &ops::NllLoss, Call { operands, y, .. }: Call) -> Result<Counts, Fault> {
    let (scores, scores_shape) = operands.shaped(0)?;
    let (rows, columns) = geometry::rows(scores_shape);
    let loss = kernels::nll_loss(rows, columns, scores, targets(operands, op.smoothing)?)?;
    Ok(y.put(&[loss])?)
}

pub(super) fn nll_loss_grad(op: &ops::NllLossGrad, Call { operands, y, shape, .. }: Call) -> Result<Counts, Fault> {
    let (rows, columns) = geometry::rows(shape);
    Ok(kernels::nll_loss_grad(rows, columns, targets(operands, op.smoothing)?, operands.scalar(0)?, y)?)
}
