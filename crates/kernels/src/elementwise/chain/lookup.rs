//! Chains of one tensor of one-byte codes to tensors of one-byte codes: 256 results for each channel are all there are.
//! The gradient of a function with a kink has 256 results on each side of it.
//!
//! The chain itself runs on all codes once; the tensor is then translated 64 codes at a time, where the processor has
//! AVX-512 VBMI. What a part overflows is counted by flags of the codes. Tables take some 1 KiB for each channel.

use bitbudget_formats::{Counts, Format, unpack_u8};
use rayon::prelude::*;

use super::part::{Operand, Part};
use super::plan::Plan;
use super::run::run_plan;
use crate::elementwise::function::Function;
use crate::error::ShapeError;
use crate::tensors::elements::{Elements, Output, SharedOutput, Stored};
use crate::tensors::tile::Tiles;
use crate::words::simd::multiversion;
use crate::words::translate::{Choice, Entries, Translation, translation};

/// Codes of one byte.
const CODES: usize = 256;
/// Elements of a channel for which tables are worth their making.
const LEAST: usize = 16 * CODES;
/// The same where what is read one row at a time would else be computed, which takes longer than a few instructions.
const LEAST_READ: usize = 8 * CODES;
/// The shortest row, where each has a table of its own, and the shortest one that is read.
const SHORTEST_ROW: usize = 64;
const SHORTEST_READ: usize = 16;
/// Elements that are translated before the next are read.
const TILE: usize = 4096;

/// The tables of all channels.
struct Tables {
    /// For each stored part its output and its codes.
    outputs: Vec<(usize, Vec<u8>)>,
    /// For each code the bits of `counted`.
    flags: Vec<u8>,
    /// For each bit the counts that it stands for: parts and kinds.
    counted: Vec<Vec<(usize, Kind)>>,
}

#[derive(Clone, Copy)]
enum Kind {
    Overflow,
    Underflow,
    NotFinite,
}

/// Runs the chain by tables where it can and is worth it. The parts were checked.
pub(super) fn look_up(
    shape: [usize; 3],
    parts: &[Part<'_>],
    places: &[SharedOutput],
) -> Result<Option<Vec<Counts>>, ShapeError> {
    let [rows, row, channels] = rows(shape, parts);
    let Some(translation) = translation() else { return Ok(None) };
    if !is_worth_it(rows, row, channels, [SHORTEST_ROW, LEAST]) || places.iter().any(|place| place.bytes().is_none()) {
        return Ok(None);
    }
    let (format, x, classes) = match (only_tensor(parts, places), classes(parts, places)) {
        (Some((format, x)), _) => (format, x, None),
        (None, Some((format, x, classes))) => (format, x, Some(classes)),
        (None, None) => return Ok(None),
    };
    let Some(tables) = Tables::new(channels, parts, format, classes.as_ref())? else { return Ok(None) };
    let tiles = Tiles::new(rows, row, channels, TILE);
    let task = |task: usize| {
        let mut counts = vec![0; tables.counted.len()];
        for tile in tiles.of_task(task) {
            for i in 0..tile.rows() {
                let (at, channel) = (tile.start + i * tile.row_len, (tile.row + i) % channels);
                let choice = |tables| choose(tables, channel, classes.as_ref(), at);
                let run = Run { x: x.at(at), at, len: tile.row_len };
                tables.translate(translation, choice, run, places, &mut counts);
            }
        }
        counts
    };
    let add = |a: Vec<u64>, b: Vec<u64>| a.iter().zip(b).map(|(a, b)| a + b).collect();
    let bits =
        (0..tiles.tasks()).into_par_iter().with_max_len(1).map(task).reduce(|| vec![0; tables.counted.len()], add);
    let mut counts = vec![Counts::default(); parts.len()];
    for (bit, counted) in bits.into_iter().zip(&tables.counted) {
        for (part, kind) in counted {
            match kind {
                Kind::Overflow => counts[*part].overflow = bit,
                Kind::Underflow => counts[*part].underflow = bit,
                Kind::NotFinite => counts[*part].not_finite = bit,
            }
        }
    }
    Ok(Some(counts))
}

/// What a chain of one tensor of one-byte codes gives for each code, as codes.
pub(super) struct Table<'a> {
    translation: Translation,
    x: &'a [u8],
    rows: Tiles,
    channels: usize,
    /// 256 codes for each channel.
    codes: Vec<u8>,
    entries: Entries,
}

