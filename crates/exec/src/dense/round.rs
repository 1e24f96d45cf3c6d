//! Rounding to a format, with counts.

use crate::cpu;
use crate::error::Fault;
use bitbudget_formats::{Counts, Format, Overflow, round_slice};
use bitbudget_program::Rounding;
use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape, Tensor};
use std::cell::RefCell;
#[cfg(feature = "cuda")]
use {
    crate::device_kernels,
    candle_core::{CudaStorage, Storage, op::BackpropOp},
};

/// Counts of numbers that do not fit a format (overflow, underflow, not finite). They stay on the device until the step ends.
pub(crate) type Counted = Tensor;

struct Round {
    format: Format,
    overflow: Overflow,
    counted: bool,
    counts: RefCell<Option<Counted>>,
}

/// `x` rounded to `format`, with what does not fit it where that is counted.
pub(super) fn round(x: &Tensor, format: Format, rounding: &Rounding) -> Result<(Tensor, Option<Counted>), Fault> {
    let (overflow, counted) = (rounding.overflow, rounding.counted.is_some());
    let op = Round { format, overflow, counted, counts: RefCell::default() };
    Ok((x.apply_op1_no_bwd(&op)?, op.counts.into_inner()))
}

/// The counts of several roundings; a device is waited for once.
pub(super) fn counts(counted: &[Counted]) -> Result<Vec<Counts>, Fault> {
    if counted.is_empty() {
        return Ok(Vec::new());
    }
    let numbers: Vec<i64> = Tensor::cat(counted, 0)?.to_vec1()?;
    let (counts, _) = numbers.as_chunks::<3>();
    let counts = counts.iter().map(|counts| counts.map(i64::cast_unsigned));
    Ok(counts.map(|[overflow, underflow, not_finite]| Counts { overflow, underflow, not_finite }).collect())
}

impl CustomOp1 for Round {
    fn name(&self) -> &'static str {
        "round"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let mut y = cpu::numbers(x, layout)?.to_vec();
        let Counts { overflow, underflow, not_finite } = round_slice(self.format, self.overflow, &mut y);
        if self.counted {
            let counts = [overflow, underflow, not_finite].map(u64::cast_signed);
            *self.counts.borrow_mut() = Some(Tensor::new(&counts, &Device::Cpu)?);
        }
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        let rounding = device_kernels::Rounding::new(self.format, self.overflow);
        let (y, counts) = device_kernels::round(&rounding, (x, layout))?;
        if self.counted {
            let counts = Tensor::from_storage(Storage::Cuda(counts), 3, BackpropOp::none(), false);
            *self.counts.borrow_mut() = Some(counts);
        }
        Ok((y, layout.shape().clone()))
    }
}
