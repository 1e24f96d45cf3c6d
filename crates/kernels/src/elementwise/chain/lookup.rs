//! Chains of one tensor of one-byte codes to tensors of one-byte codes: 256 results for each channel are all there are.
//! The gradient of a function with a kink has 256 results on each side of it.
//!
//! The chain itself runs on all codes once; the tensor is then translated 64 codes at a time, where the processor has
//! AVX-512 VBMI. What a part overflows is counted by flags of the codes. Tables take some 1 KiB for each channel.

use bitbudget_formats::{Counts, Format, Overflow, unpack_u8};
use rayon::prelude::*;

use super::fused::Storages;
use super::part::{ChainOperand, PlannedOperand, PlannedPart};
use super::plan::{Values, has_channels};
use super::tables::{CODES, Every, Kind, Maker, Tables, are_fixed, nothing};
use crate::elementwise::function::Function;
use crate::tensors::elements::{Output, ResultStorage, SharedOutput, Storage, Stored};
use crate::tensors::tile::Tiles;
use crate::words::choice::Choice;
use crate::words::translate::{Entries, Translation, translation};

/// Elements of a channel for which tables are worth their making.
const LEAST: usize = 16 * CODES;
/// The same where what is read one row at a time would else be computed, which takes longer than a few instructions.
const LEAST_READ: usize = 8 * CODES;
/// The shortest row, where each has a table of its own, and the shortest one that is read.
const SHORTEST_ROW: usize = 64;
const SHORTEST_READ: usize = 16;
/// Elements that are translated before the next are read.
const TILE: usize = 4096;

/// A chain that goes by tables.
pub(super) struct Lookup {
    translation: Translation,
    tiles: Tiles,
    channels: usize,
    x: Place,
    classes: Option<Classes>,
    maker: Maker,
    /// The tables, where they do not depend on values; nothing where they count too much.
    fixed: Option<Option<Tables>>,
}

impl Lookup {
    /// None where the chain cannot go by tables or these are not worth it. The parts were checked.
    pub(super) fn new(shape: [usize; 3], parts: &[PlannedPart], storages: Storages<'_>) -> Option<Self> {
        let ([rows, row, channels], translation) = (rows(shape, parts), translation()?);
        let is_packed = storages.outputs.iter().all(|output| output.bytes().is_some());
        if !is_worth_it(rows, row, channels, [SHORTEST_ROW, LEAST]) || !is_packed {
            return None;
        }
        let (format, x, classes) = match (only_tensor(parts, storages), classes(parts, storages)) {
            (Some((format, x)), _) => (format, x, None),
            (None, Some((format, x, classes))) => (format, x, Some(classes)),
            (None, None) => return None,
        };
        // The sides of a kink are as two channels, for which the second operand is a number of that side.
        let of_tables = if classes.is_some() { 2 } else { channels };
        let maker = Maker::new(of_tables, parts, format, classes.is_some(), storages)?;
        let sides = classes.as_ref().map_or(&[][..], |classes| &classes.numbers);
        let fixed = are_fixed(parts).then(|| maker.tables(&nothing(storages), sides));
        let tiles = Tiles::new(rows, row, channels, TILE);
        Some(Lookup { translation, tiles, channels, x, classes, maker, fixed })
    }

    /// A number on each side of a kink, if there is one.
    fn sides(&self) -> &[f32] {
        self.classes.as_ref().map_or(&[], |classes| &classes.numbers)
    }

    /// Runs the chain; gives what each part overflows, or nothing, with nothing written, where tables count too much.
    pub(super) fn run(&self, values: &Values<'_>, places: &[SharedOutput]) -> Option<Vec<Counts>> {
        let made;
        let tables = match &self.fixed {
            Some(fixed) => fixed.as_ref()?,
            None => {
                made = self.maker.tables(values, self.sides())?;
                &made
            }
        };
        let x = self.x.codes(values, places)?;
        let classes = match &self.classes {
            Some(classes) => Some((&classes.of_codes, classes.place.codes(values, places)?)),
            None => None,
        };
        let task = |task: usize| {
            let mut counts = vec![0; tables.counted.len()];
            for tile in self.tiles.of_task(task) {
                for i in 0..tile.rows() {
                    let (at, channel) = (tile.start + i * tile.row_len, (tile.row + i) % self.channels);
                    let choice = |tables| choose(tables, channel, classes.as_ref(), at);
                    let run = Run { x: x.at(at), at, len: tile.row_len };
                    tables.translate(self.translation, choice, run, places, &mut counts);
                }
            }
            counts
        };
        let add = |a: Vec<u64>, b: Vec<u64>| a.iter().zip(b).map(|(a, b)| a + b).collect();
        let tasks = (0..self.tiles.tasks()).into_par_iter().with_max_len(1);
        let bits = tasks.map(task).reduce(|| vec![0; tables.counted.len()], add);
        let mut counts = vec![Counts::default(); self.maker.parts.len()];
        for (bit, counted) in bits.into_iter().zip(&tables.counted) {
            for (part, kind) in counted {
                match kind {
                    Kind::Overflow => counts[*part].overflow = bit,
                    Kind::Underflow => counts[*part].underflow = bit,
                    Kind::NotFinite => counts[*part].not_finite = bit,
                }
            }
        }
        Some(counts)
    }
}

