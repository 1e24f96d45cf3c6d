//! Functions of whole rows: softmax, losses and their gradients.

use super::call::Call;
use crate::cpu::geometry;
use crate::error::Fault;
use bitbudget_formats::Counts;
use bitbudget_kernels::{self as kernels, Elements, Output, ShapeError};

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

pub(super) fn nll_loss(Call { operands, y, .. }: Call) -> Result<Counts, Fault> {
    let (scores, scores_shape) = operands.shaped(0)?;
    let (rows, columns) = geometry::rows(scores_shape);
    let loss = kernels::nll_loss(rows, columns, scores, operands.labels(1)?)?;
    Ok(y.put(&[loss])?)
}

pub(super) fn nll_loss_grad(Call { operands, y, shape, .. }: Call) -> Result<Counts, Fault> {
    let (rows, columns) = geometry::rows(shape);
    Ok(kernels::nll_loss_grad(rows, columns, operands.labels(1)?, operands.scalar(0)?, y)?)
}
