//! Chains whose last result is stored nowhere: elements are computed where they are read.

use std::sync::Arc;

use bitbudget_formats::Overflow;

use super::apply::apply;
use super::check::{Planned, check_parts};
use super::fused::{BoundFused, Fused};
use super::lookup::Table;
use super::mask::Masked;
use super::operands::Operands;
use super::part::{ChainData, ChainOperand, PlannedOperand, PlannedPart};
use super::plan::{Plan, SHORTEST_TILE, Step, Target, Values};
use super::residual::Residual;
use super::run::{load, round, run_step};
use crate::elementwise::function::Function;
use crate::elementwise::normalize::{Kink, add_normalized, clamp_all, normalize_and_clamp};
use crate::error::{ShapeError, geometry};
use crate::tensors::elements::{Bounds, Elements, Mask, Storage};
use crate::tensors::parallel::with_scratch;
use crate::tensors::tile::{TILES, Tile};

/// Slots of a chain that is read without memory from the heap.
const FEW: usize = 8;

/// A chain that is read, without what it reads itself.
pub(crate) struct ReadPlan {
    planned: Planned,
    plan: Plan,
    way: Way,
    /// The tensors that are read, in the order of the operands.
    tensors: Vec<usize>,
    /// Whether finite ones give finite numbers: every result saturates.
    keeps_finite: bool,
}

/// A chain that is read.
pub(crate) struct Reader<'a> {
    plan: Arc<ReadPlan>,
    values: Values<'a>,
    way: BoundWay<'a>,
}

/// How elements are computed.
enum Way {
    /// Part by part, the last one where the result goes.
    Steps,
    /// A normalisation and what follows it, in one loop.
    Normalize(Normalize<usize>),
    /// A kink alone, where the numbers are.
    Clamp(usize, Kink),
    /// By a table of all codes of the only tensor.
    Lookup(Box<Table>),
    /// In registers, by way of codes.
    Codes(Box<Fused>),
}

