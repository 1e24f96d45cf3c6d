//! The CPU's kernels behind dense operations, whose results are new storage.

use super::operands::{Operand, Operands};
use super::{kernel, operand};
use crate::error::Fault;
use bitbudget_ir::Op;
use candle_core::{CpuStorage, Layout};

/// Computes `op` into storage of its own.
pub(crate) fn compute_new(op: &Op, operands: &[(&CpuStorage, &Layout)], shape: &[usize]) -> Result<CpuStorage, Fault> {
    let operands: Result<Vec<Operand<'_>>, Fault> =
        operands.iter().map(|(storage, layout)| operand(storage, layout, layout.dims())).collect();
    let (operands, elements) = (Operands(operands?), shape.iter().product());
    if matches!(op, Op::MaxPoolIndices(_)) {
        let mut y = vec![0; elements];
        kernel::compute_indices(op, &operands, &mut y, shape)?;
        return Ok(CpuStorage::U8(y));
    }
    let mut y = vec![0.0; elements];
    kernel::compute(op, &operands, &mut y, shape)?;
    Ok(CpuStorage::F32(y))
}

/// The numbers of a contiguous tensor.
pub(crate) fn numbers<'t>(storage: &'t CpuStorage, layout: &Layout) -> Result<&'t [f32], Fault> {
    match operand(storage, layout, &[])? {
        Operand::F32(x, _) => Ok(x),
        _ => Err(Fault::Operands("the operand must hold numbers".into())),
    }
}
