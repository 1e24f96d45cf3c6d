//! Chains whose last result is stored nowhere: elements are computed where they are read.

use bitbudget_formats::Overflow;
#[cfg(target_arch = "x86_64")]
use bitbudget_formats::Unpack64;

use super::apply::apply;
#[cfg(target_arch = "x86_64")]
use super::fused::Fused;
use super::lookup::Table;
use super::mask::Masked;
use super::operands::Operands;
use super::part::{Operand, Part};
use super::plan::{Plan, SHORTEST_TILE, Step, Target};
use super::residual::Residual;
use super::run::{load, round, run_step};
use crate::elementwise::function::Function;
use crate::elementwise::normalize::{Kink, add_normalized, clamp_all, normalize_and_clamp};
use crate::error::{ShapeError, geometry};
use crate::tensors::elements::{Bounds, Elements, Mask};
use crate::tensors::parallel::with_scratch;
use crate::tensors::tile::{TILES, Tile};

/// Slots of a chain that is read without memory from the heap.
const FEW: usize = 8;

/// A chain that is read.
pub(crate) struct Reader<'a> {
    plan: Plan<'a>,
    way: Way<'a>,
    /// The tensors that are read, in the order of the operands.
    tensors: Vec<Elements<'a>>,
    /// Whether finite ones give finite numbers: every result saturates.
    keeps_finite: bool,
}

