//! A chain with everything that shapes and formats decide, and what a run adds to it.

use std::borrow::Cow;

use bitbudget_formats::{Format, Overflow};

use super::part::{ChainData, ChainOperand, PlannedOperand, PlannedPart};
use crate::elementwise::function::{Function, PassesOn, Takes};
use crate::elementwise::normalize;
use crate::error::elements;
use crate::tensors::elements::{Elements, ResultStorage, Storage};
use crate::tensors::tile::{TILES, Tile, Tiles};

/// The shortest tile that is worth its fixed costs.
pub(super) const SHORTEST_TILE: usize = 512;

/// Elements of which tiles hold whole numbers, where rows are a power of two.
const BLOCK: usize = 64;

/// A chain that can run any number of times.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) tiles: Tiles,
    pub(super) steps: Vec<Step>,
    /// Outputs whose old elements are unpacked at a tile's start, and the slots that take them.
    pub(super) held: Vec<(usize, usize)>,
    /// Slots that hold one number throughout, and which one.
    pub(super) constants: Vec<(usize, usize)>,
    /// Scratch tiles.
    pub(super) slots: usize,
    /// Elements of a channel.
    count: f64,
    /// Tables of one number for each channel.
    tables: usize,
}

/// A part ready to run.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) function: Function,
    /// The operands that are unpacked first, and their slots.
    pub(super) loads: Vec<(usize, Load)>,
    pub(super) sources: Vec<Source>,
    /// Places of the numbers that it reads.
    pub(super) scalars: Vec<usize>,
    /// Places of the tensors with one number for each channel, of which the tables are made.
    channels: Vec<usize>,
    /// Its tables.
    tables: std::ops::Range<usize>,
    pub(super) rounding: Option<(Format, Overflow)>,
    /// Whether it passes on numbers that its rounding leaves as they are.
    pub(super) is_rounded: bool,
    pub(super) target: Target,
}

/// The content of a slot.
#[derive(Clone, Copy, Debug)]
pub(super) enum Load {
    /// A tensor's elements.
    Elements(usize),
    /// The numbers of a tensor's channels by way of a table, each repeated over its row.
    Channel { tensor: usize, table: usize },
}

/// Where an operand's tile is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// A tensor of FP32 numbers.
    Tensor(usize),
    Slot(usize),
    /// The FP32 numbers of an output that an earlier part wrote.
    Output(usize),
}

/// Where a part's result goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// Straight to the FP32 numbers of an output.
    Numbers(usize),
    /// Packed from a slot to an output, and unpacked again if a later part reads it.
    Codes { slot: usize, output: usize, read_later: bool },
    /// A slot alone; infinities become NaN if the format cannot keep them.
    Slot { slot: usize, keeps_infinity: bool },
}

/// The values of one run of a plan.
pub(super) struct Values<'a> {
    pub(super) tensors: Vec<Elements<'a>>,
    pub(super) scalars: Vec<f32>,
    /// All tables, one after the other.
    tables: Vec<f32>,
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

/// The last part that reads an operand for which `is` holds.
fn last_reader(parts: &[PlannedPart], is: impl Fn(&PlannedOperand) -> bool) -> Option<usize> {
    parts.iter().rposition(|part| part.operands.iter().any(&is))
}

fn reader_of_part(parts: &[PlannedPart], i: usize) -> Option<usize> {
    last_reader(parts, |operand| matches!(operand, ChainOperand::Part(j) if *j == i))
}

fn reader_of_output(parts: &[PlannedPart], i: usize) -> Option<usize> {
    last_reader(parts, |operand| matches!(operand, ChainOperand::Output(j) if *j == i))
}

/// A plan in the making: the slots that are taken, and where the results of the parts so far are.
struct Builder<'p> {
    parts: &'p [PlannedPart],
    tensors: &'p [Storage],
    outputs: &'p [ResultStorage],
    slots: Slots,
    tables: usize,
    constants: Vec<(usize, usize)>,
    held: Vec<(usize, usize)>,
    results: Vec<Source>,
}