/// A chain of one tensor of one-byte codes that is read by what it gives for each code, as codes.
pub(super) struct Table {
    translation: Translation,
    x: usize,
    rows: Tiles,
    channels: usize,
    entries: Entries,
    rounding: (Format, Overflow),
    every: Every,
    /// The codes, where they do not depend on values.
    fixed: Option<Vec<u8>>,
}

impl Table {
    /// A table of the last part's result, where there is such a chain and it is worth it. The parts were checked.
    pub(super) fn new(shape: [usize; 3], parts: &[PlannedPart], tensors: &[Storage]) -> Option<Self> {
        let [rows, row, channels] = rows(shape, parts);
        let rounding = parts.last().and_then(|part| part.rounding).filter(|(format, _)| format.bytes() == 1)?;
        let translation = translation()?;
        let storages = Storages { tensors, outputs: &[] };
        let (format, Place::Tensor(x)) = only_tensor(parts, storages)? else { return None };
        if !is_worth_it(rows, row, channels, [SHORTEST_READ, LEAST_READ]) {
            return None;
        }
        let (mut of_codes, every) = (parts.to_vec(), tensors.len());
        let operands = of_codes.iter_mut().flat_map(|part| &mut part.operands);
        let tensor = |operand: &&mut PlannedOperand| matches!(operand, ChainOperand::Elements(_));
        operands.filter(tensor).for_each(|x| *x = ChainOperand::Elements(every));
        of_codes.iter_mut().next_back().into_iter().for_each(|last| last.output = Some(0));
        let storage: Vec<Storage> = tensors.iter().copied().chain([Storage::Codes(format)]).collect();
        let outputs = [ResultStorage { is_packed: true, rounding: Some(rounding) }];
        let every = Every::new(channels, &of_codes, Storages { tensors: &storage, outputs: &outputs }, format);
        let entries = Entries::new(rounding.0);
        let rows = Tiles::new(rows, row, channels, TILE);
        let mut table = Table { translation, x, rows, channels, entries, rounding, every, fixed: None };
        if are_fixed(parts) {
            table.fixed = table.codes(&nothing(storages));
        }
        Some(table)
    }

    fn codes(&self, values: &Values<'_>) -> Option<Vec<u8>> {
        let (format, overflow) = self.rounding;
        let mut codes = vec![0; self.channels * CODES];
        self.every.run(values, &[], &mut [Output::u8(format, overflow, &mut codes).ok()?])?;
        Some(codes)
    }

    /// The codes of one run; `x` are those of the tensor.
    pub(super) fn bind<'a>(&self, values: &Values<'a>) -> Option<(&'a [u8], Vec<u8>)> {
        let Stored::U8(_, x) = values.tensors[self.x].stored() else { return None };
        match &self.fixed {
            Some(codes) => Some((x, codes.clone())),
            None => Some((x, self.codes(values)?)),
        }
    }

    /// Writes the numbers from `start` on to `y`, as many as it holds, by the codes of [`Table::bind`].
    pub(super) fn unpack(&self, (x, codes): &(&[u8], Vec<u8>), start: usize, y: &mut [f32]) {
        let (table, row) = (|row: usize| &codes.as_chunks::<CODES>().0[row % self.channels], self.rows.row());
        if y.len() == row && start.is_multiple_of(row) {
            // One plane, as it is read where channels are moved.
            return self.translation.unpack(table(start / row), self.entries, &x[start..start + row], y);
        }
        for tile in self.rows.cover(start, y.len(), usize::MAX) {
            let rows = y[tile.start - start..][..tile.len].chunks_exact_mut(tile.row_len);
            let x = x[tile.start..][..tile.len].chunks_exact(tile.row_len);
            for (i, (y, x)) in rows.zip(x).enumerate() {
                self.translation.unpack(table(tile.row + i), self.entries, x, y);
            }
        }
    }
}

/// Rows, their length, and channels, each of which has a table of its own.
fn rows(shape: [usize; 3], parts: &[PlannedPart]) -> [usize; 3] {
    match has_channels(parts) {
        true => [shape[0] * shape[1], shape[2], shape[1]],
        false => [1, shape.iter().product(), 1],
    }
}

/// Whether rows are at least so long, and channels have at least so many elements, that tables are worth their making.
fn is_worth_it(rows: usize, row: usize, channels: usize, [shortest, least]: [usize; 2]) -> bool {
    row >= shortest && rows * row >= least * channels
}

/// Where the codes of the only tensor are.
struct Codes(*const u8);

// SAFETY: tasks read elements of their own, and only the task that reads an element may write it.
unsafe impl Sync for Codes {}

impl Codes {
    fn at(&self, offset: usize) -> *const u8 {
        self.0.wrapping_add(offset)
    }
}