impl<'a> Table<'a> {
    /// A table of the last part's result, where there is such a chain and it is worth it. The parts were checked.
    pub(super) fn new(shape: [usize; 3], parts: &[Part<'a>]) -> Result<Option<Self>, ShapeError> {
        let [rows, row, channels] = rows(shape, parts);
        let rounding = parts.last().and_then(|part| part.rounding).filter(|(format, _)| format.bytes() == 1);
        let (Some((format, overflow)), Some(translation)) = (rounding, translation()) else { return Ok(None) };
        let Some((x_format, x)) =
            only_elements(parts).filter(|_| is_worth_it(rows, row, channels, [SHORTEST_READ, LEAST_READ]))
        else {
            return Ok(None);
        };
        let every: Vec<u8> = (0..channels * CODES).map(|i| i as u8).collect();
        let every = Elements::u8(x_format, &every)?;
        let mut parts = parts.to_vec();
        let operands = parts.iter_mut().flat_map(|part| &mut part.operands);
        operands.filter(|operand| matches!(operand, Operand::Elements(_))).for_each(|x| *x = Operand::Elements(every));
        parts.iter_mut().next_back().into_iter().for_each(|last| last.output = Some(0));
        let mut codes = vec![0; channels * CODES];
        compute(channels, &parts, &mut [Output::u8(format, overflow, &mut codes)?])?;
        Ok(Some(Table {
            translation,
            x,
            rows: Tiles::new(rows, row, channels, TILE),
            channels,
            codes,
            entries: Entries::new(format),
        }))
    }

    /// Writes the numbers from `start` on to `y`, as many as it holds.
    pub(super) fn unpack(&self, start: usize, y: &mut [f32]) {
        let (table, row) = (|row: usize| &self.codes.as_chunks::<CODES>().0[row % self.channels], self.rows.row());
        if y.len() == row && start.is_multiple_of(row) {
            // One plane, as it is read where channels are moved.
            return self.translation.unpack(table(start / row), self.entries, &self.x[start..start + row], y);
        }
        for tile in self.rows.cover(start, y.len(), usize::MAX) {
            let rows = y[tile.start - start..][..tile.len].chunks_exact_mut(tile.row_len);
            let x = self.x[tile.start..][..tile.len].chunks_exact(tile.row_len);
            for (i, (y, x)) in rows.zip(x).enumerate() {
                self.translation.unpack(table(tile.row + i), self.entries, x, y);
            }
        }
    }
}

/// The codes of the only tensor that is read, if there is one only.
fn only_elements<'a>(parts: &[Part<'a>]) -> Option<(Format, &'a [u8])> {
    let (_, at) = only_tensor(parts, &[])?;
    parts.iter().flat_map(|part| &part.operands).find_map(|operand| match operand {
        Operand::Elements(x) => match x.stored() {
            Stored::U8(format, codes) if std::ptr::eq(codes.as_ptr(), at.0) => Some((format, codes)),
            _ => None,
        },
        _ => None,
    })
}

/// Runs a chain on all codes of each channel.
fn compute(channels: usize, parts: &[Part<'_>], outputs: &mut [Output<'_>]) -> Result<(), ShapeError> {
    let plan = Plan::new([1, channels, CODES], parts, outputs)?;
    let places: Vec<SharedOutput> = outputs.iter_mut().map(Output::shared).collect();
    run_plan(&plan, parts, &places);
    Ok(())
}