impl Builder<'_> {
    /// A part as a step. Slots that nothing reads later are free afterwards.
    fn step(&mut self, i: usize) -> Step {
        let part = &self.parts[i];
        let (mut loads, mut sources) = (Vec::new(), Vec::new());
        let (mut channels, mut scalars) = (Vec::new(), Vec::new());
        for (k, operand) in part.operands.iter().enumerate() {
            match (part.function.takes(k), *operand) {
                (Some((_, Takes::Channel)), ChainOperand::Channel(x)) => channels.push(x),
                (Some((_, Takes::Scalar)), ChainOperand::Scalar(x)) => scalars.push(x),
                (_, operand) => sources.extend(self.source(operand, &mut loads)),
            }
        }
        let read_later = reader_of_part(self.parts, i).is_some();
        let target = match part.output {
            Some(output) if !self.outputs[output].is_packed => Target::Numbers(output),
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
        let tables = self.tables..self.tables + normalize::tables(&part.function);
        self.tables = tables.end;
        Step {
            function: part.function.clone(),
            loads,
            sources,
            scalars,
            channels,
            tables,
            rounding: part.rounding,
            is_rounded: is_rounded_already(self.parts, self.tensors, i),
            target,
        }
    }

    /// Where an operand with one number for each element is; nowhere if it is an output that does not exist.
    fn source(&mut self, operand: PlannedOperand, loads: &mut Vec<(usize, Load)>) -> Option<Source> {
        let mut loaded = |slots: &mut Slots, load| {
            let slot = slots.take();
            loads.push((slot, load));
            Source::Slot(slot)
        };
        Some(match operand {
            ChainOperand::Elements(x) if self.tensors[x].holds_numbers() => Source::Tensor(x),
            ChainOperand::Elements(x) => loaded(&mut self.slots, Load::Elements(x)),
            ChainOperand::Channel(tensor) => {
                let table = self.tables;
                self.tables += 1;
                loaded(&mut self.slots, Load::Channel { tensor, table })
            }
            ChainOperand::Scalar(x) => {
                // A slot of its own, which nothing takes later.
                let slot = self.slots.count;
                self.slots.count += 1;
                self.constants.push((slot, x));
                Source::Slot(slot)
            }
            ChainOperand::Part(j) => self.results[j],
            ChainOperand::Output(j) => Source::Slot(self.held.iter().find(|(output, _)| *output == j)?.1),
        })
    }

    /// Frees the slots that nothing reads after a part.
    fn free_after(&mut self, i: usize, loads: &[(usize, Load)]) {
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
fn tile(slots: usize, steps: &[Step]) -> usize {
    let numbers = |step: &Step| {
        let read = step.sources.iter().filter(|source| matches!(source, Source::Tensor(_))).count();
        read + usize::from(matches!(step.target, Target::Numbers(_)))
    };
    match slots {
        0 => TILES,
        _ => (TILES / (slots + steps.iter().map(numbers).sum::<usize>())).max(SHORTEST_TILE) / BLOCK * BLOCK,
    }
}

impl Plan {
    /// A plan of parts that were checked.
    pub(super) fn new(
        shape: [usize; 3],
        parts: &[PlannedPart],
        tensors: &[Storage],
        outputs: &[ResultStorage],
    ) -> Plan {
        let [n, c, s] = shape;
        let mut slots = Slots::default();
        let held = (0..outputs.len()).filter(|&i| reader_of_output(parts, i).is_some());
        let held = held.map(|i| (i, slots.take())).collect();
        let (constants, results) = (Vec::new(), Vec::new());
        let mut builder = Builder { parts, tensors, outputs, slots, tables: 0, constants, held, results };
        let steps: Vec<Step> = (0..parts.len()).map(|i| builder.step(i)).collect();
        let Builder { slots, tables, constants, held, .. } = builder;
        let tile = tile(slots.count, &steps);
        let tiles = match has_channels(parts) {
            true => Tiles::new(elements(&[n, c]), s, c, tile),
            false => Tiles::new(1, elements(&shape), 1, tile),
        };
        Plan { tiles, steps, held, constants, slots: slots.count, count: elements(&[n, s]) as f64, tables }
    }

    /// The values of a run.
    pub(super) fn bind<'a>(&self, ChainData { tensors, scalars }: ChainData<'a>) -> Values<'a> {
        let len = self.tiles.table_len();
        let mut tables = vec![0.0; self.tables * len];
        let mut all: Vec<&mut [f32]> = tables.chunks_exact_mut(len).collect();
        for step in &self.steps {
            for (_, load) in &step.loads {
                if let Load::Channel { tensor, table } = *load {
                    let x = tensors[tensor];
                    x.unpack(0, &mut all[table][..x.len()]);
                }
            }
            if !step.tables.is_empty() {
                let operands: Vec<Cow<'_, [f32]>> = step.channels.iter().map(|&x| numbers(tensors[x])).collect();
                normalize::factors(&step.function, &operands, self.count, &mut all[step.tables.clone()]);
            }
        }
        all.into_iter().for_each(|table| self.tiles.repeat_table(table));
        Values { tensors, scalars, tables }
    }
}

