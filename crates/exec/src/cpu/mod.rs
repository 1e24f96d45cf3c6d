//! Instructions on the CPU: slices out of candle tensors, kernels over them, rounding behind.

#[cfg(any(feature = "cuda", test))]
mod fresh;
mod kernel;
mod operands;
mod round;

use crate::error::Fault;
use bitbudget_formats::{Counts, Format};
use bitbudget_ir::Op;
use bitbudget_program::Rounding;
use candle_core::{CpuStorage, InplaceOp1, Layout, Storage, Tensor};
use operands::{Operand, Operands};
use std::cell::Cell;

#[cfg(any(feature = "cuda", test))]
pub(crate) use fresh::{compute_new, numbers};
#[cfg(any(feature = "cuda", test))]
pub(crate) use round::round;

/// Computes `op` on `inputs` into `output`, all contiguous and in CPU memory, and rounds the result.
pub(crate) fn compute(
    op: &Op,
    inputs: &[&Tensor],
    output: &Tensor,
    format: Format,
    rounding: Option<&Rounding>,
) -> Result<Counts, Fault> {
    let guards: Vec<_> = inputs.iter().map(|t| (t.storage_and_layout(), t.dims())).collect();
    let operands: Result<Vec<Operand<'_>>, Fault> = guards
        .iter()
        .map(|((storage, layout), shape)| match &**storage {
            Storage::Cpu(storage) => operand(storage, layout, shape),
            _ => Err(Fault::Operands("an operand is not in CPU memory".into())),
        })
        .collect();
    let operands = Operands(operands?);
    let counts = Cell::new(Counts::default());
    let write = |storage: &mut CpuStorage| match storage {
        CpuStorage::F32(out) => {
            kernel::compute(op, &operands, out, output.dims())?;
            if let Some(rounding) = rounding {
                counts.set(round::round(format, rounding.overflow, out));
            }
            Ok(())
        }
        CpuStorage::U8(out) => kernel::compute_indices(op, &operands, out, output.dims()),
        _ => Err(Fault::Operands("results are FP32 numbers or indices".into())),
    };
    output.inplace_op1(&Write(&write))?;
    Ok(counts.get())
}

fn operand<'t>(storage: &'t CpuStorage, layout: &Layout, shape: &'t [usize]) -> Result<Operand<'t>, Fault> {
    let Some((begin, end)) = layout.contiguous_offsets() else {
        return Err(Fault::Operands("an operand is not contiguous".into()));
    };
    match storage {
        CpuStorage::F32(x) => Ok(Operand::F32(&x[begin..end], shape)),
        CpuStorage::U8(x) => Ok(Operand::U8(&x[begin..end])),
        CpuStorage::U32(x) => Ok(Operand::U32(&x[begin..end])),
        _ => Err(Fault::Operands("operands are FP32 numbers, labels or indices".into())),
    }
}

/// A candle operation that overwrites a tensor's storage.
struct Write<'f>(&'f dyn Fn(&mut CpuStorage) -> Result<(), Fault>);

impl InplaceOp1 for Write<'_> {
    fn name(&self) -> &'static str {
        "bitbudget"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _: &Layout) -> candle_core::Result<()> {
        (self.0)(storage).map_err(candle_core::Error::from)
    }
}
