//! Chains over one-byte codes of the paper's formats that stay in registers, 64 elements at a time, on processors with
//! AVX-512 VBMI: a sum, a normalisation or its gradient, which may be of what a kink behind the normalisation lets through;
//! then what a kink lets through; then what clamps the result.
//!
//! The bits and counts are those of the tiles in memory, which take the elements that are left over.

use bitbudget_formats::{Counts, Format, Overflow, Pack64, Unpack64, pack_u8};

use super::mask::Masked;
use super::part::{ChainOperand, PlannedOperand, PlannedPart};
use super::plan::{Plan, Step, Values};
use super::registers::{self, Passing, Skip, Target, Work};
use super::residual::Residual;
use crate::elementwise::function::Function;
use crate::tensors::blocks::{Bytes, Codes, Gate};
use crate::tensors::elements::{Bounds, ResultStorage, SharedOutput, Storage, Stored};
use crate::tensors::tile::{Tile, Tiles};

/// Parts of the longest chain that runs in registers.
const PARTS: usize = 6;

/// A chain that runs in registers, over operands `C`.
#[derive(Clone)]
pub(super) struct Fused<C = Coded> {
    value: Value<C>,
    /// Lets elements of the sum through: where the code is from 1 to this one, or NaN.
    passing: Option<(C, u8)>,
    /// The part whose result is packed first.
    packed: usize,
    pack: Pack64,
    /// The part that clamps codes, and the largest code that it leaves.
    clamp: Option<(usize, u8)>,
    /// The decoder of the result's codes, where it is read.
    unpack: Option<Unpack64>,
}

/// A chain with the codes of its operands.
pub(super) type BoundFused<'a> = Fused<Codes<'a>>;

/// Where the codes of an operand are, and what makes numbers of them.
#[derive(Clone, Copy)]
pub(super) struct Coded {
    place: Place,
    unpack: Unpack64,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Tensor(usize),
    Output(usize),
}

impl Coded {
    /// The codes in one run.
    fn bind<'a>(self, values: &Values<'a>, places: &[SharedOutput]) -> Option<Codes<'a>> {
        let codes = match self.place {
            Place::Tensor(x) => match values.tensors[x].stored() {
                Stored::U8(_, codes) => codes.into(),
                _ => return None,
            },
            Place::Output(output) => Bytes::replaced(places.get(output)?.bytes()?.1, places[output].len()),
        };
        Some(Codes { codes, unpack: self.unpack })
    }
}

#[derive(Clone)]
enum Value<C> {
    /// Codes are added in their order.
    Sum(Vec<C>),
    Normalize {
        x: C,
        /// The part that normalises it.
        part: usize,
        /// The tensor that is added to the rounded result, and whether the sum is rectified.
        skip: Option<(Skipped<C>, Pack64, bool)>,
    },
    Gradient {
        dy: C,
        x: C,
        gated: Option<Gated>,
    },
}

/// The tensor that is added to a normalised one.
#[derive(Clone, Copy)]
enum Skipped<C> {
    Stored(C),
    /// Normalised by a part of its own.
    Normalized {
        codes: C,
        part: usize,
        pack: Pack64,
        rectified: bool,
    },
}

impl<C: Copy> Value<C> {
    /// The same of other operands.
    fn map<D>(&self, f: impl Fn(C) -> Option<D>) -> Option<Value<D>> {
        Some(match *self {
            Value::Sum(ref terms) => Value::Sum(terms.iter().map(|&x| f(x)).collect::<Option<_>>()?),
            Value::Normalize { x, part, skip } => {
                let skip = match skip {
                    None => None,
                    Some((Skipped::Stored(codes), pack, rectifies)) => {
                        Some((Skipped::Stored(f(codes)?), pack, rectifies))
                    }
                    Some((Skipped::Normalized { codes, part, pack: own, rectified }, pack, rectifies)) => {
                        Some((Skipped::Normalized { codes: f(codes)?, part, pack: own, rectified }, pack, rectifies))
                    }
                };
                Value::Normalize { x: f(x)?, part, skip }
            }
            Value::Gradient { dy, x, gated } => Value::Gradient { dy: f(dy)?, x: f(x)?, gated },
        })
    }
}

/// How the tensors of a chain are stored.
#[derive(Clone, Copy)]
pub(super) struct Storages<'s> {
    pub(super) tensors: &'s [Storage],
    pub(super) outputs: &'s [ResultStorage],
}

