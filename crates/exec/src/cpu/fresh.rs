//! The CPU's kernels behind dense operations, whose results are new storage.

use super::kernel::BoundKernel;
use super::operands::{Operand, Operands, Place};
use crate::error::Fault;
use bitbudget_formats::Format;
use bitbudget_ir::Op;
use bitbudget_select::{self as select, Cpu, Member, Target};
use candle_core::{CpuStorage, Layout};

/// Computes `op` into storage of its own.
pub(crate) fn compute_new(op: &Op, operands: &[(&CpuStorage, &Layout)], shape: &[usize]) -> Result<CpuStorage, Fault> {
    let stored: Vec<(&[usize], Format)> = operands.iter().map(|(_, layout)| (layout.dims(), Format::FP32)).collect();
    let kernel = BoundKernel::new(op, &stored, shape)?;
    let of_shapes = stored.iter().map(|(shape, _)| select::Operand::fp32(shape)).collect();
    let member = Member::fp32(op, of_shapes, shape);
    let mut beside = vec![0.0; Cpu.needs(&member).workspace / size_of::<f32>()];
    let operands: Result<Vec<_>, Fault> =
        operands.iter().map(|(storage, layout)| Ok((operand(storage, layout)?, layout.dims()))).collect();
    let (operands, elements) = (Operands(operands?), shape.iter().product());
    if matches!(op, Op::MaxPoolIndices(_)) {
        let mut y = vec![0; elements];
        kernel.compute(op, &operands, &mut Place::Indices(&mut y), shape, &mut [])?;
        return Ok(CpuStorage::U8(y));
    }
    let mut y = vec![0.0; elements];
    kernel.compute(op, &operands, &mut Place::Numbers(y.as_mut_slice().into()), shape, &mut beside)?;
    Ok(CpuStorage::F32(y))
}

fn operand<'t>(storage: &'t CpuStorage, layout: &Layout) -> Result<Operand<'t>, Fault> {
    let Some((begin, end)) = layout.contiguous_offsets() else {
        return Err(Fault::Operands("an operand is not contiguous".into()));
    };
    match storage {
        CpuStorage::F32(x) => Ok(Operand::Numbers((&x[begin..end]).into())),
        CpuStorage::U8(x) => Ok(Operand::Indices(&x[begin..end])),
        _ => Err(Fault::Operands("operands are FP32 numbers or indices".into())),
    }
}

/// The numbers of a contiguous tensor.
pub(crate) fn numbers<'t>(storage: &'t CpuStorage, layout: &Layout) -> Result<&'t [f32], Fault> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(x), Some((begin, end))) => Ok(&x[begin..end]),
        _ => Err(Fault::Operands("the operand must hold numbers".into())),
    }
}