/// `len` codes at `x`, which are at `at` in the outputs.
#[derive(Clone, Copy)]
struct Run {
    x: *const u8,
    at: usize,
    len: usize,
}

/// A tensor of one-byte codes.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Tensor(usize),
    Output(usize),
}

impl Place {
    /// Its codes in one run.
    fn codes(self, values: &Values<'_>, places: &[SharedOutput]) -> Option<Codes> {
        match self {
            Place::Tensor(x) => match values.tensors[x].stored() {
                Stored::U8(_, codes) => Some(Codes(codes.as_ptr())),
                _ => None,
            },
            Place::Output(output) => places[output].bytes().map(|(_, codes)| Codes(codes.cast_const())),
        }
    }
}

/// The tensor of which only the side of a kink matters.
struct Classes {
    place: Place,
    /// The side of each code.
    of_codes: [u8; CODES],
    /// A number on each side.
    numbers: [f32; 2],
}

/// A tensor of one-byte codes.
fn tensor(operand: &PlannedOperand, storages: Storages<'_>) -> Option<(Format, Place)> {
    match *operand {
        ChainOperand::Elements(x) => storages.tensors[x].bytes().map(|format| (format, Place::Tensor(x))),
        ChainOperand::Output(output) => storages.outputs[output].bytes().map(|format| (format, Place::Output(output))),
        ChainOperand::Channel(_) | ChainOperand::Scalar(_) | ChainOperand::Part(_) => None,
    }
}

/// The gradient's tensors, if the chain is the gradient of a function with kinks.
fn classes(parts: &[PlannedPart], storages: Storages<'_>) -> Option<(Format, Place, Classes)> {
    let [PlannedPart { function, operands, .. }] = parts else { return None };
    let flat = |x: f32| match *function {
        Function::ReluGrad | Function::LeakyReluGrad { .. } => Some(x <= 0.0),
        Function::ClipGrad { min, max } => Some(x <= min || x >= max),
        _ => None,
    };
    let [dy, y] = operands.as_slice() else { return None };
    let ((format, x), (y_format, y)) = (tensor(dy, storages)?, tensor(y, storages)?);
    let mut classes = Classes { place: y, of_codes: [0; CODES], numbers: [f32::NAN; 2] };
    for code in 0..=u8::MAX {
        let mut number = [0.0];
        unpack_u8(y_format, &[code], &mut number).ok()?;
        let class = u8::from(flat(number[0])?);
        classes.of_codes[usize::from(code)] = class;
        classes.numbers[usize::from(class)] = number[0];
    }
    Some((format, x, classes))
}

/// The tensor that is read, if there is one only and it has one-byte codes.
fn only_tensor(parts: &[PlannedPart], storages: Storages<'_>) -> Option<(Format, Place)> {
    let mut only = None;
    for part in parts {
        // The numbers of a code depend on other things, too: how many elements there are, where they lie.
        let depends = match &part.function {
            Function::NormalizeGradInput { .. } => true,
            Function::Formula(formula) => !formula.is_pointwise(),
            _ => false,
        };
        if depends {
            return None;
        }
        for operand in &part.operands {
            if matches!(operand, ChainOperand::Channel(_) | ChainOperand::Scalar(_) | ChainOperand::Part(_)) {
                continue;
            }
            let tensor = tensor(operand, storages)?;
            if *only.get_or_insert(tensor) != tensor {
                return None;
            }
        }
    }
    only
}

impl Tables {
    /// Counts and translates codes.
    fn translate<'t>(
        &'t self,
        translation: Translation,
        choose: impl Fn(&'t [u8]) -> Choice<'t>,
        Run { x, at, len }: Run,
        places: &[SharedOutput],
        counts: &mut [u64],
    ) {
        // SAFETY: the tensors have the chain's shape, and nothing writes these codes meanwhile.
        unsafe { translation.count(choose(&self.flags), x, len, counts) };
        // What is read in place is overwritten last; where two tensors are read, there is one output.
        let in_place = |output: usize| places[output].bytes().is_some_and(|(_, y)| std::ptr::eq(y.wrapping_add(at), x));
        for last in [false, true] {
            for (output, tables) in self.outputs.iter().filter(|(output, _)| in_place(*output) == last) {
                if let Some((_, y)) = places[*output].bytes() {
                    // SAFETY: as above; the output has the chain's shape, and this task alone writes these codes.
                    unsafe { translation.translate(choose(tables), x, y.wrapping_add(at), len) };
                }
            }
        }
    }
}

/// The tables of a channel, or of both sides of a kink, at an offset.
fn choose<'t>(tables: &'t [u8], channel: usize, classes: Option<&(&'t [u8; CODES], Codes)>, at: usize) -> Choice<'t> {
    let table = |index: usize| &tables.as_chunks::<CODES>().0[index];
    match classes {
        None => Choice::One(table(channel)),
        Some((classes, codes)) => Choice::ByClass { tables: [table(0), table(1)], classes, bytes: codes.at(at) },
    }
}