impl Storages<'_> {
    /// The codes of an operand of one byte an element.
    fn codes(self, operand: &PlannedOperand) -> Option<(Format, Coded)> {
        let (format, place) = match *operand {
            ChainOperand::Elements(x) => (self.tensors[x].bytes()?, Place::Tensor(x)),
            ChainOperand::Output(output) => (self.outputs.get(output)?.bytes()?, Place::Output(output)),
            _ => return None,
        };
        Some((format, Coded { place, unpack: Unpack64::new(format)? }))
    }

    /// Which positive codes of the second operand let the first through, if the function is a gradient that is 0 elsewhere.
    fn passing(self, function: &Function, operand: &PlannedOperand) -> Option<(Coded, u8)> {
        let (format, codes) = self.codes(operand)?;
        // Of these formats' codes, those of positive numbers are positive bytes, and the sign bit alone is NaN.
        Pack64::new(format, Overflow::Saturate)?;
        let last = match *function {
            Function::ReluGrad => u8::MAX >> 1,
            Function::ClipGrad { min: 0.0, max } => code(format, max)? - 1,
            _ => return None,
        };
        Some((codes, last))
    }
}

/// The part of a gradient that a kink behind the same normalisation lets through, as the chain's first parts.
#[derive(Clone, Copy)]
struct Gated {
    /// The part that passes the gradient on.
    at: usize,
    bounds: Bounds,
    /// The format that the parts before it round to, if they do.
    rounded: Option<Format>,
    /// Whether it rounds itself.
    is_rounded: bool,
}

impl Gated {
    /// None where the chain begins otherwise.
    fn new(parts: &[PlannedPart]) -> Option<Gated> {
        let first = parts.first()?;
        let (at, bounds) = match first.function {
            Function::NormalizeMask { low, high, .. } => (0, Bounds { low, high }),
            _ => Masked::new(parts).map(|masked| (masked.at, masked.bounds))?,
        };
        let rounded = first.rounding.filter(|_| at > 0).map(|(format, _)| format);
        Some(Gated { at, bounds, rounded, is_rounded: parts.get(at)?.rounding.is_some() })
    }

