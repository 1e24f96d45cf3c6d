//! Rounding to a format, with counts.

use crate::cpu;
use crate::error::Fault;
use bitbudget_formats::{Counts, Format, Overflow, round_slice};
use bitbudget_program::Rounding;
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use std::cell::Cell;
#[cfg(feature = "cuda")]
use {crate::device_kernels, candle_core::CudaStorage};

struct Round {
    format: Format,
    overflow: Overflow,
    counted: bool,
    counts: Cell<Counts>,
}

/// `x` rounded to `format`, with what does not fit it where that is counted: a device is waited for to know it.
pub(super) fn round(x: &Tensor, format: Format, rounding: &Rounding) -> Result<(Tensor, Counts), Fault> {
    let (overflow, counted) = (rounding.overflow, rounding.counted.is_some());
    let op = Round { format, overflow, counted, counts: Cell::default() };
    Ok((x.apply_op1_no_bwd(&op)?, op.counts.get()))
}

impl CustomOp1 for Round {
    fn name(&self) -> &'static str {
        "round"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let mut y = cpu::numbers(x, layout)?.to_vec();
        let counts = round_slice(self.format, self.overflow, &mut y);
        if self.counted {
            self.counts.set(counts);
        }
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        let rounding = device_kernels::Rounding::new(self.format, self.overflow);
        let (y, counts) = device_kernels::round(&rounding, (x, layout), self.counted)?;
        self.counts.set(counts);
        Ok((y, layout.shape().clone()))
    }
}
