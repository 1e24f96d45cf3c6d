//! Rounding behind a kernel.

use bitbudget_formats::{Counts, Format, Overflow, Rounder};
use rayon::prelude::*;

/// Elements per task: a fraction of the second-level cache.
const CHUNK: usize = 1 << 15;

/// Rounds a result in place and counts what does not fit the format.
pub(crate) fn round(format: Format, overflow: Overflow, out: &mut [f32]) -> Counts {
    let rounder = Rounder::new(format, overflow);
    if out.len() <= CHUNK {
        return rounder.round_slice(out);
    }
    out.par_chunks_mut(CHUNK).map(|chunk| rounder.round_slice(chunk)).sum()
}
