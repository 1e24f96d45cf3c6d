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
mod plan;
mod read;
#[cfg(target_arch = "x86_64")]
mod registers;
mod residual;
mod tile;

use bitbudget_formats::{Counts, Format, Overflow, round_slice};
use rayon::prelude::*;

use crate::elements::{Elements, Output, SharedOutput};
use crate::error::ShapeError;
use crate::function::{Function, PassesOn};
use crate::parallel::with_scratch;
use crate::simd::multiversion;
use apply::{Operands, apply};
#[cfg(target_arch = "x86_64")]
use fused::Fused;
use mask::Masked;
use plan::{Load, Plan, Step, Target, check_parts};
pub(crate) use read::Reader;
pub(crate) use tile::{TILES, Tile, Tiles, repeat_rows};

/// One function of a chain.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    /// What it computes.
    pub function: Function<'a>,
    /// On what, in the order that [`Function`] states.
    pub operands: Vec<Operand<'a>>,
    /// How its result is rounded before anything reads it.
    pub rounding: Option<(Format, Overflow)>,
    /// The output that stores its result, which is rounded in the same way.
    pub output: Option<usize>,
}

/// What a part reads.
#[derive(Clone, Copy, Debug)]
pub enum Operand<'a> {
    /// A tensor of the chain's shape.
    Elements(Elements<'a>),
    /// `[c]`: one number for each channel.
    Channel(Elements<'a>),
    /// One number for all elements.
    Scalar(f32),
    /// The rounded result of an earlier part.
    Part(usize),
    /// What an output held before the chain ran, for updates in place.
    Output(usize),
}

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
    if let Some(counts) = lookup::look_up(shape, parts, &places)? {
        return Ok(counts);
    }
    #[cfg(target_arch = "x86_64")]
    let fused = Fused::new(&plan.tiles, parts, &places);
    #[cfg(not(target_arch = "x86_64"))]
    let fused = None;
    let none = || vec![Counts::default(); parts.len()];
    let add = |mut total: Vec<Counts>, counts: Vec<Counts>| {
        total.iter_mut().zip(counts).for_each(|(total, counts)| *total += counts);
        total
    };
    Ok(match plan.tiles.tasks() {
        0 => none(),
        1 => run(&plan, fused.as_ref(), &places, 0),
        tasks => {
            let task = |task| run(&plan, fused.as_ref(), &places, task);
            (0..tasks).into_par_iter().with_max_len(1).map(task).reduce(none, add)
        }
    })
}

/// There are none here.
#[cfg(not(target_arch = "x86_64"))]
type Fused<'a> = std::marker::PhantomData<&'a ()>;

/// Runs the tiles of one task.
fn run(plan: &Plan<'_>, fused: Option<&Fused<'_>>, places: &[SharedOutput], task: usize) -> Vec<Counts> {
    let longest = plan.tiles.longest();
    with_scratch(plan.slots * longest, |scratch| {
        let mut slots: Vec<&mut [f32]> = scratch.chunks_mut(longest).collect();
        for &(slot, value) in &plan.constants {
            slots[slot].fill(value);
        }
        let mut counts = vec![Counts::default(); plan.steps.len()];
        for mut tile in plan.tiles.of_task(task) {
            #[cfg(not(target_arch = "x86_64"))]
            let _ = (fused, &mut tile);
            #[cfg(target_arch = "x86_64")]
            if let Some(fused) = fused {
                tile = tile.after(fused.run(&plan.steps, &plan.tiles, places, tile, &mut counts));
            }
            if tile.len == 0 {
                continue;
            }
            for &(output, slot) in &plan.held {
                // SAFETY: tiles are disjoint, and this task has no reference to the output's elements now.
                unsafe { places[output].read(tile.start, &mut slots[slot][..tile.len]) };
            }
            for (step, counts) in plan.steps.iter().zip(&mut counts) {
                *counts += run_step(plan, step, places, &mut slots, tile);
            }
        }
        counts
    })
}

fn run_step(plan: &Plan<'_>, step: &Step<'_>, places: &[SharedOutput], slots: &mut [&mut [f32]], tile: Tile) -> Counts {
    load(plan, step, slots, tile);
    match step.target {
        Target::Numbers(output) => {
            // SAFETY: tiles are disjoint, this part alone writes the output, and what it held before was copied.
            let Some(y) = (unsafe { places[output].numbers(tile.start, tile.len) }) else { return Counts::default() };
            compute(plan, step, places, slots, tile, y);
            step.rounding.map_or(Counts::default(), |(format, overflow)| round_slice(format, overflow, y))
        }
        Target::Codes { slot, output, read_later } => {
            let scratch = std::mem::take(&mut slots[slot]);
            let y = &mut scratch[..tile.len];
            compute(plan, step, places, slots, tile, y);
            // SAFETY: tiles are disjoint, and nothing refers to the codes of an output.
            let counts = unsafe { places[output].write(tile.start, y) };
            if read_later {
                // SAFETY: as above.
                unsafe { places[output].read(tile.start, y) };
            }
            slots[slot] = scratch;
            counts
        }
        Target::Slot { slot, keeps_infinity } => {
            let scratch = std::mem::take(&mut slots[slot]);
            let y = &mut scratch[..tile.len];
            compute(plan, step, places, slots, tile, y);
            let counts = match step.rounding {
                None => Counts::default(),
                Some(_) if step.is_rounded => passed_on(y),
                Some(rounding) => round(rounding, keeps_infinity, y),
            };
            slots[slot] = scratch;
            counts
        }
    }
}

/// Brings what a part reads into its slots.
fn load(plan: &Plan<'_>, step: &Step<'_>, slots: &mut [&mut [f32]], tile: Tile) {
    for (slot, load) in &step.loads {
        let numbers = &mut slots[*slot][..tile.len];
        match load {
            Load::Elements(x) => x.unpack(tile.start, numbers),
            Load::Channel(table) => repeat_rows(tile, plan.tiles.per_row(table, tile), numbers),
        }
    }
}

fn compute(plan: &Plan<'_>, step: &Step<'_>, places: &[SharedOutput], slots: &[&mut [f32]], tile: Tile, y: &mut [f32]) {
    let (sources, scalars, tables) = (&step.sources, &step.scalars, &step.tables);
    apply(step.function, &Operands { sources, scalars, tables, tiles: &plan.tiles, slots, places, tile }, y);
}

multiversion! {
    /// What rounding counts in numbers that it leaves as they are.
    fn passed_on(y: &[f32]) -> Counts {
        let count = y.iter().map(|y| u32::from(!y.is_finite())).sum::<u32>().into();
        Counts { overflow: count, not_finite: count, ..Counts::default() }
    }
}

/// Rounds numbers as if they were packed and unpacked again.
pub(crate) fn round((format, overflow): (Format, Overflow), keeps_infinity: bool, y: &mut [f32]) -> Counts {
    let counts = round_slice(format, overflow, y);
    if counts.overflow > 0 && !keeps_infinity {
        y.iter_mut().filter(|y| y.is_infinite()).for_each(|y| *y = f32::NAN);
    }
    counts
}
