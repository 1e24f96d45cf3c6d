//! A chain, checked, with everything that does not depend on the tile computed once.

use bitbudget_formats::{Format, Overflow};

use super::{Operand, Part, TILES, Tiles};
use crate::elements::{Elements, Output};
use crate::error::{ShapeError, check, elements, geometry};
use crate::function::{Function, PassesOn, Takes};
use crate::normalize;

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

impl<'a> Plan<'a> {
    pub(super) fn new(shape: [usize; 3], parts: &[Part<'a>], outputs: &[Output<'_>]) -> Result<Self, ShapeError> {
        check_parts(shape, parts, outputs)?;
        let [n, c, s] = shape;
        let operands = || parts.iter().flat_map(|part| &part.operands);
        let last_reader = |of: fn(&Operand<'_>) -> Option<usize>, i| {
            parts.iter().rposition(|part| part.operands.iter().any(|o| of(o) == Some(i)))
        };
        let reader_of_part = |i| last_reader(|o| if let Operand::Part(i) = *o { Some(i) } else { None }, i);
        let reader_of_output = |i| last_reader(|o| if let Operand::Output(i) = *o { Some(i) } else { None }, i);

        let mut slots = Slots::default();
        let mut constants = Vec::new();
        // Slots of constants come first, so that nothing reuses them.
        let constant = |slots: &mut Slots, constants: &mut Vec<(usize, f32)>, value: f32| {
            let slot = slots.count;
            slots.count += 1;
            constants.push((slot, value));
            slot
        };
        let held: Vec<(usize, usize)> =
            (0..outputs.len()).filter(|&i| reader_of_output(i).is_some()).map(|i| (i, slots.take())).collect();
        let mut results: Vec<Source<'a>> = Vec::new();
        let mut steps: Vec<Step<'a>> = Vec::new();
        for (i, part) in parts.iter().enumerate() {
            let mut loads = Vec::new();
            let mut sources = Vec::new();
            let mut channels = Vec::new();
            let mut scalars = Vec::new();
            for (k, operand) in part.operands.iter().enumerate() {
                match (part.function.takes(k), *operand) {
                    (Some((_, Takes::Channel)), Operand::Channel(x)) => channels.push(numbers(x)),
                    (Some((_, Takes::Scalar)), Operand::Scalar(x)) => scalars.push(x),
                    (_, Operand::Elements(x)) => sources.push(match x.numbers() {
                        Some(x) => Source::Numbers(x),
                        None => {
                            let slot = slots.take();
                            loads.push((slot, Load::Elements(x)));
                            Source::Slot(slot)
                        }
                    }),
                    (_, Operand::Channel(x)) => {
                        let slot = slots.take();
                        loads.push((slot, Load::Channel(numbers(x))));
                        sources.push(Source::Slot(slot));
                    }
                    (_, Operand::Scalar(x)) => sources.push(Source::Slot(constant(&mut slots, &mut constants, x))),
                    (_, Operand::Part(j)) => sources.push(results[j]),
                    (_, Operand::Output(j)) => {
                        sources
                            .extend(held.iter().find(|(output, _)| *output == j).map(|&(_, slot)| Source::Slot(slot)));
                    }
                }
            }
            let read_later = reader_of_part(i).is_some();
            let target = match part.output {
                Some(output) if outputs[output].holds_numbers() => Target::Numbers(output),
                Some(output) => Target::Codes { slot: slots.take(), output, read_later },
                None => Target::Slot {
                    slot: slots.take(),
                    keeps_infinity: part.rounding.is_none_or(|(format, overflow)| overflow.keeps_infinity(format)),
                },
            };
            results.push(match target {
                Target::Numbers(output) => Source::Output(output),
                Target::Codes { slot, .. } | Target::Slot { slot, .. } => Source::Slot(slot),
            });
            slots.free.extend(loads.iter().map(|(slot, _)| *slot));
            slots
                .free
                .extend(held.iter().filter(|(output, _)| reader_of_output(*output) == Some(i)).map(|(_, slot)| *slot));
            for (j, result) in results.iter().enumerate() {
                let done = if j == i { !read_later } else { reader_of_part(j) == Some(i) };
                if let (Source::Slot(slot), true) = (result, done) {
                    slots.free.push(*slot);
                }
            }
            let tables = normalize::factors(part.function, channels, elements(&[n, s]) as f64);
            steps.push(Step {
                function: part.function,
                loads,
                sources,
                scalars,
                tables,
                rounding: part.rounding,
                is_rounded: is_rounded_already(parts, i),
                target,
            });
        }
        // All of a tile's numbers share the cache; where nothing is read twice, that does not matter.
        let numbers = |step: &Step<'_>| {
            let read = step.sources.iter().filter(|source| matches!(source, Source::Numbers(_))).count();
            read + usize::from(matches!(step.target, Target::Numbers(_)))
        };
        let tile = match slots.count {
            0 => TILES,
            count => (TILES / (count + steps.iter().map(numbers).sum::<usize>())).max(SHORTEST_TILE) / BLOCK * BLOCK,
        };
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