    fn count(self, found: registers::GateCounts, counts: &mut [Counts]) {
        let of_nan = |nan: u64| Counts { overflow: nan, not_finite: nan, ..Counts::default() };
        if self.rounded.is_some() {
            counts[0] += found.normalized;
        }
        if self.rounded.is_some() && self.at == 2 {
            counts[1] += of_nan(found.nan);
        }
        if self.is_rounded {
            counts[self.at] += of_nan(found.passed);
        }
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

/// The largest code that a clamp from 0 on leaves.
fn ceiling(function: &Function, format: Format) -> Option<u8> {
    match *function {
        Function::Relu => Some(u8::MAX >> 1),
        Function::Clip { min: 0.0, max } => code(format, max),
        _ => None,
    }
}

fn is_part(operand: Option<&PlannedOperand>, i: usize) -> bool {
    matches!(operand, Some(ChainOperand::Part(j)) if *j == i)
}

impl Fused {
    /// None where the chain is another one, or is stored, but not in bytes.
    pub(super) fn new(tiles: &Tiles, parts: &[PlannedPart], storages: Storages<'_>) -> Option<Self> {
        let fits = match storages.outputs {
            [] => true,
            [first, ..] => parts.last()?.output == Some(0) && first.bytes().is_some(),
        };
        Fused::of(tiles, parts, storages, true).filter(|_| fits)
    }

    /// As [`Fused::new`], for a chain whose last result is stored nowhere.
    pub(super) fn read(tiles: &Tiles, parts: &[PlannedPart], tensors: &[Storage]) -> Option<Self> {
        let (format, _) = parts.last()?.rounding?;
        let fused = Fused::of(tiles, parts, Storages { tensors, outputs: &[] }, false)?;
        Some(Fused { unpack: Some(Unpack64::new(format)?), ..fused })
    }

    fn of(tiles: &Tiles, parts: &[PlannedPart], storages: Storages<'_>, counts: bool) -> Option<Self> {
        if let Some(gated) = Gated::new(parts) {
            return Fused::gated(tiles, parts, storages, gated);
        }
        let (_, before) = parts.split_last()?;
        if !crate::words::simd::has_avx512() {
            return None;
        }
        if before.iter().any(|part| part.output.is_some()) {
            return None;
        }
        let pack = |part: &PlannedPart| part.rounding.and_then(|(format, overflow)| Pack64::new(format, overflow));
        let mut rest = parts;
        let mut take = |wanted: &dyn Fn(&PlannedPart) -> bool| {
            let (part, others) = rest.split_first().filter(|(part, _)| wanted(part))?;
            rest = others;
            Some((parts.len() - others.len() - 1, part))
        };
        let operand_codes = |part: &PlannedPart, k: usize| Some(storages.codes(part.operands.get(k)?)?.1);

        let first = take(&|_| true)?.1;
        let mut packed = 0;
        let mut only = None;
        let value = match &first.function {
            Function::Sum | Function::Add if (1..=8).contains(&first.operands.len()) => {
                let terms = first.operands.iter().map(|x| storages.codes(x).map(|(_, x)| x));
                Value::Sum(terms.collect::<Option<_>>()?)
            }
            Function::ReluGrad | Function::ClipGrad { .. } => {
                only = Some(storages.passing(&first.function, first.operands.get(1)?)?);
                Value::Sum(vec![operand_codes(first, 0)?])
            }
            Function::Normalize { .. } => match Residual::new(parts) {
                None => Value::Normalize { x: operand_codes(first, 0)?, part: 0, skip: None },
                Some(Residual { at, sides: [a, b] }) => {
                    for _ in 1..=at {
                        take(&|_| true)?;
                    }
                    packed = at;
                    // Who only reads does not count what rectifiers pass on.
                    if (a.rectified || b.rectified) && counts {
                        return None;
                    }
                    let part = a.normalized?;
                    let skipped = match b.normalized {
                        None => {
                            let stored = |k: &usize| !matches!(parts[at].operands[*k], ChainOperand::Part(_));
                            Skipped::Stored(operand_codes(&parts[at], (0..2).find(stored)?)?)
                        }
                        Some(i) => {
                            let (codes, pack) = (operand_codes(&parts[i], 0)?, pack(&parts[i])?);
                            Skipped::Normalized { codes, part: i, pack, rectified: b.rectified }
                        }
                    };
                    let skip = Some((skipped, pack(&parts[part])?, a.rectified));
                    Value::Normalize { x: operand_codes(&parts[part], 0)?, part, skip }
                }
            },
            Function::NormalizeGradInput { .. } => {
                Value::Gradient { dy: operand_codes(first, 0)?, x: operand_codes(first, 1)?, gated: None }
            }
            _ => return None,
        };
        if only.is_none() && matches!(value, Value::Sum(_)) && first.rounding.is_none() {
            let gradient = take(&|part| is_part(part.operands.first(), 0))?;
            packed = gradient.0;
            only = Some(storages.passing(&gradient.1.function, gradient.1.operands.get(1)?)?);
        }
        let rounding = parts[packed].rounding;
        let clamp = match take(&|part| part.rounding == rounding && is_part(part.operands.first(), packed)) {
            None => None,
            Some((i, part)) => Some((i, ceiling(&part.function, rounding?.0)?)),
        };
        let fits = registers::fits(tiles) && rest.is_empty();
        let pack = pack(&parts[packed])?;
        fits.then_some(Fused { value, passing: only, packed, pack, clamp, unpack: None })
    }

    /// The gradient of a normalisation from what a gate lets through.
    fn gated(tiles: &Tiles, parts: &[PlannedPart], storages: Storages<'_>, gated: Gated) -> Option<Self> {
        let [before @ .., passing, gradient] = parts else { return None };
        let fits = crate::words::simd::has_avx512()
            && registers::fits(tiles)
            && before.len() == gated.at
            && matches!(gradient.function, Function::NormalizeGradInput { .. })
            && is_part(gradient.operands.first(), gated.at)
            && parts[..=gated.at].iter().all(|part| part.output.is_none());
        if !fits {
            return None;
        }
        // What is normalised is the last of the elements that the first part reads.
        let normalized = parts[0].operands.get(usize::from(gated.at == 0))?;
        let ((format, dy), (_, x)) =
            (storages.codes(passing.operands.first()?)?, storages.codes(gradient.operands.get(1)?)?);
        let is_same = storages.codes(normalized)?.1.place == x.place;
        let keeps = passing.rounding.is_none_or(|(to, _)| to == format);
        let pack = gradient.rounding.and_then(|(format, overflow)| Pack64::new(format, overflow))?;
        let value = Value::Gradient { dy, x, gated: Some(gated) };
        let (packed, clamp, unpack) = (gated.at + 1, None, None);
        (is_same && keeps).then_some(Fused { value, passing: None, packed, pack, clamp, unpack })
    }

    /// The chain with the codes of one run.
    pub(super) fn bind<'a>(&self, values: &Values<'a>, places: &[SharedOutput]) -> Option<BoundFused<'a>> {
        let bind = |coded: Coded| coded.bind(values, places);
        let passing = match self.passing {
            Some((coded, last)) => Some((bind(coded)?, last)),
            None => None,
        };
        let Fused { packed, pack, clamp, unpack, .. } = *self;
        Some(Fused { value: self.value.map(bind)?, passing, packed, pack, clamp, unpack })
    }
}

