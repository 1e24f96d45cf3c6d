//! A chain, checked, with everything that does not depend on the tile computed once.

use bitbudget_formats::{Format, Overflow};

use super::part::{Operand, Part};
use crate::elementwise::function::{Function, PassesOn, Takes};
use crate::elementwise::normalize;
use crate::error::{ShapeError, check, elements, geometry};
use crate::tensors::elements::{Elements, Output};
use crate::tensors::tile::{TILES, Tiles};

/// The shortest tile that is worth its fixed costs.
pub(super) const SHORTEST_TILE: usize = 512;

/// Elements of which tiles hold whole numbers, where rows are a power of two.
const BLOCK: usize = 64;

/// A chain ready to run.
pub(super) struct Plan<'a> {
    pub(super) tiles: Tiles,
    pub(super) steps: Vec<Step<'a>>,
    /// Outputs whose old elements are unpacked at a tile's start, and the slots that take them.
    pub(super) held: Vec<(usize, usize)>,
    /// Slots that hold one number throughout.
    pub(super) constants: Vec<(usize, f32)>,
    /// Scratch tiles.
    pub(super) slots: usize,
}

/// A part ready to run.
pub(super) struct Step<'a> {
    pub(super) function: Function<'a>,
    /// What is unpacked into which slot before.
    pub(super) loads: Vec<(usize, Load<'a>)>,
    pub(super) sources: Vec<Source<'a>>,
    pub(super) scalars: Vec<f32>,
    /// [`Tiles::table`]s of the channels' numbers.
    pub(super) tables: Vec<Vec<f32>>,
    pub(super) rounding: Option<(Format, Overflow)>,
    /// Whether it passes on numbers that its rounding leaves as they are.
    pub(super) is_rounded: bool,
    pub(super) target: Target,
}

/// What is brought into a slot.
pub(super) enum Load<'a> {
    Elements(Elements<'a>),
    /// A [`Tiles::table`], each number repeated over its row.
    Channel(Vec<f32>),
}

/// Where an operand's tile is.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    Numbers(&'a [f32]),
    Slot(usize),
    /// The FP32 numbers of an output that an earlier part wrote.
    Output(usize),
}

/// Where a part's result goes.
#[derive(Clone, Copy)]
pub(super) enum Target {
    /// Straight to the FP32 numbers of an output.
    Numbers(usize),
    /// Packed from a slot to an output, and unpacked again if a later part reads it.
    Codes { slot: usize, output: usize, read_later: bool },
    /// A slot alone; infinities become NaN if the format cannot keep them.
    Slot { slot: usize, keeps_infinity: bool },
}

/// Scratch tiles by number.
#[derive(Default)]
struct Slots {
    free: Vec<usize>,
    count: usize,
}

impl Slots {
    fn take(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.count += 1;
            self.count - 1
        })
    }
}

fn wrong(part: usize, function: Function<'_>, reason: impl std::fmt::Display) -> ShapeError {
    geometry("chain", format!("part {part} ({function:?}) {reason}"))
}

/// The last part that reads an operand for which `is` holds.
fn last_reader(parts: &[Part<'_>], is: impl Fn(&Operand<'_>) -> bool) -> Option<usize> {
    parts.iter().rposition(|part| part.operands.iter().any(&is))
}

