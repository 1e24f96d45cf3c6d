//! What the machine reaches at best.

use crate::error::ExecError;
use bitbudget_formats::{Format, Overflow, pack_u8};
use bitbudget_kernels::{Elements, Output, matmul};
use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// Measured rates, with a number of threads.
#[derive(Clone, Copy, Debug)]
pub struct Ceilings {
    /// Floating-point operations per second of a large matrix product in FP32.
    pub flops_fp32: f64,
    /// The same on numbers of 8 bits, which processors with BF16 dot products multiply faster.
    pub flops_fp8: f64,
    /// Bytes read and written per second of a plain copy of a large array.
    pub bytes_per_second: f64,
}

/// Rows, columns and depth of the matrix product.
const SIZE: usize = 1536;
/// Elements of the copied array: 128 MiB, several times the last-level cache.
const ELEMENTS: usize = 32 << 20;
/// Each rate is the best of so many attempts.
const ATTEMPTS: usize = 3;

/// Measures the machine's rates with `threads` CPU threads, 0 for one per core.
///
/// # Errors
/// If the threads cannot be had.
pub fn ceilings(threads: usize) -> Result<Ceilings, ExecError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|e| ExecError::new("threads", e))?;
    pool.install(|| {
        let numbers: Vec<f32> = (0..SIZE * SIZE).map(|i| (i % 13) as f32 / 8.0 - 0.75).collect();
        let format = Format::PAPER_LOW_FORWARD;
        let mut codes = vec![0; numbers.len()];
        pack_u8(format, Overflow::Saturate, &numbers, &mut codes).map_err(|e| ExecError::new("ceilings", e))?;
        let packed = Elements::u8(format, &codes).map_err(|e| ExecError::new("ceilings", e))?;
        Ok(Ceilings {
            flops_fp32: product(numbers.as_slice().into())?,
            flops_fp8: product(packed)?,
            bytes_per_second: copy(),
        })
    })
}

/// Operations per second of the product of a square matrix with itself.
fn product(x: Elements<'_>) -> Result<f64, ExecError> {
    let mut y = vec![0.0; SIZE * SIZE];
    let mut best = f64::INFINITY;
    for _ in 0..ATTEMPTS {
        let start = Instant::now();
        let mut out: Output<'_> = y.as_mut_slice().into();
        let done = matmul(false, false, SIZE, SIZE, SIZE, x, x, None, &mut out);
        done.map_err(|e| ExecError::new("ceilings", e))?;
        best = best.min(start.elapsed().as_secs_f64());
        black_box(&y);
    }
    Ok(2.0 * (SIZE * SIZE * SIZE) as f64 / best)
}

/// Bytes per second of a copy.
fn copy() -> f64 {
    let x = vec![1.0f32; ELEMENTS];
    let mut y = vec![0.0f32; ELEMENTS];
    let piece = 1 << 18;
    let mut best = f64::INFINITY;
    for _ in 0..=ATTEMPTS {
        let start = Instant::now();
        y.par_chunks_mut(piece).zip(x.par_chunks(piece)).for_each(|(y, x)| y.copy_from_slice(x));
        best = best.min(start.elapsed().as_secs_f64());
        black_box(&y);
    }
    (2 * ELEMENTS * size_of::<f32>()) as f64 / best
}
