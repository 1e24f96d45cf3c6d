//! A chain part by part, tile by tile.

use bitbudget_formats::{Counts, Format, Overflow, round_slice};
use rayon::prelude::*;

use super::apply::apply;
use super::fused::{BoundFused, Fused};
use super::operands::Operands;
use super::plan::{Load, Plan, Step, Target, Values};
use crate::tensors::elements::SharedOutput;
use crate::tensors::parallel::with_scratch;
use crate::tensors::tile::{Tile, repeat_rows};
use crate::words::simd::multiversion;

/// Runs a plan; gives what each part's result overflowed.
pub(super) fn run_plan(
    plan: &Plan,
    fused: Option<&Fused>,
    values: &Values<'_>,
    places: &[SharedOutput],
) -> Vec<Counts> {
    let bound = fused.and_then(|fused| fused.bind(values, places));
    let none = || vec![Counts::default(); plan.steps.len()];
    let add = |mut total: Vec<Counts>, counts: Vec<Counts>| {
        total.iter_mut().zip(counts).for_each(|(total, counts)| *total += counts);
        total
    };
    match plan.tiles.tasks() {
        0 => none(),
        1 => run(plan, bound.as_ref(), values, places, 0),
        tasks => {
            let task = |task| run(plan, bound.as_ref(), values, places, task);
            (0..tasks).into_par_iter().with_max_len(1).map(task).reduce(none, add)
        }
    }
}

/// Runs the tiles of one task.
fn run(
    plan: &Plan,
    fused: Option<&BoundFused<'_>>,
    values: &Values<'_>,
    places: &[SharedOutput],
    task: usize,
) -> Vec<Counts> {
    let longest = plan.tiles.longest();
    with_scratch(plan.slots * longest, |scratch| {
        let mut slots: Vec<&mut [f32]> = scratch.chunks_mut(longest).collect();
        for &(slot, number) in &plan.constants {
            slots[slot].fill(values.scalars[number]);
        }
        let mut counts = vec![Counts::default(); plan.steps.len()];
        for mut tile in plan.tiles.of_task(task) {
            if let Some(fused) = fused {
                tile = tile.after(fused.run(plan, values, places, tile, &mut counts));
            }
            if tile.len == 0 {
                continue;
            }
            for &(output, slot) in &plan.held {
                // SAFETY: tiles are disjoint, and this task has no reference to the output's elements now.
                unsafe { places[output].read(tile.start, &mut slots[slot][..tile.len]) };
            }
            for (step, counts) in plan.steps.iter().zip(&mut counts) {
                *counts += run_step(plan, step, values, places, &mut slots, tile);
            }
        }
        counts
    })
}

pub(super) fn run_step(
    plan: &Plan,
    step: &Step,
    values: &Values<'_>,
    places: &[SharedOutput],
    slots: &mut [&mut [f32]],
    tile: Tile,
) -> Counts {
    load(plan, step, values, slots, tile);
    match step.target {
        Target::Numbers(output) => {
            // SAFETY: tiles are disjoint, this part alone writes the output, and what it held before was copied.
            let Some(y) = (unsafe { places[output].numbers(tile.start, tile.len) }) else { return Counts::default() };
            compute(plan, step, values, places, slots, tile, y);
            step.rounding.map_or(Counts::default(), |(format, overflow)| round_slice(format, overflow, y))
        }
        Target::Codes { slot, output, read_later } => {
            let scratch = std::mem::take(&mut slots[slot]);
            let y = &mut scratch[..tile.len];
            compute(plan, step, values, places, slots, tile, y);
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
            compute(plan, step, values, places, slots, tile, y);
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
pub(super) fn load(plan: &Plan, step: &Step, values: &Values<'_>, slots: &mut [&mut [f32]], tile: Tile) {
    for &(slot, load) in &step.loads {
        let numbers = &mut slots[slot][..tile.len];
        match load {
            Load::Elements(x) => values.tensors[x].unpack(tile.start, numbers),
            Load::Channel { table, .. } => {
                repeat_rows(tile, plan.tiles.per_row(values.table(plan, table), tile), numbers);
            }
        }
    }
}

fn compute(
    plan: &Plan,
    step: &Step,
    values: &Values<'_>,
    places: &[SharedOutput],
    slots: &[&mut [f32]],
    tile: Tile,
    y: &mut [f32],
) {
    apply(&step.function, &Operands { plan, step, values, slots, places, tile }, y);
}

multiversion! {
    /// The counts of a rounding that changes no number.
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