/// The same with what is read.
enum BoundWay<'a> {
    Steps,
    Normalize(Normalize<&'a [f32]>),
    Clamp(Elements<'a>, Kink),
    /// The tensor's codes, and those of its table.
    Lookup((&'a [u8], Vec<u8>)),
    Codes(Box<BoundFused<'a>>),
}

/// `kink((x - mean) * factor + bias)`, with something added before the kink, on FP32 numbers that nothing rounds.
#[derive(Clone, Copy)]
struct Normalize<X> {
    x: X,
    added: Added<X>,
    kink: Kink,
}

/// The tensor that is added to a normalised one.
#[derive(Clone, Copy)]
enum Added<X> {
    Nothing,
    Stored(X),
    /// Normalised itself, by the parts with these numbers; and whether each of both is rectified.
    Normalized(X, [usize; 2], [bool; 2]),
}

impl ReadPlan {
    pub(crate) fn new(
        shape: [usize; 3],
        parts: &[PlannedPart],
        tensors: &[Storage],
        scalars: usize,
    ) -> Result<Self, ShapeError> {
        if parts.is_empty() {
            return Err(geometry("chain", "no part computes what is read"));
        }
        check_parts(parts, tensors, scalars, &[])?;
        let planned = Planned::new(shape, parts, tensors, scalars, &[]);
        let shorter = Masked::new(parts).and_then(|masked| masked.shorter(parts));
        let parts = shorter.as_deref().unwrap_or(parts);
        let mut plan = Plan::new(shape, parts, tensors, &[]);
        plan.steps.iter_mut().filter(|step| step.is_rounded).for_each(|step| step.rounding = None);
        let table = || Table::new(shape, parts, tensors).map(|table| Way::Lookup(Box::new(table)));
        let codes = || Fused::read(&plan.tiles, parts, tensors).map(|fused| Way::Codes(Box::new(fused)));
        let normalize = Normalize::new(parts, tensors).map(Way::Normalize);
        let way = normalize.or_else(table).or_else(|| alone(&plan, parts)).or_else(codes).unwrap_or(Way::Steps);
        let operands = parts.iter().flat_map(|part| &part.operands);
        let tensor = |operand: &PlannedOperand| if let ChainOperand::Elements(x) = *operand { Some(x) } else { None };
        let (tensors, keeps_finite) = (operands.filter_map(tensor).collect(), parts.iter().all(gives_finite));
        Ok(ReadPlan { planned, plan, way, tensors, keeps_finite })
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(plan: Arc<ReadPlan>, data: ChainData<'a>) -> Result<Self, ShapeError> {
        plan.planned.check(&data, &[])?;
        let values = plan.plan.bind(data);
        let numbers = |x: usize| values.tensors[x].numbers();
        let way = match &plan.way {
            Way::Steps => None,
            Way::Normalize(normalize) => normalize.bind(numbers).map(BoundWay::Normalize),
            Way::Clamp(x, kink) => Some(BoundWay::Clamp(values.tensors[*x], *kink)),
            Way::Lookup(table) => table.bind(&values).map(BoundWay::Lookup),
            Way::Codes(fused) => fused.bind(&values, &[]).map(|fused| BoundWay::Codes(Box::new(fused))),
        };
        Ok(Reader { way: way.unwrap_or(BoundWay::Steps), plan, values })
    }

    /// The mask that the chain computes, if it computes nothing else.
    pub(crate) fn mask(&self) -> Option<Mask<'_>> {
        let ReadPlan { plan, tensors, .. } = &*self.plan;
        let [step] = plan.steps.as_slice() else { return None };
        let Function::NormalizeMask { low, high, .. } = step.function else { return None };
        let [dy, x] = *tensors.as_slice() else { return None };
        let tables = std::array::from_fn(|k| step.table(k, plan, &self.values));
        let [dy, x] = [dy, x].map(|x| self.values.tensors[x]);
        let mask = Mask { dy, x, bounds: Bounds { low, high }, tables };
        step.rounding.is_none().then_some(mask)
    }

    /// Whether all numbers are known to be finite.
    pub(crate) fn is_finite(&self) -> bool {
        let ReadPlan { plan, tensors, keeps_finite, .. } = &*self.plan;
        let values = &self.values;
        *keeps_finite
            && plan.steps.iter().all(|step| step.has_finite_tables(plan, values))
            && plan.constants.iter().all(|&(_, number)| values.scalars[number].is_finite())
            && tensors.iter().all(|&x| values.tensors[x].is_finite())
    }

    /// Elements of scratch memory that reading a chain takes at most, of so many operands and parts together.
    pub(crate) fn scratch(operands_and_parts: usize) -> usize {
        TILES.max(operands_and_parts * SHORTEST_TILE) + SHORTEST_TILE
    }

    /// Writes the elements from `start` on to `y`, as many as it holds.
    pub(crate) fn unpack(&self, start: usize, y: &mut [f32]) {
        match &self.way {
            BoundWay::Steps => self.steps(start, y),
            BoundWay::Normalize(normalize) => self.normalize(normalize, start, y),
            BoundWay::Clamp(x, kink) => {
                x.unpack(start, y);
                clamp_all(*kink, y);
            }
            BoundWay::Lookup(codes) => {
                if let Way::Lookup(table) = &self.plan.way {
                    table.unpack(codes, start, y);
                }
            }
            BoundWay::Codes(fused) => {
                let plan = &self.plan.plan;
                for tile in plan.tiles.cover(start, y.len(), usize::MAX) {
                    fused.unpack(plan, &self.values, tile, &mut y[tile.start - start..][..tile.len]);
                }
            }
        }
    }

    fn normalize(&self, normalize: &Normalize<&[f32]>, start: usize, y: &mut [f32]) {
        let plan = &self.plan.plan;
        let tables = |step: usize, tile: Tile| -> [&[f32]; 3] {
            std::array::from_fn(|k| plan.steps[step].rows(k, plan, &self.values, tile))
        };
        for tile in plan.tiles.cover(start, y.len(), usize::MAX) {
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
        let plan = &self.plan.plan;
        let longest = plan.tiles.longest();
        with_scratch(plan.slots * longest, |scratch| {
            let mut slots = scratch.chunks_mut(longest);
            if plan.slots > FEW {
                return self.steps_in(&mut slots.collect::<Vec<_>>(), start, y);
            }
            let mut few: [&mut [f32]; FEW] = std::array::from_fn(|_| slots.next().unwrap_or_default());
            self.steps_in(&mut few, start, y);
        });
    }

    fn steps_in(&self, slots: &mut [&mut [f32]], start: usize, y: &mut [f32]) {
        let (plan, values) = (&self.plan.plan, &self.values);
        let Some((last, before)) = plan.steps.split_last() else { return };
        for &(slot, number) in &plan.constants {
            slots[slot].fill(values.scalars[number]);
        }
        for tile in plan.tiles.cover(start, y.len(), usize::MAX) {
            for step in before {
                run_step(plan, step, values, &[], slots, tile);
            }
            self.last(last, slots, tile, &mut y[tile.start - start..][..tile.len]);
        }
    }

    fn last(&self, step: &Step, slots: &mut [&mut [f32]], tile: Tile, y: &mut [f32]) {
        let (plan, values) = (&self.plan.plan, &self.values);
        load(plan, step, values, slots, tile);
        apply(&step.function, &Operands { plan, step, values, slots, places: &[], tile }, y);
        if let (Some(rounding), Target::Slot { keeps_infinity, .. }) = (step.rounding, step.target) {
            round(rounding, keeps_infinity, y);
        }
    }
}

/// The way of a kink alone, whose numbers nothing rounds any more.
fn alone(plan: &Plan, parts: &[PlannedPart]) -> Option<Way> {
    let ([part], [step]) = (parts, plan.steps.as_slice()) else { return None };
    let kink = match part.function {
        Function::Relu => Kink::Relu,
        Function::Clip { min, max } => Kink::Clip { min, max },
        _ => return None,
    };
    match (part.operands.first()?, step.rounding) {
        (ChainOperand::Elements(x), None) => Some(Way::Clamp(*x, kink)),
        _ => None,
    }
}

/// Whether a part gives finite numbers from those of its operands, and factors, that are finite.
fn gives_finite(part: &PlannedPart) -> bool {
    // Vectors of channels that are no factors are not looked at.
    let takes = |operand: &PlannedOperand| {
        matches!(operand, ChainOperand::Elements(_) | ChainOperand::Part(_) | ChainOperand::Scalar(_))
    };
    let reads = matches!(part.function, Function::Normalize { .. }) || part.operands.iter().all(takes);
    part.function.keeps_finite() && reads && matches!(part.rounding, Some((_, Overflow::Saturate)))
}

impl Normalize<usize> {
    /// None where the chain is another one.
    fn new(parts: &[PlannedPart], tensors: &[Storage]) -> Option<Self> {
        let numbers = |operand: &PlannedOperand| match *operand {
            ChainOperand::Elements(x) => Some(x).filter(|x| tensors[*x].holds_numbers()),
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
        let follows = |part: &PlannedPart| matches!(part.operands.first(), Some(ChainOperand::Part(j)) if *j == last);
        (parts[last + 1..].len() <= 1 && parts[last + 1..].iter().all(follows)).then_some(Normalize { x, added, kink })
    }

    /// The same with the numbers of the tensors.
    fn bind<'a>(self, numbers: impl Fn(usize) -> Option<&'a [f32]>) -> Option<Normalize<&'a [f32]>> {
        let added = match self.added {
            Added::Nothing => Added::Nothing,
            Added::Stored(x) => Added::Stored(numbers(x)?),
            Added::Normalized(x, parts, rectified) => Added::Normalized(numbers(x)?, parts, rectified),
        };
        Some(Normalize { x: numbers(self.x)?, added, kink: self.kink })
    }
}