/// Rows, their length, and channels, each of which has a table of its own.
fn rows(shape: [usize; 3], parts: &[Part<'_>]) -> [usize; 3] {
    match parts.iter().flat_map(|part| &part.operands).any(|operand| matches!(operand, Operand::Channel(_))) {
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

/// The tensor of which only the side of a kink matters.
struct Classes {
    codes: Codes,
    /// The side of each code.
    of_codes: [u8; CODES],
    /// A number on each side.
    numbers: [f32; 2],
}

/// A tensor of one-byte codes.
fn tensor(operand: &Operand<'_>, places: &[SharedOutput]) -> Option<(Format, *const u8)> {
    match *operand {
        Operand::Elements(x) => match x.stored() {
            Stored::U8(format, codes) => Some((format, codes.as_ptr())),
            _ => None,
        },
        Operand::Output(output) => places[output].bytes().map(|(format, codes)| (format, codes.cast_const())),
        Operand::Channel(_) | Operand::Scalar(_) | Operand::Part(_) => None,
    }
}

/// The gradient's tensors, if the chain is the gradient of a function with kinks.
fn classes(parts: &[Part<'_>], places: &[SharedOutput]) -> Option<(Format, Codes, Classes)> {
    let [Part { function, operands, .. }] = parts else { return None };
    let flat = |x: f32| match *function {
        Function::ReluGrad | Function::LeakyReluGrad { .. } => Some(x <= 0.0),
        Function::ClipGrad { min, max } => Some(x <= min || x >= max),
        _ => None,
    };
    let [dy, y] = operands.as_slice() else { return None };
    let ((format, x), (y_format, y)) = (tensor(dy, places)?, tensor(y, places)?);
    let mut classes = Classes { codes: Codes(y), of_codes: [0; CODES], numbers: [f32::NAN; 2] };
    for code in 0..=u8::MAX {
        let mut number = [0.0];
        unpack_u8(y_format, &[code], &mut number).ok()?;
        let class = u8::from(flat(number[0])?);
        classes.of_codes[usize::from(code)] = class;
        classes.numbers[usize::from(class)] = number[0];
    }
    Some((format, Codes(x), classes))
}

/// The tensor that is read, if there is one only and it has one-byte codes.
fn only_tensor(parts: &[Part<'_>], places: &[SharedOutput]) -> Option<(Format, Codes)> {
    let mut only = None;
    for part in parts {
        if matches!(part.function, Function::NormalizeGradInput { .. }) {
            // It depends on the number of elements, too.
            return None;
        }
        for operand in &part.operands {
            if matches!(operand, Operand::Channel(_) | Operand::Scalar(_) | Operand::Part(_)) {
                continue;
            }
            let tensor = tensor(operand, places)?;
            if *only.get_or_insert(tensor) != tensor {
                return None;
            }
        }
    }
    only.map(|(format, codes)| (format, Codes(codes)))
}

impl Tables {
    /// Runs the chain on all codes, for each channel; none if more than eight counts differ.
    fn new(
        channels: usize,
        parts: &[Part<'_>],
        format: Format,
        classes: Option<&Classes>,
    ) -> Result<Option<Self>, ShapeError> {
        // The sides of a kink are as two channels, for which the second operand is a number of that side.
        let channels = if classes.is_some() { 2 } else { channels };
        let size = channels * CODES;
        let codes: Vec<u8> = (0..size).map(|i| i as u8).collect();
        let all = Elements::u8(format, &codes)?;
        // Every part in two: what it computes, which is kept for the counts, and the rounding of that.
        let mut numbers = vec![vec![0.0f32; size]; parts.len()];
        let mut stored: Vec<(usize, Vec<u8>)> =
            parts.iter().filter_map(|part| part.output).map(|output| (output, vec![0; size])).collect();
        let mut doubled = Vec::new();
        for (i, part) in parts.iter().enumerate() {
            let operands = part.operands.iter().enumerate().map(|(k, operand)| match *operand {
                Operand::Elements(_) | Operand::Output(_) => match classes {
                    Some(classes) if k == 1 => Operand::Channel(Elements::from(classes.numbers.as_slice())),
                    _ => Operand::Elements(all),
                },
                Operand::Part(j) => Operand::Part(2 * j + 1),
                other => other,
            });
            doubled.push(Part {
                function: part.function,
                operands: operands.collect(),
                rounding: None,
                output: Some(i),
            });
            let place = stored.iter().position(|(output, _)| Some(*output) == part.output);
            doubled.push(Part {
                function: Function::Copy,
                operands: vec![Operand::Part(2 * i)],
                rounding: part.rounding,
                output: place.map(|place| parts.len() + place),
            });
        }
        let mut outputs: Vec<Output<'_>> = numbers.iter_mut().map(|numbers| numbers.as_mut_slice().into()).collect();
        for (output, codes) in &mut stored {
            let rounding = parts.iter().find(|part| part.output == Some(*output)).and_then(|part| part.rounding);
            let Some((format, overflow)) = rounding else { return Ok(None) };
            outputs.push(Output::u8(format, overflow, codes)?);
        }
        compute(channels, &doubled, &mut outputs)?;
        drop(outputs);
        let rounded = parts.iter().zip(&numbers).enumerate();
        let rounded = rounded.filter_map(|(i, (part, numbers))| part.rounding.map(|(format, _)| (i, format, numbers)));
        let mut columns: Vec<Vec<u8>> = Vec::new();
        let mut counted: Vec<Vec<(usize, Kind)>> = Vec::new();
        for (part, format, numbers) in rounded {
            for kind in [Kind::Overflow, Kind::Underflow, Kind::NotFinite] {
                let column = column(kind, format, numbers);
                if is_zero(&column) {
                    continue;
                }
                match columns.iter().position(|other| *other == column) {
                    Some(bit) => counted[bit].push((part, kind)),
                    None => {
                        columns.push(column);
                        counted.push(vec![(part, kind)]);
                    }
                }
            }
        }
        if columns.len() > 8 {
            return Ok(None);
        }
        let mut flags = vec![0; size];
        for (bit, column) in columns.iter().enumerate() {
            set(bit, column, &mut flags);
        }
        Ok(Some(Tables { outputs: stored, flags, counted }))
    }

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
fn choose<'t>(tables: &'t [u8], channel: usize, classes: Option<&'t Classes>, at: usize) -> Choice<'t> {
    let table = |index: usize| &tables.as_chunks::<CODES>().0[index];
    match classes {
        None => Choice::One(table(channel)),
        Some(classes) => {
            Choice::ByClass { tables: [table(0), table(1)], classes: &classes.of_codes, bytes: classes.codes.at(at) }
        }
    }
}

multiversion! {
    /// For each number whether rounding it to a format counts it.
    fn column(kind: Kind, format: Format, numbers: &[f32]) -> Vec<u8> {
        let (most, least) = match format == Format::FP32 {
            true => (f32::INFINITY, 0.0),
            false => (format.overflow_threshold(), format.underflow_threshold()),
        };
        match kind {
            Kind::Overflow => flags(numbers, |x| (x >= most) | x.is_nan()),
            Kind::Underflow => flags(numbers, |x| (x < least) & (x > 0.0)),
            Kind::NotFinite => flags(numbers, |x| (x >= f32::INFINITY) | x.is_nan()),
        }
    }
}

multiversion! {
    fn is_zero(column: &[u8]) -> bool {
        column.iter().fold(0, |any, flag| any | flag) == 0
    }
}

multiversion! {
    /// Sets a bit where a column has a flag.
    fn set(bit: usize, column: &[u8], flags: &mut [u8]) {
        flags.iter_mut().zip(column).for_each(|(flags, flag)| *flags |= flag << bit);
    }
}

#[inline(always)]
fn flags(numbers: &[f32], of_magnitude: impl Fn(f32) -> bool) -> Vec<u8> {
    numbers.iter().map(|x| u8::from(of_magnitude(x.abs()))).collect()
}