fn reader_of_part(parts: &[Part<'_>], i: usize) -> Option<usize> {
    last_reader(parts, |operand| matches!(operand, Operand::Part(j) if *j == i))
}

fn reader_of_output(parts: &[Part<'_>], i: usize) -> Option<usize> {
    last_reader(parts, |operand| matches!(operand, Operand::Output(j) if *j == i))
}

/// A plan in the making: the slots that are taken, and where the results of the parts so far are.
struct Builder<'p, 'a> {
    parts: &'p [Part<'a>],
    /// Elements of a channel.
    count: f64,
    slots: Slots,
    constants: Vec<(usize, f32)>,
    held: Vec<(usize, usize)>,
    results: Vec<Source<'a>>,
}

impl<'a> Builder<'_, 'a> {
    /// A part as a step. Slots that nothing reads later are free afterwards.
    fn step(&mut self, i: usize, outputs: &[Output<'_>]) -> Step<'a> {
        let part = &self.parts[i];
        let mut loads = Vec::new();
        let mut sources = Vec::new();
        let mut channels = Vec::new();
        let mut scalars = Vec::new();
        for (k, operand) in part.operands.iter().enumerate() {
            match (part.function.takes(k), *operand) {
                (Some((_, Takes::Channel)), Operand::Channel(x)) => channels.push(numbers(x)),
                (Some((_, Takes::Scalar)), Operand::Scalar(x)) => scalars.push(x),
                (_, operand) => sources.extend(self.source(operand, &mut loads)),
            }
        }
        let read_later = reader_of_part(self.parts, i).is_some();
        let target = match part.output {
            Some(output) if outputs[output].holds_numbers() => Target::Numbers(output),
            Some(output) => Target::Codes { slot: self.slots.take(), output, read_later },
            None => {
                let keeps_infinity = part.rounding.is_none_or(|(format, overflow)| overflow.keeps_infinity(format));
                Target::Slot { slot: self.slots.take(), keeps_infinity }
            }
        };
        self.results.push(match target {
            Target::Numbers(output) => Source::Output(output),
            Target::Codes { slot, .. } | Target::Slot { slot, .. } => Source::Slot(slot),
        });
        self.free_after(i, &loads);
        Step {
            function: part.function,
            loads,
            sources,
            scalars,
            tables: normalize::factors(part.function, channels, self.count),
            rounding: part.rounding,
            is_rounded: is_rounded_already(self.parts, i),
            target,
        }
    }

    /// Where an operand with one number for each element is; nowhere if it is an output that does not exist.
    fn source(&mut self, operand: Operand<'a>, loads: &mut Vec<(usize, Load<'a>)>) -> Option<Source<'a>> {
        let mut loaded = |slots: &mut Slots, load| {
            let slot = slots.take();
            loads.push((slot, load));
            Source::Slot(slot)
        };
        Some(match operand {
            Operand::Elements(x) => match x.numbers() {
                Some(x) => Source::Numbers(x),
                None => loaded(&mut self.slots, Load::Elements(x)),
            },
            Operand::Channel(x) => loaded(&mut self.slots, Load::Channel(numbers(x))),
            Operand::Scalar(value) => {
                // A slot of its own, which nothing takes later.
                let slot = self.slots.count;
                self.slots.count += 1;
                self.constants.push((slot, value));
                Source::Slot(slot)
            }
            Operand::Part(j) => self.results[j],
            Operand::Output(j) => Source::Slot(self.held.iter().find(|(output, _)| *output == j)?.1),
        })
    }

    /// Frees the slots that nothing reads after a part.
    fn free_after(&mut self, i: usize, loads: &[(usize, Load<'a>)]) {
        let Builder { parts, slots, held, results, .. } = self;
        slots.free.extend(loads.iter().map(|(slot, _)| *slot));
        let is_done = |output: usize| reader_of_output(parts, output) == Some(i);
        slots.free.extend(held.iter().filter(|(output, _)| is_done(*output)).map(|(_, slot)| *slot));
        for (j, result) in results.iter().enumerate() {
            let reader = reader_of_part(parts, j);
            let done = if j == i { reader.is_none() } else { reader == Some(i) };
            if let (Source::Slot(slot), true) = (result, done) {
                slots.free.push(*slot);
            }
        }
    }
}

/// Elements of a tile: all of a tile's numbers share the cache; where nothing is read twice, that does not matter.
fn tile(slots: usize, steps: &[Step<'_>]) -> usize {
    let numbers = |step: &Step<'_>| {
        let read = step.sources.iter().filter(|source| matches!(source, Source::Numbers(_))).count();
        read + usize::from(matches!(step.target, Target::Numbers(_)))
    };
    match slots {
        0 => TILES,
        _ => (TILES / (slots + steps.iter().map(numbers).sum::<usize>())).max(SHORTEST_TILE) / BLOCK * BLOCK,
    }
}

impl<'a> Plan<'a> {
    pub(super) fn new(shape: [usize; 3], parts: &[Part<'a>], outputs: &[Output<'_>]) -> Result<Self, ShapeError> {
        check_parts(shape, parts, outputs)?;
        let [n, c, s] = shape;
        let mut slots = Slots::default();
        let held = (0..outputs.len()).filter(|&i| reader_of_output(parts, i).is_some());
        let held = held.map(|i| (i, slots.take())).collect();
        let (count, constants, results) = (elements(&[n, s]) as f64, Vec::new(), Vec::new());
        let mut builder = Builder { parts, count, slots, constants, held, results };
        let mut steps: Vec<Step<'a>> = (0..parts.len()).map(|i| builder.step(i, outputs)).collect();
        let Builder { slots, constants, held, .. } = builder;
        let tile = tile(slots.count, &steps);
        let operands = || parts.iter().flat_map(|part| &part.operands);
        let tiles = match operands().any(|operand| matches!(operand, Operand::Channel(_))) {
            true => Tiles::new(elements(&[n, c]), s, c, tile),
            false => Tiles::new(1, elements(&shape), 1, tile),
        };
        for step in &mut steps {
            let expanded = step.loads.iter_mut().filter_map(|(_, load)| match load {
                Load::Channel(table) => Some(table),
                Load::Elements(_) => None,
            });
            expanded.chain(&mut step.tables).for_each(|table| *table = tiles.table(table));
        }
        Ok(Plan { tiles, steps, held, constants, slots: slots.count })
    }
}

pub(super) fn check_parts(shape: [usize; 3], parts: &[Part<'_>], outputs: &[Output<'_>]) -> Result<(), ShapeError> {
    let size = elements(&shape);
    let mut writers = vec![0; outputs.len()];
    for (i, part) in parts.iter().enumerate() {
        let wrong = |reason: String| Err(wrong(i, part.function, reason));
        let found = part.operands.len();
        if let Some(needed) = part.function.arity().filter(|&needed| needed != found) {
            return wrong(format!("has {found} operand(s) where it needs {needed}"));
        }
        for (k, operand) in part.operands.iter().enumerate() {
            let (name, takes) = part.function.takes(k).unwrap_or(("operand", Takes::Each));
            match (takes, operand) {
                (Takes::Channel, Operand::Channel(_)) | (Takes::Scalar, Operand::Scalar(_)) | (Takes::Each, _) => {}
                (Takes::Channel, _) => return wrong(format!("needs `{name}` as one number for each channel")),
                (Takes::Scalar, _) => return wrong(format!("needs `{name}` as one number")),
            }
            match *operand {
                Operand::Elements(x) => check("chain", &[(name, x.len(), size)])?,
                Operand::Channel(x) => check("chain", &[(name, x.len(), shape[1])])?,
                Operand::Part(j) if j >= i => return wrong(format!("reads part {j}, which is not an earlier one")),
                Operand::Output(j) if j >= outputs.len() => {
                    return wrong(format!("reads output {j} of {}", outputs.len()));
                }
                Operand::Scalar(_) | Operand::Part(_) | Operand::Output(_) => {}
            }
        }
        if let Some(output) = part.output {
            let Some(place) = outputs.get(output) else {
                return wrong(format!("writes output {output} of {}", outputs.len()));
            };
            check("chain", &[("output", place.len(), size)])?;
            if place.rounding() != part.rounding {
                return wrong(format!("rounds as {:?}, its output as {:?}", part.rounding, place.rounding()));
            }
            writers[output] += 1;
        }
    }
    match writers.iter().position(|&writers| writers != 1) {
        Some(output) => Err(geometry("chain", format!("{} parts write output {output}; one must", writers[output]))),
        None => Ok(()),
    }
}

/// Whether a part gives numbers that rounding as it does would leave, since it passes on those of an earlier part that
/// rounds in the same way, or of a tensor in that format.
fn is_rounded_already(parts: &[Part<'_>], i: usize) -> bool {
    let Part { function, operands, rounding, .. } = &parts[i];
    let own = |operand: &Operand<'_>| match (*operand, *rounding) {
        (Operand::Part(j), rounding) => parts[j].rounding == rounding,
        (Operand::Elements(x), Some((format, _))) => x.stays_in(format),
        _ => false,
    };
    match function.passes_on() {
        PassesOn::All => operands.iter().all(own),
        PassesOn::First => operands.first().is_some_and(own),
        PassesOn::None => false,
    }
}

fn numbers(x: Elements<'_>) -> Vec<f32> {
    let mut numbers = vec![0.0; x.len()];
    x.unpack(0, &mut numbers);
    numbers
}
