//! The machine's peak rates.

use crate::error::ExecError;
use bitbudget_formats::Format;
use bitbudget_kernels::multiply_adds;
use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// Measured rates of all threads together.
#[derive(Clone, Copy, Debug)]
pub struct Ceilings {
    /// Floating-point operations per second of multiply-adds in FP32, operands in the first-level cache.
    pub flops_fp32: f64,
    /// The same on numbers of 8 bits, which processors with fast BF16 dot products multiply faster.
    pub flops_fp8: f64,
    /// Bytes read and written per second by a plain copy of a large array.
    pub bytes_per_second: f64,
}

/// Blocks of multiply-adds of one attempt.
const ROUNDS: usize = 20_000;
/// Elements of the copied array: 128 MiB, several times the last-level cache.
const ELEMENTS: usize = 32 << 20;
/// Each rate is the best of so many attempts.
const ATTEMPTS: usize = 4;

/// Measures the machine's rates with `threads` CPU threads, 0 for one per core.
///
/// # Errors
/// If the threads cannot be had.
pub fn ceilings(threads: usize) -> Result<Ceilings, ExecError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|e| ExecError::new("threads", e))?;
    let multiply =
        |format: Format| best(|| pool.broadcast(|_| multiply_adds(format, ROUNDS)).into_iter().sum::<u64>() as f64);
    Ok(Ceilings {
        flops_fp32: multiply(Format::FP32),
        flops_fp8: multiply(Format::PAPER_LOW_FORWARD),
        bytes_per_second: pool.install(copy),
    })
}

/// The best rate of what `f` says that it did.
fn best(mut f: impl FnMut() -> f64) -> f64 {
    let rate = |_| {
        let start = Instant::now();
        f() / start.elapsed().as_secs_f64()
    };
    (0..ATTEMPTS).map(rate).fold(0.0, f64::max)
}

/// Bytes per second of a copy.
fn copy() -> f64 {
    let x = vec![1.0f32; ELEMENTS];
    let mut y = vec![0.0f32; ELEMENTS];
    let piece = 1 << 18;
    best(|| {
        y.par_chunks_mut(piece).zip(x.par_chunks(piece)).for_each(|(y, x)| y.copy_from_slice(x));
        black_box(&y);
        (2 * ELEMENTS * size_of::<f32>()) as f64
    })
}
