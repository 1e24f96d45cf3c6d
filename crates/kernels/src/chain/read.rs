//! Chains whose last result is stored nowhere: elements are computed where they are read.

#[cfg(target_arch = "x86_64")]
use bitbudget_formats::{Format, unpack_u8};

use super::function::{Operands, apply};
#[cfg(target_arch = "x86_64")]
use super::fused::Fused;
use super::lookup::{READ, Table};
use super::plan::{Plan, SHORTEST_TILE, Step, Target};
use super::{Function, Operand, Part, TILES, Tile, load, round, run_step};
use crate::error::{ShapeError, geometry};
use crate::normalize::{Kink, normalize_and_clamp};
use crate::parallel::with_scratch;

/// Slots of a chain that is read without memory from the heap.
const FEW: usize = 8;

/// A chain that is read.
pub(crate) struct Reader<'a> {
    plan: Plan<'a>,
    way: Way<'a>,
}

/// How elements are computed.
enum Way<'a> {
    /// Part by part, the last one where the result goes.
    Steps,
    /// A normalisation and what follows it, in one loop.
    Normalize(Normalize<'a>),
    /// By a table of all codes of the only tensor.
    Lookup(Table<'a>),
    /// In registers, by way of codes of this format.
    #[cfg(target_arch = "x86_64")]
    Codes(Fused<'a>, Format),
}

/// `kink((x - mean) * factor + bias + skip)` on FP32 numbers that nothing rounds.
struct Normalize<'a> {
    x: &'a [f32],
    skip: Option<&'a [f32]>,
    kink: Kink,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(shape: [usize; 3], parts: &[Part<'a>]) -> Result<Self, ShapeError> {
        if parts.is_empty() {
            return Err(geometry("chain", "no part computes what is read"));
        }
        let mut plan = Plan::new(shape, parts, &[])?;
        for i in 0..parts.len() {
            if is_rounded_already(parts, i) {
                plan.steps[i].rounding = None;
            }
        }
        let way = match (Normalize::new(parts), Table::new(shape, parts)?) {
            (Some(normalize), _) => Way::Normalize(normalize),
            (None, Some(table)) => Way::Lookup(table),
            (None, None) => codes(&plan, parts).unwrap_or(Way::Steps),
        };
        Ok(Reader { plan, way })
    }

    /// Elements of scratch memory that reading a chain takes at most, of so many operands and parts together.
    pub(crate) fn scratch(operands_and_parts: usize) -> usize {
        TILES.max(operands_and_parts * SHORTEST_TILE) + SHORTEST_TILE
    }

    /// Writes the elements from `start` on to `y`, as many as it holds.
    pub(crate) fn unpack(&self, start: usize, y: &mut [f32]) {
        match &self.way {
            Way::Steps => self.steps(start, y),
            Way::Normalize(normalize) => self.normalize(normalize, start, y),
            Way::Lookup(table) => table.unpack(start, y),
            #[cfg(target_arch = "x86_64")]
            Way::Codes(fused, format) => {
                let (Plan { tiles, steps, .. }, mut codes) = (&self.plan, [0; READ]);
                for tile in tiles.cover(start, y.len(), READ) {
                    let codes = &mut codes[..tile.len];
                    fused.unpack(steps, tiles, tile, codes);
                    let unpacked = unpack_u8(*format, codes, &mut y[tile.start - start..][..tile.len]);
                    debug_assert!(unpacked.is_ok(), "widths were checked");
                }
            }
        }
    }

    fn normalize(&self, normalize: &Normalize<'_>, start: usize, y: &mut [f32]) {
        let Plan { tiles, steps, .. } = &self.plan;
        let [mean, factor, bias] = steps[0].tables.as_slice() else { return };
        for tile in tiles.cover(start, y.len(), usize::MAX) {
            let range = tile.start..tile.start + tile.len;
            let tables = [mean, factor, bias].map(|table| tiles.per_row(table, tile));
            let skip = normalize.skip.map_or(&[][..], |skip| &skip[range.clone()]);
            let y = &mut y[tile.start - start..][..tile.len];
            normalize_and_clamp(tile.row_len, &normalize.x[range], skip, tables, normalize.kink, y);
        }
    }

    fn steps(&self, start: usize, y: &mut [f32]) {
        let longest = self.plan.tiles.longest();
        with_scratch(self.plan.slots * longest, |scratch| {
            let mut slots = scratch.chunks_mut(longest);
            if self.plan.slots > FEW {
                return self.steps_in(&mut slots.collect::<Vec<_>>(), start, y);
            }
            let mut few: [&mut [f32]; FEW] = std::array::from_fn(|_| slots.next().unwrap_or_default());
            self.steps_in(&mut few, start, y);
        });
    }

    fn steps_in(&self, slots: &mut [&mut [f32]], start: usize, y: &mut [f32]) {
        let Some((last, before)) = self.plan.steps.split_last() else { return };
        for &(slot, value) in &self.plan.constants {
            slots[slot].fill(value);
        }
        for tile in self.plan.tiles.cover(start, y.len(), usize::MAX) {
            for step in before {
                run_step(&self.plan, step, &[], slots, tile);
            }
            self.last(last, slots, tile, &mut y[tile.start - start..][..tile.len]);
        }
    }

    fn last(&self, step: &Step<'_>, slots: &mut [&mut [f32]], tile: Tile, y: &mut [f32]) {
        load(&self.plan, step, slots, tile);
        let (sources, scalars, tables) = (&step.sources, &step.scalars, &step.tables);
        let operands = Operands { sources, scalars, tables, tiles: &self.plan.tiles, slots, places: &[], tile };
        apply(step.function, &operands, y);
        if let (Some(rounding), Target::Slot { keeps_infinity, .. }) = (step.rounding, step.target) {
            round(rounding, keeps_infinity, y);
        }
    }
}

/// The way by codes, where there is one.
#[cfg(target_arch = "x86_64")]
fn codes<'a>(plan: &Plan<'a>, parts: &[Part<'a>]) -> Option<Way<'a>> {
    let (format, _) = parts.last()?.rounding?;
    Some(Way::Codes(Fused::read(&plan.tiles, parts)?, format))
}

/// There is none here.
#[cfg(not(target_arch = "x86_64"))]
fn codes<'a>(_: &Plan<'a>, _: &[Part<'a>]) -> Option<Way<'a>> {
    None
}

/// Whether a part gives numbers that rounding as it does would leave, since it passes on those of an earlier part that
/// rounds in the same way.
fn is_rounded_already(parts: &[Part<'_>], i: usize) -> bool {
    let Part { function, operands, rounding, .. } = &parts[i];
    let passes = matches!(function, Function::Copy | Function::Relu);
    let own = |operand: &Operand<'_>| matches!(*operand, Operand::Part(j) if parts[j].rounding == *rounding);
    passes && operands.iter().all(own)
}

impl<'a> Normalize<'a> {
    /// None where the chain is another one.
    fn new(parts: &[Part<'a>]) -> Option<Self> {
        let numbers = |operand: &Operand<'a>| match operand {
            Operand::Elements(x) => x.numbers(),
            _ => None,
        };
        let follows = |i: usize, operand: &Operand<'_>| matches!(*operand, Operand::Part(j) if j + 1 == i);
        let (first, rest) = parts.split_first()?;
        if !matches!(first.function, Function::Normalize { .. }) || parts.iter().any(|part| part.rounding.is_some()) {
            return None;
        }
        let mut normalize = Normalize { x: numbers(first.operands.first()?)?, skip: None, kink: Kink::None };
        let mut rest = rest.iter().enumerate().map(|(i, part)| (i + 1, part)).peekable();
        let is_sum = |function| matches!(function, Function::Add | Function::Sum);
        if let Some((i, Part { operands, .. })) = rest.next_if(|(_, part)| is_sum(part.function)) {
            let [a, b] = operands.as_slice() else { return None };
            let other = match (follows(i, a), follows(i, b)) {
                (true, false) => b,
                (false, true) => a,
                _ => return None,
            };
            normalize.skip = Some(numbers(other)?);
        }
        if let Some((i, Part { function, operands, .. })) = rest.next() {
            normalize.kink = match *function {
                Function::Relu => Kink::Relu,
                Function::Clip { min, max } => Kink::Clip { min, max },
                _ => return None,
            };
            operands.first().filter(|operand| follows(i, operand))?;
        }
        rest.next().is_none().then_some(normalize)
    }
}
