//! Chains over one-byte codes of the paper's formats that stay in registers, 64 elements at a time, on processors with
//! AVX-512 VBMI: a sum, a normalisation or its gradient; then what a kink lets through; then what clamps the result.
//!
//! The bits and counts are those of the tiles in memory, which take the elements that are left over.

use bitbudget_formats::{Counts, Format, Overflow, Pack64, Unpack64, pack_u8};

use super::plan::Step;
use super::registers::{self, Codes, Passing, Work};
use super::{Function, Operand, Part, Tile, Tiles};
use crate::elements::{SharedOutput, Stored};

/// Parts of the longest chain that runs in registers.
const PARTS: usize = 4;

/// A chain that runs in registers.
pub(super) struct Fused<'a> {
    value: Value<'a>,
    /// Lets elements of the sum through.
    passing: Option<Passing<'a>>,
    /// The part whose result is packed first.
    packed: usize,
    pack: Pack64,
    /// The part that clamps codes, and the largest code that it leaves.
    clamp: Option<(usize, u8)>,
}

enum Value<'a> {
    /// Codes are added in their order.
    Sum(Vec<Codes<'a>>),
    /// The rounded result is added to the codes.
    Normalize {
        x: Codes<'a>,
        skip: Option<(Codes<'a>, Pack64)>,
    },
    Gradient {
        dy: Codes<'a>,
        x: Codes<'a>,
    },
}

/// The codes of an operand of one byte an element.
fn codes<'a>(operand: &Operand<'a>) -> Option<(Format, Codes<'a>)> {
    let Operand::Elements(x) = operand else { return None };
    match x.stored() {
        Stored::U8(format, codes) => Some((format, Codes { codes, unpack: Unpack64::new(format)? })),
        _ => None,
    }
}

/// The positive code of a number that is one of the format's.
fn code(format: Format, number: f32) -> Option<u8> {
    let (mut code, paper) = ([0], Pack64::new(format, Overflow::NotFinite).is_some());
    let counts = pack_u8(format, Overflow::NotFinite, &[number], &mut code).ok()?;
    let mut back = [0.0];
    bitbudget_formats::unpack_u8(format, &code, &mut back).ok()?;
    (paper && counts == Counts::default() && back == [number] && number > 0.0).then_some(code[0])
}

/// Which positive codes of the second operand let the first through, if the function is a gradient that is 0 elsewhere.
fn passing<'a>(function: Function, operand: &Operand<'a>) -> Option<Passing<'a>> {
    let (format, codes) = codes(operand)?;
    // Of these formats' codes, those of positive numbers are positive bytes, and the sign bit alone is NaN.
    Pack64::new(format, Overflow::Saturate)?;
    let last = match function {
        Function::ReluGrad => u8::MAX >> 1,
        Function::ClipGrad { min: 0.0, max } => code(format, max)? - 1,
        _ => return None,
    };
    Some(Passing { codes: codes.codes, last })
}

/// The largest code that a clamp from 0 on leaves.
fn ceiling(function: Function, format: Format) -> Option<u8> {
    match function {
        Function::Relu => Some(u8::MAX >> 1),
        Function::Clip { min: 0.0, max } => code(format, max),
        _ => None,
    }
}

