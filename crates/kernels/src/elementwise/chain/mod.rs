//! Chains of elementwise functions over `[n, c, s]`, in one pass over memory.
//!
//! A chain runs tile by tile: the operands of a tile are unpacked into scratch memory that stays in the cache, every
//! part computes there, is rounded and, where it has an output, stored. Scratch memory is about
//! 16 KiB a thread: one tile for each packed operand of the part at hand and for each result that is packed or that a
//! later part still reads. Frequent chains over 8-bit codes need none: they run in registers.

mod apply;
mod check;
mod evaluate;
#[cfg(target_arch = "x86_64")]
mod fused;
#[cfg(not(target_arch = "x86_64"))]
#[path = "no_fused.rs"]
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
mod tables;

use std::fmt;

use bitbudget_formats::Counts;

use crate::elementwise::function::PassesOn;
use crate::error::ShapeError;
use crate::tensors::elements::{Output, ResultStorage, SharedOutput, Storage};
use check::{Planned, check_parts};
use fused::{Fused, Storages};
use lookup::Lookup;
use mask::Masked;
pub(crate) use part::planned;
pub use part::{ChainData, ChainOperand, ChainPart, Operand, Part, PlannedOperand, PlannedPart};
use plan::Plan;
pub(crate) use read::{ReadPlan, Reader};
pub(crate) use run::round;
use run::run_plan;

/// A chain of elementwise functions over `[n, c, s]` that can run any number of times: everything that shapes and formats
/// decide. A run adds tensors and numbers.
pub struct ChainPlan {
    planned: Planned,
    /// The tensors that have to be finite for every part to leave its numbers as they are, where nothing is stored.
    idle: Option<Vec<usize>>,
    /// The first parts, whose results are not computed, since one that is read in their place does without.
    left_out: usize,
    plan: Plan,
    lookup: Option<Lookup>,
    fused: Option<Fused>,
}

impl fmt::Debug for ChainPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainPlan").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl ChainPlan {
    /// Plans a chain that reads tensors that are stored so, and as many numbers as `scalars` says, and writes `outputs`.
    ///
    /// # Errors
    /// If a part has a wrong number or kind of operands, reads a part that is not earlier or something that does not exist, or
    /// if not every output has one part that rounds as it does.
    pub fn new(
        shape: [usize; 3],
        parts: &[PlannedPart],
        tensors: &[Storage],
        scalars: usize,
        outputs: &[ResultStorage],
    ) -> Result<ChainPlan, ShapeError> {
        check_parts(parts, tensors, scalars, outputs)?;
        let planned = Planned::new(shape, parts, tensors, scalars, outputs);
        let idle = parts.iter().map(|part| counts_nothing(part, tensors)).collect::<Option<Vec<_>>>();
        let idle = idle.filter(|_| outputs.is_empty()).map(|tensors| tensors.concat());
        // Where the first parts round nothing, there is nothing to count in them.
        let masked = Masked::new(parts).filter(|_| parts.iter().take(1).all(|part| part.rounding.is_none()));
        let shorter = masked.and_then(|masked| Some((masked.at, masked.shorter(parts)?)));
        let (left_out, parts) = shorter.as_ref().map_or((0, parts), |(at, shorter)| (*at, shorter));
        let plan = Plan::new(shape, parts, tensors, outputs);
        let storages = Storages { tensors, outputs };
        let (lookup, fused) = (Lookup::new(shape, parts, storages), Fused::new(&plan.tiles, parts, storages));
        Ok(ChainPlan { planned, idle, left_out, plan, lookup, fused })
    }

    /// Runs the chain; gives what each part's result overflowed, before rounding.
    ///
    /// The bits are those of running the parts one after the other with every rounded result packed in its format: where the
    /// format has no code for infinity, later parts read NaN. A result that goes to FP32 numbers stays as it was rounded.
    ///
    /// # Errors
    /// If a size is wrong, or a tensor is not stored as planned. Nothing has been written then.
    pub fn run(&self, data: ChainData<'_>, outputs: &mut [Output<'_>]) -> Result<Vec<Counts>, ShapeError> {
        self.planned.check(&data, outputs)?;
        let mut counts = vec![Counts::default(); self.left_out];
        if self.idle.as_ref().is_some_and(|idle| idle.iter().all(|&x| data.tensors[x].is_finite())) {
            counts.resize(self.left_out + self.plan.steps.len(), Counts::default());
            return Ok(counts);
        }
        let values = self.plan.bind(data);
        let places: Vec<SharedOutput> = outputs.iter_mut().map(Output::shared).collect();
        let looked_up = self.lookup.as_ref().and_then(|lookup| lookup.run(&values, &places));
        counts.extend(looked_up.unwrap_or_else(|| run_plan(&self.plan, self.fused.as_ref(), &values, &places)));
        Ok(counts)
    }
}

/// Runs a chain of elementwise functions over `[n, c, s]` that is planned for once.
///
/// # Errors
/// As of [`ChainPlan::new`] and [`ChainPlan::run`]. Nothing has been written then.
pub fn chain(shape: [usize; 3], parts: &[Part<'_>], outputs: &mut [Output<'_>]) -> Result<Vec<Counts>, ShapeError> {
    let (parts, data) = planned(parts);
    let tensors: Vec<Storage> = data.tensors.iter().map(|x| x.storage()).collect();
    let stored: Vec<ResultStorage> = outputs.iter().map(|y| y.storage()).collect();
    ChainPlan::new(shape, &parts, &tensors, data.scalars.len(), &stored)?.run(data, outputs)
}

/// The tensors that have to be finite for rounding a part's result to leave it as it is, and finite, since it passes on what
/// it reads; none if it does not.
fn counts_nothing(part: &PlannedPart, tensors: &[Storage]) -> Option<Vec<usize>> {
    let Some((format, _)) = part.rounding else { return Some(Vec::new()) };
    if part.function.passes_on() != PassesOn::All {
        return None;
    }
    let operands = part.operands.iter().map(|operand| match *operand {
        ChainOperand::Elements(x) => Some(x).filter(|x| tensors[*x].stays_in(format)),
        _ => None,
    });
    operands.collect()
}