impl BoundFused<'_> {
    /// Computes the first elements of a tile, counts for each part, and gives how many they are.
    pub(super) fn run(
        &self,
        plan: &Plan,
        values: &Values<'_>,
        places: &[SharedOutput],
        tile: Tile,
        counts: &mut [Counts],
    ) -> usize {
        let to = match places.first().map(SharedOutput::bytes) {
            Some(Some((_, y))) => Target::Codes(y),
            Some(None) => return 0,
            None => Target::Nothing,
        };
        // SAFETY: operands and output have the chain's shape, and this task alone writes the tile's elements.
        unsafe { self.run_at(to, plan.tiles.row(), plan, values, tile, counts) }
    }

    /// Writes the numbers of a tile to `y`, which holds as many.
    pub(super) fn unpack(&self, plan: &Plan, values: &Values<'_>, tile: Tile, y: &mut [f32]) {
        debug_assert!(y.len() == tile.len && self.unpack.is_some());
        let Some(unpack) = self.unpack else { return };
        let to = Target::Numbers(y.as_mut_ptr().wrapping_sub(tile.start), unpack);
        let mut counts = [Counts::default(); PARTS];
        let row = if tile.row_len == plan.tiles.row() { tile.row_len } else { 0 };
        // SAFETY: operands have the chain's shape, and the numbers are as many as the tile's elements.
        unsafe {
            let done = self.run_at(to, row, plan, values, tile, &mut counts);
            if done < tile.len {
                self.run_at(to, 0, plan, values, tile.after(done), &mut counts);
            }
        }
    }

    /// As [`Fused::run`], to any place; `row` is the length of rows, or 0 where it is not to matter.
    ///
    /// # Safety
    /// The tile's elements are inside the operands, those of the place may be written, and no other task touches these.
    unsafe fn run_at(
        &self,
        to: Target,
        row: usize,
        plan: &Plan,
        values: &Values<'_>,
        tile: Tile,
        counts: &mut [Counts],
    ) -> usize {
        fn tables<'t, const N: usize>(step: &Step, plan: &Plan, values: &'t Values<'_>, tile: Tile) -> [&'t [f32]; N] {
            std::array::from_fn(|k| step.rows(k, plan, values, tile))
        }
        let of_step = |i: usize| tables::<3>(&plan.steps[i], plan, values, tile);
        let mut work = Work {
            tile,
            row,
            pack: self.pack,
            ceiling: self.clamp.map(|(_, ceiling)| ceiling),
            to,
            packed: Counts::default(),
            clamped: Counts::default(),
            done: 0,
        };
        // SAFETY: there is a `Pack64` only where the processor has the instructions; the rest is the caller's promise.
        unsafe {
            match &self.value {
                Value::Sum(terms) => {
                    work.sum(terms, self.passing.map(|(Codes { codes, .. }, last)| Passing { codes, last }));
                }
                Value::Normalize { x, part, skip } => {
                    let mut other = None;
                    let skip = skip.map(|(skip, pack, rectifies)| match skip {
                        Skipped::Stored(codes) => (Skip::Stored(codes), pack, rectifies),
                        Skipped::Normalized { codes, part, pack: own, rectified } => {
                            other = Some(part);
                            (Skip::Normalized(codes, of_step(part), own, rectified), pack, rectifies)
                        }
                    });
                    let mut rounded = [Counts::default(); 2];
                    work.normalize(*x, skip, of_step(*part), &mut rounded);
                    counts[*part] += rounded[0];
                    if let Some(other) = other {
                        counts[other] += rounded[1];
                    }
                }
                Value::Gradient { dy, x, gated: None } => {
                    work.gradient([*dy, *x], tables(&plan.steps[0], plan, values, tile), None);
                }
                Value::Gradient { dy, x, gated: Some(gated) } => {
                    let gate = Gate { bounds: gated.bounds, tables: of_step(0) };
                    let found = work.gradient(
                        [*dy, *x],
                        tables(&plan.steps[gated.at + 1], plan, values, tile),
                        Some((gate, gated.rounded)),
                    );
                    gated.count(found, counts);
                }
            }
        }
        counts[self.packed] += work.packed;
        if let Some((part, _)) = self.clamp {
            counts[part] += work.clamped;
        }
        work.done
    }
}