impl Step {
    /// The numbers of all rows from one of its tables; nothing if it has no such table.
    pub(super) fn table<'v>(&self, k: usize, plan: &Plan, values: &'v Values<'_>) -> &'v [f32] {
        self.tables.clone().nth(k).map_or(&[], |table| values.table(plan, table))
    }

    /// Numbers of a tile's rows from one of its tables.
    pub(super) fn rows<'v>(&self, k: usize, plan: &Plan, values: &'v Values<'_>, tile: Tile) -> &'v [f32] {
        self.tables.clone().nth(k).map_or(&[], |table| plan.tiles.per_row(values.table(plan, table), tile))
    }

    /// Whether all numbers in its tables are finite.
    pub(super) fn has_finite_tables(&self, plan: &Plan, values: &Values<'_>) -> bool {
        self.tables.clone().all(|table| values.table(plan, table).iter().all(|x| x.is_finite()))
    }
}

impl<'a> Values<'a> {
    /// Without tables.
    pub(super) fn of(ChainData { tensors, scalars }: ChainData<'a>) -> Self {
        Values { tensors, scalars, tables: Vec::new() }
    }

    /// The numbers of a table.
    pub(super) fn table(&self, plan: &Plan, table: usize) -> &[f32] {
        let len = plan.tiles.table_len();
        &self.tables[table * len..][..len]
    }
}

/// Whether a part has an operand with one number for each channel.
pub(super) fn has_channels(parts: &[PlannedPart]) -> bool {
    parts.iter().flat_map(|part| &part.operands).any(|operand| matches!(operand, ChainOperand::Channel(_)))
}

/// Whether a part gives numbers that rounding as it does would leave, since it passes on those of an earlier part that
/// rounds in the same way, or of a tensor in that format.
fn is_rounded_already(parts: &[PlannedPart], tensors: &[Storage], i: usize) -> bool {
    let PlannedPart { function, operands, rounding, .. } = &parts[i];
    let own = |operand: &PlannedOperand| match (*operand, *rounding) {
        (ChainOperand::Part(j), rounding) => parts[j].rounding == rounding,
        (ChainOperand::Elements(x), Some((format, _))) => tensors[x].stays_in(format),
        _ => false,
    };
    match function.passes_on() {
        PassesOn::All => operands.iter().all(own),
        PassesOn::First => operands.first().is_some_and(own),
        PassesOn::None => false,
    }
}

fn numbers(x: Elements<'_>) -> Cow<'_, [f32]> {
    x.numbers().map_or_else(
        || {
            let mut numbers = vec![0.0; x.len()];
            x.unpack(0, &mut numbers);
            numbers.into()
        },
        Cow::from,
    )
}
