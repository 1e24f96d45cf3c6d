//! Rounding to a format, with counts.

use crate::cpu;
use crate::error::Fault;
use bitbudget_formats::{Counts, Format, Overflow};
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use std::cell::Cell;
#[cfg(feature = "cuda")]
use {crate::device_kernels, candle_core::CudaStorage};

struct Round {
    format: Format,
    overflow: Overflow,
    counts: Cell<Counts>,
}

/// `x` rounded to `format`, with what does not fit it.
pub(super) fn round(x: &Tensor, format: Format, overflow: Overflow) -> Result<(Tensor, Counts), Fault> {
    let op = Round { format, overflow, counts: Cell::default() };
    Ok((x.apply_op1_no_bwd(&op)?, op.counts.get()))
}

impl CustomOp1 for Round {
    fn name(&self) -> &'static str {
        "round"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let mut y = cpu::numbers(x, layout)?.to_vec();
        self.counts.set(cpu::round(self.format, self.overflow, &mut y));
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        let rounding = device_kernels::Rounding::new(self.format, self.overflow);
        let (y, counts) = device_kernels::round(&rounding, (x, layout))?;
        self.counts.set(counts);
        Ok((y, layout.shape().clone()))
    }
}
