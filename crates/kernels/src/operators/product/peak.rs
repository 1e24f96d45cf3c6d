//! The best that products can reach: one block over and over, with operands in the first-level cache.

use std::hint::black_box;

use bitbudget_formats::Format;

use super::kernel::{Arithmetic, Block, Kernel, LANES, ROWS, VECTORS};

/// Steps of the block.
const DEPTH: usize = 128;

/// Multiplies and adds numbers of a format `rounds` times as products do, on this thread; returns the number of floating-point
/// operations.
pub fn multiply_adds(format: Format, rounds: usize) -> u64 {
    let arithmetic = Arithmetic::of(format, format);
    let kernel = Kernel::new(arithmetic);
    let a = [0.0f32; DEPTH * ROWS];
    let b = [0.0f32; DEPTH * VECTORS * LANES];
    let mut c = [0.0f32; ROWS * VECTORS * LANES];
    let steps: Vec<[u32; 2]> = (0..DEPTH).map(|k| [(k * ROWS) as u32, (k * VECTORS * LANES) as u32]).collect();
    for _ in 0..rounds {
        let block = Block {
            a: black_box(a.as_ptr()),
            steps: &steps,
            b: std::array::from_fn(|j| b[j * LANES..].as_ptr()),
            c: std::array::from_fn(|j| c[j * LANES..].as_mut_ptr()),
            vectors: VECTORS,
            row: VECTORS * LANES,
            rows: ROWS,
            start: None,
        };
        // SAFETY: the arrays hold `ROWS` and `VECTORS * LANES` elements for each step, and a whole block of results.
        unsafe { kernel.run(&block) };
    }
    black_box(&c);
    (2 * rounds * DEPTH * ROWS * VECTORS * LANES * arithmetic.numbers()) as u64
}
