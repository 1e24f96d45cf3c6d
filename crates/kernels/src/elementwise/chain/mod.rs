//! Chains of elementwise functions over `[n, c, s]`, in one pass over memory.
//!
//! A chain runs tile by tile: the operands of a tile are unpacked into scratch memory that stays in the cache, every
//! part computes there, is rounded and, where it has an output, stored. Scratch memory is about
//! 16 KiB a thread: one tile for each packed operand of the part at hand and for each result that is packed or that a
//! later part still reads. Frequent chains over 8-bit codes need none: they run in registers.

mod apply;
mod evaluate;
#[cfg(target_arch = "x86_64")]
mod fused;
mod lookup;
mod mask;
mod operands;
mod part;
mod plan;
mod read;
#[cfg(target_arch = "x86_64")]
mod registers;
mod residual;
mod run;

use bitbudget_formats::Counts;

use crate::elementwise::function::PassesOn;
use crate::error::ShapeError;
use crate::tensors::elements::{Output, SharedOutput};
use lookup::look_up;
use mask::Masked;
pub use part::{Operand, Part};
use plan::{Plan, check_parts};
pub(crate) use read::Reader;
pub(crate) use run::round;
use run::run_plan;

/// Runs a chain of elementwise functions over `[n, c, s]`; gives what each part's result overflowed, before rounding.
///
/// The bits are those of running the parts one after the other with every rounded result packed in its format: where the
/// format has no code for infinity, later parts read NaN. A result that goes to FP32 numbers stays as it was rounded.
///
/// # Errors
/// If a part has a wrong number or kind of operands, reads a part that is not earlier or an output that does not exist,
/// if a size is wrong, or if not every output has one part that rounds as it does. Nothing has been written then.
pub fn chain(shape: [usize; 3], parts: &[Part<'_>], outputs: &mut [Output<'_>]) -> Result<Vec<Counts>, ShapeError> {
    if outputs.is_empty() && parts.iter().all(counts_nothing) {
        check_parts(shape, parts, outputs)?;
        return Ok(vec![Counts::default(); parts.len()]);
    }
    // Where the first parts round nothing, there is nothing to count in them.
    let masked = Masked::new(parts).filter(|_| parts.iter().take(1).all(|part| part.rounding.is_none()));
    let Some((at, shorter)) = masked.and_then(|masked| Some((masked.at, masked.shorter(parts)?))) else {
        return run_parts(shape, parts, outputs);
    };
    check_parts(shape, parts, outputs)?;
    let mut counts = vec![Counts::default(); at];
    counts.extend(run_parts(shape, &shorter, outputs)?);
    Ok(counts)
}

/// Whether rounding a part's result leaves it as it is, and finite, since it passes on what it reads.
fn counts_nothing(part: &Part<'_>) -> bool {
    let Some((format, _)) = part.rounding else { return true };
    part.function.passes_on() == PassesOn::All
        && part.operands.iter().all(|o| matches!(o, Operand::Elements(x) if x.stays_in(format) && x.is_finite()))
}

fn run_parts(shape: [usize; 3], parts: &[Part<'_>], outputs: &mut [Output<'_>]) -> Result<Vec<Counts>, ShapeError> {
    let plan = Plan::new(shape, parts, outputs)?;
    let places: Vec<SharedOutput> = outputs.iter_mut().map(Output::shared).collect();
    Ok(match look_up(shape, parts, &places)? {
        Some(counts) => counts,
        None => run_plan(&plan, parts, &places),
    })
}