impl<'a> Fused<'a> {
    /// None where the chain is another one, or is not stored in bytes.
    pub(super) fn new(tiles: &Tiles, parts: &[Part<'a>], places: &[SharedOutput]) -> Option<Self> {
        let is_stored = parts.last()?.output == Some(0) && places.first()?.bytes().is_some();
        Fused::read(tiles, parts).filter(|_| is_stored)
    }

    /// As [`Fused::new`], for a chain whose last result is stored nowhere.
    pub(super) fn read(tiles: &Tiles, parts: &[Part<'a>]) -> Option<Self> {
        let (_, before) = parts.split_last()?;
        if !crate::simd::has_avx512() {
            return None;
        }
        if before.iter().any(|part| part.output.is_some()) {
            return None;
        }
        let pack = |part: &Part<'_>| part.rounding.and_then(|(format, overflow)| Pack64::new(format, overflow));
        let mut rest = parts;
        let mut take = |wanted: &dyn Fn(&Part<'a>) -> bool| {
            let (part, others) = rest.split_first().filter(|(part, _)| wanted(part))?;
            rest = others;
            Some((parts.len() - others.len() - 1, part))
        };
        let operand_codes = |part: &Part<'a>, k: usize| Some(codes(part.operands.get(k)?)?.1);
        let is_part = |operand: Option<&Operand<'_>>, i: usize| matches!(operand, Some(Operand::Part(j)) if *j == i);

        let first = take(&|_| true)?.1;
        let mut packed = 0;
        let mut only = None;
        let value = match first.function {
            Function::Sum | Function::Add if (1..=8).contains(&first.operands.len()) => {
                Value::Sum(first.operands.iter().map(|x| codes(x).map(|(_, x)| x)).collect::<Option<_>>()?)
            }
            Function::ReluGrad | Function::ClipGrad { .. } => {
                only = Some(passing(first.function, first.operands.get(1)?)?);
                Value::Sum(vec![operand_codes(first, 0)?])
            }
            Function::Normalize { .. } => {
                let x = operand_codes(first, 0)?;
                let add = |part: &Part<'a>| {
                    matches!(part.function, Function::Add | Function::Sum) && part.operands.len() == 2
                };
                let skip = match take(&add) {
                    None => None,
                    // Sums of two do not depend on their order, but for a NaN's bits, which packing drops.
                    Some((i, part)) => {
                        packed = i;
                        let other = usize::from(is_part(part.operands.first(), 0));
                        let from_first = is_part(part.operands.get(1 - other), 0);
                        Some((operand_codes(part, other).filter(|_| from_first)?, pack(first)?))
                    }
                };
                Value::Normalize { x, skip }
            }
            Function::NormalizeGradInput { .. } => {
                Value::Gradient { dy: operand_codes(first, 0)?, x: operand_codes(first, 1)? }
            }
            _ => return None,
        };
        if only.is_none() && matches!(value, Value::Sum(_)) && first.rounding.is_none() {
            let gradient = take(&|part| is_part(part.operands.first(), 0))?;
            packed = gradient.0;
            only = Some(passing(gradient.1.function, gradient.1.operands.get(1)?)?);
        }
        let rounding = parts[packed].rounding;
        let clamp = match take(&|part| part.rounding == rounding && is_part(part.operands.first(), packed)) {
            None => None,
            Some((i, part)) => Some((i, ceiling(part.function, rounding?.0)?)),
        };
        let fits = registers::fits(tiles) && rest.is_empty();
        let pack = pack(&parts[packed])?;
        fits.then_some(Fused { value, passing: only, packed, pack, clamp })
    }

    /// Computes the first elements of a tile, counts for each part, and gives how many they are.
    pub(super) fn run(
        &self,
        steps: &[Step<'_>],
        tiles: &Tiles,
        places: &[SharedOutput],
        tile: Tile,
        counts: &mut [Counts],
    ) -> usize {
        let Some((_, y)) = places.first().and_then(SharedOutput::bytes) else { return 0 };
        // SAFETY: operands and output have the chain's shape, and this task alone writes the tile's elements.
        unsafe { self.run_at(y, tiles.row(), steps, tiles, tile, counts) }
    }

    /// Writes the codes of a tile to `codes`, which holds as many.
    pub(super) fn unpack(&self, steps: &[Step<'_>], tiles: &Tiles, tile: Tile, codes: &mut [u8]) {
        debug_assert!(codes.len() == tile.len);
        let y = codes.as_mut_ptr().wrapping_sub(tile.start);
        let mut counts = [Counts::default(); PARTS];
        let row = if tile.row_len == tiles.row() { tiles.row() } else { 0 };
        // SAFETY: operands have the chain's shape, and the codes are as many as the tile's elements.
        unsafe {
            let done = self.run_at(y, row, steps, tiles, tile, &mut counts);
            if done < tile.len {
                self.run_at(y, 0, steps, tiles, tile.after(done), &mut counts);
            }
        }
    }

    /// As [`Fused::run`], to the place where the first code of the whole result is, or would be; `row` is the length of
    /// rows, or 0 where it is not to matter.
    ///
    /// # Safety
    /// The tile's elements are inside the operands, their codes may be written, and no other task touches these.
    unsafe fn run_at(
        &self,
        y: *mut u8,
        row: usize,
        steps: &[Step<'_>],
        tiles: &Tiles,
        tile: Tile,
        counts: &mut [Counts],
    ) -> usize {
        let table = |k: usize| steps[0].tables.get(k).map_or(&[][..], |table| tiles.per_row(table, tile));
        let mut work = Work {
            tile,
            row,
            pack: self.pack,
            ceiling: self.clamp.map(|(_, ceiling)| ceiling),
            y,
            packed: Counts::default(),
            clamped: Counts::default(),
        };
        // SAFETY: there is a `Pack64` only where the processor has the instructions; the rest is the caller's promise.
        let done = unsafe {
            match &self.value {
                Value::Sum(terms) => work.sum(terms, self.passing),
                Value::Normalize { x, skip } => {
                    let factors = [table(0), table(1), table(2)];
                    work.normalize(*x, *skip, factors, &mut counts[0])
                }
                Value::Gradient { dy, x } => work.gradient([*dy, *x], [table(0), table(1), table(2), table(3)]),
            }
        };
        counts[self.packed] += work.packed;
        if let Some((part, _)) = self.clamp {
            counts[part] += work.clamped;
        }
        done
    }
}
