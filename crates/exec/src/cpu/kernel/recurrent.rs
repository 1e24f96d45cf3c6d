//! Recurrent layers.

use super::call::Call;
use crate::cpu::operands::Operands;
use crate::error::Fault;
use bitbudget_formats::Counts;
use bitbudget_ir::ops::{self, RecurrentGradient};
use bitbudget_kernels::{self as kernels, RecurrentOperands};
use bitbudget_select::geometry;

/// The operands of a layer, which stand behind `skipped` others.
fn operands_of<'t>(
    op: &ops::Recurrent,
    operands: &Operands<'t>,
    skipped: usize,
) -> Result<(kernels::Recurrent, RecurrentOperands<'t>), Fault> {
    let at = op.operands();
    let given = |position: Option<usize>| position.map(|i| operands.numbers(skipped + i)).transpose();
    let ((x, x_shape), (r, r_shape)) = (operands.shaped(skipped)?, operands.shaped(skipped + 2)?);
    let given = RecurrentOperands {
        x,
        w: operands.numbers(skipped + 1)?,
        r,
        bias: given(at.bias)?,
        lengths: at.lengths.map(|i| operands.exact(skipped + i)).transpose()?,
        hidden: given(at.hidden)?,
        cell: given(at.cell)?,
        peepholes: given(at.peepholes)?,
    };
    Ok((geometry::recurrent(op, x_shape, r_shape)?, given))
}

pub(super) fn recurrent(op: &ops::Recurrent, Call { operands, y, workspace, .. }: Call) -> Result<Counts, Fault> {
    let (sizes, given) = operands_of(op, operands, 0)?;
    Ok(kernels::recurrent(&sizes, &given, y, workspace)?)
}

pub(super) fn recurrent_grad(
    op: &ops::RecurrentGrad,
    Call { operands, y, workspace, .. }: Call,
) -> Result<Counts, Fault> {
    let (sizes, given) = operands_of(&op.forward(), operands, 2)?;
    let by = match op.by {
        RecurrentGradient::Gates => kernels::RecurrentGradient::Gates,
        RecurrentGradient::Hidden => kernels::RecurrentGradient::Hidden,
        RecurrentGradient::Cell => kernels::RecurrentGradient::Cell,
    };
    let states = [operands.numbers(0)?, operands.numbers(1)?];
    Ok(kernels::recurrent_grad(&sizes, by, states, &given, y, workspace)?)
}
