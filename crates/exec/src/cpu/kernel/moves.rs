//! Operators that move or repeat elements, and elementwise ones whose operands are broadcast on the way.

use super::call::Call;
use crate::error::Fault;
use bitbudget_formats::Counts;
use bitbudget_ir::ops;
use bitbudget_kernels::{self as kernels, Binary, Elements};

fn steps(step: &[i64]) -> Vec<isize> {
    step.iter().map(|&s| s as isize).collect()
}

pub(super) fn transpose(op: &ops::Transpose, Call { operands, y, .. }: Call) -> Result<Counts, Fault> {
    let (x, x_shape) = operands.shaped(0)?;
    Ok(kernels::transpose(x, x_shape, &op.perm, y)?)
}

pub(super) fn slice(op: &ops::Slice, Call { operands, y, shape, .. }: Call) -> Result<Counts, Fault> {
    let (x, x_shape) = operands.shaped(0)?;
    Ok(kernels::slice(x, x_shape, &op.begin, &steps(&op.step), shape, y)?)
}

pub(super) fn slice_scatter(op: &ops::SliceScatter, Call { operands, y, shape, .. }: Call) -> Result<Counts, Fault> {
    let (dy, dy_shape) = operands.shaped(0)?;
    Ok(kernels::slice_scatter(dy, dy_shape, &op.begin, &steps(&op.step), shape, y)?)
}

pub(super) fn concat(op: &ops::Concat, Call { operands, y, shape, .. }: Call) -> Result<Counts, Fault> {
    let size = |s: &[usize]| s.get(op.axis).copied().unwrap_or(0);
    let parts: Vec<(Elements<'_>, usize)> = operands.all()?.into_iter().map(|(x, s)| (x, size(s))).collect();
    let (outer, inner) = (shape[..op.axis].iter().product(), shape[op.axis + 1..].iter().product());
    Ok(kernels::concat(&parts, outer, inner, y)?)
}

pub(super) fn broadcast(Call { operands, y, shape, .. }: Call) -> Result<Counts, Fault> {
    let (x, x_shape) = operands.shaped(0)?;
    Ok(kernels::broadcast(x, x_shape, shape, y)?)
}

pub(super) fn binary(kind: Binary, Call { operands, y, shape, .. }: Call) -> Result<Counts, Fault> {
    let ((a, a_shape), (b, b_shape)) = (operands.shaped(0)?, operands.shaped(1)?);
    Ok(kernels::binary_broadcast(kind, a, a_shape, b, b_shape, y, shape)?)
}