/// How elements are computed.
enum Way<'a> {
    /// Part by part, the last one where the result goes.
    Steps,
    /// A normalisation and what follows it, in one loop.
    Normalize(Box<Normalize<'a>>),
    /// A kink alone, where the numbers are.
    Clamp(Elements<'a>, Kink),
    /// By a table of all codes of the only tensor.
    Lookup(Box<Table<'a>>),
    /// In registers, by way of codes.
    #[cfg(target_arch = "x86_64")]
    Codes(Box<Fused<'a>>, Unpack64),
}

/// `kink((x - mean) * factor + bias)`, with something added before the kink, on FP32 numbers that nothing rounds.
struct Normalize<'a> {
    x: &'a [f32],
    added: Added<'a>,
    kink: Kink,
}

/// What is added to a normalised tensor.
enum Added<'a> {
    Nothing,
    Stored(&'a [f32]),
    /// Normalised itself, by the parts with these numbers; and whether each of both is rectified.
    Normalized(&'a [f32], [usize; 2], [bool; 2]),
}

impl<'a> Reader<'a> {
    pub(crate) fn new(shape: [usize; 3], parts: &[Part<'a>]) -> Result<Self, ShapeError> {
        if parts.is_empty() {
            return Err(geometry("chain", "no part computes what is read"));
        }
        let shorter = Masked::new(parts).and_then(|masked| masked.shorter(parts));
        let parts = shorter.as_deref().unwrap_or(parts);
        let mut plan = Plan::new(shape, parts, &[])?;
        plan.steps.iter_mut().filter(|step| step.is_rounded).for_each(|step| step.rounding = None);
        let way = match (Normalize::new(parts), Table::new(shape, parts)?) {
            (Some(normalize), _) => Way::Normalize(Box::new(normalize)),
            (None, Some(table)) => Way::Lookup(Box::new(table)),
            (None, None) => alone(&plan, parts).or_else(|| codes(&plan, parts)).unwrap_or(Way::Steps),
        };
        let operands = parts.iter().flat_map(|part| &part.operands);
        let tensor = |operand: &Operand<'a>| if let Operand::Elements(x) = *operand { Some(x) } else { None };
        let (tensors, keeps_finite) = (operands.filter_map(tensor).collect(), parts.iter().all(gives_finite));
        Ok(Reader { plan, way, tensors, keeps_finite })
    }

    /// What the chain computes, if a mask is all that it is.
    pub(crate) fn mask(&self) -> Option<Mask<'_>> {
        let [step] = self.plan.steps.as_slice() else { return None };
        let Function::NormalizeMask { low, high, .. } = step.function else { return None };
        let [mean, factor, bias] = step.tables.as_slice() else { return None };
        let [dy, x] = *self.tensors.as_slice() else { return None };
        let mask = Mask { dy, x, bounds: Bounds { low, high }, tables: [mean, factor, bias] };
        step.rounding.is_none().then_some(mask)
    }

    /// Whether all numbers are known to be finite.
    pub(crate) fn is_finite(&self) -> bool {
        let factors = self.plan.steps.iter().flat_map(|step| step.tables.iter().flatten());
        let mut factors = factors.chain(self.plan.constants.iter().map(|(_, constant)| constant));
        self.keeps_finite && factors.all(|factor| factor.is_finite()) && self.tensors.iter().all(|x| x.is_finite())
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
            Way::Clamp(x, kink) => {
                x.unpack(start, y);
                clamp_all(*kink, y);
            }
            Way::Lookup(table) => table.unpack(start, y),
            #[cfg(target_arch = "x86_64")]
            Way::Codes(fused, unpack) => {
                let Plan { tiles, steps, .. } = &self.plan;
                for tile in tiles.cover(start, y.len(), usize::MAX) {
                    fused.unpack(*unpack, steps, tiles, tile, &mut y[tile.start - start..][..tile.len]);
                }
            }
        }
    }

    fn normalize(&self, normalize: &Normalize<'_>, start: usize, y: &mut [f32]) {
        let Plan { tiles, steps, .. } = &self.plan;
        let tables = |step: usize, tile: Tile| -> [&[f32]; 3] {
            std::array::from_fn(|k| steps[step].tables.get(k).map_or(&[][..], |table| tiles.per_row(table, tile)))
        };
        for tile in tiles.cover(start, y.len(), usize::MAX) {
            let range = tile.start..tile.start + tile.len;
            let (x, y) = (&normalize.x[range.clone()], &mut y[tile.start - start..][..tile.len]);
            match normalize.added {
                Added::Nothing => normalize_and_clamp(tile.row_len, x, &[], tables(0, tile), normalize.kink, y),
                Added::Stored(skip) => {
                    normalize_and_clamp(tile.row_len, x, &skip[range], tables(0, tile), normalize.kink, y);
                }
                Added::Normalized(z, parts, rectified) => {
                    let tables = parts.map(|part| tables(part, tile));
                    add_normalized(tile.row_len, [x, &z[range]], tables, rectified, normalize.kink, y);
                }
            }
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

/// The way of a kink alone, whose numbers nothing rounds any more.
fn alone<'a>(plan: &Plan<'_>, parts: &[Part<'a>]) -> Option<Way<'a>> {
    let ([part], [step]) = (parts, plan.steps.as_slice()) else { return None };
    let kink = match part.function {
        Function::Relu => Kink::Relu,
        Function::Clip { min, max } => Kink::Clip { min, max },
        _ => return None,
    };
    match (part.operands.first()?, step.rounding) {
        (Operand::Elements(x), None) => Some(Way::Clamp(*x, kink)),
        _ => None,
    }
}

/// The way by codes, where there is one.
#[cfg(target_arch = "x86_64")]
fn codes<'a>(plan: &Plan<'a>, parts: &[Part<'a>]) -> Option<Way<'a>> {
    let (format, _) = parts.last()?.rounding?;
    Some(Way::Codes(Box::new(Fused::read(&plan.tiles, parts)?), Unpack64::new(format)?))
}

/// There is none here.
#[cfg(not(target_arch = "x86_64"))]
fn codes<'a>(_: &Plan<'a>, _: &[Part<'a>]) -> Option<Way<'a>> {
    None
}

/// Whether a part gives finite numbers from those of its operands, and factors, that are finite.
fn gives_finite(part: &Part<'_>) -> bool {
    // Vectors of channels that are no factors are not looked at.
    let takes = |operand: &Operand<'_>| matches!(operand, Operand::Elements(_) | Operand::Part(_) | Operand::Scalar(_));
    let reads = matches!(part.function, Function::Normalize { .. }) || part.operands.iter().all(takes);
    part.function.keeps_finite() && reads && matches!(part.rounding, Some((_, Overflow::Saturate)))
}

impl<'a> Normalize<'a> {
    /// None where the chain is another one.
    fn new(parts: &[Part<'a>]) -> Option<Self> {
        let numbers = |operand: &Operand<'a>| match operand {
            Operand::Elements(x) => x.numbers(),
            _ => None,
        };
        let first = parts.first()?;
        if !matches!(first.function, Function::Normalize { .. }) || parts.iter().any(|part| part.rounding.is_some()) {
            return None;
        }
        let of_part = |i: usize| numbers(parts[i].operands.first()?);
        let (x, added, last) = match Residual::new(parts) {
            None => (of_part(0)?, Added::Nothing, 0),
            Some(Residual { at, sides: [a, b] }) => match (a.normalized?, b.normalized) {
                (i, Some(j)) => {
                    let rectified = [a.rectified, b.rectified];
                    (of_part(i)?, Added::Normalized(of_part(j)?, [i, j], rectified), at)
                }
                (i, None) => {
                    let stored = parts[at].operands.iter().find_map(numbers).filter(|_| !a.rectified)?;
                    (of_part(i)?, Added::Stored(stored), at)
                }
            },
        };
        let kink = match parts.get(last + 1) {
            None => Kink::None,
            Some(part) => match part.function {
                Function::Relu => Kink::Relu,
                Function::Clip { min, max } => Kink::Clip { min, max },
                _ => return None,
            },
        };
        let follows = |part: &Part<'_>| matches!(part.operands.first(), Some(Operand::Part(j)) if *j == last);
        (parts[last + 1..].len() <= 1 && parts[last + 1..].iter().all(follows)).then_some(Normalize { x, added, kink })
    }
}
