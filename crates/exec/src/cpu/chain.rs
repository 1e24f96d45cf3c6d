//! Elementwise operators, alone or several in one pass over their operands.

use super::operands::Place;
use super::part::{BoundPart, Origin};
use super::sources::Sources;
use crate::error::Fault;
use bitbudget_formats::Counts;
use bitbudget_ir::Op;
use bitbudget_kernels::{
    ChainData, ChainPlan, DerivedPlan, Function, Output, PlannedOperand, PlannedPart, ResultStorage, ShapeError,
    Storage,
};
use bitbudget_select::geometry::channels;

/// One part of a chain before a step.
#[derive(Clone, Copy)]
pub(super) struct Link<'p> {
    pub(super) op: &'p Op,
    pub(super) part: &'p BoundPart,
    /// Shapes and storage of what it reads.
    pub(super) operands: &'p [Input<'p>],
}

/// An operand before a step.
#[derive(Clone, Copy)]
pub(super) struct Input<'p> {
    pub(super) shape: &'p [usize],
    /// Nothing where it is not stored, or holds no numbers.
    pub(super) storage: Option<Storage>,
}

/// Elementwise parts that are computed together, by a plan of the kernel.
#[derive(Debug)]
pub(super) struct Chain<P> {
    plan: P,
    /// Where the tensors that it reads are.
    tensors: Vec<Origin>,
    scalars: Vec<Origin>,
    skip: Option<Skip<P>>,
}

/// The plan that runs instead where a number is zero.
#[derive(Debug)]
struct Skip<P> {
    flag: Origin,
    /// Nothing where nothing would change.
    plan: Option<P>,
}

/// How a kernel plans a chain of some shape.
pub(super) type Make<'m, P> = &'m dyn Fn([usize; 3], &[PlannedPart], &[Storage], usize) -> Result<P, ShapeError>;

/// Plans of chains that write results which are stored so.
pub(super) fn stored(
    results: &[ResultStorage],
) -> impl Fn([usize; 3], &[PlannedPart], &[Storage], usize) -> Result<ChainPlan, ShapeError> + '_ {
    |shape, parts, tensors, scalars| ChainPlan::new(shape, parts, tensors, scalars, results)
}

/// The places in which the tensors and numbers of a chain are found.
#[derive(Default)]
struct Reads {
    tensors: Vec<Origin>,
    storage: Vec<Storage>,
    scalars: Vec<Origin>,
}

impl Reads {
    fn tensor(&mut self, origin: &Origin, storage: Storage) -> usize {
        self.tensors.iter().position(|other| other == origin).unwrap_or_else(|| {
            self.tensors.push(origin.clone());
            self.storage.push(storage);
            self.tensors.len() - 1
        })
    }

    /// Operand `i` of a part; `position` says where a part is in the chain, if it is there.
    fn operand(
        &mut self,
        link: Link<'_>,
        i: usize,
        shape: &[usize],
        position: impl Fn(usize) -> Option<usize>,
    ) -> Result<PlannedOperand, Fault> {
        let missing = || Fault::Operands(format!("operand {i} of {} must hold numbers", link.op.name()));
        let origin = link.part.origins.get(i).ok_or_else(missing)?;
        match origin {
            Origin::Part(part) if let Some(part) = position(*part) => return Ok(PlannedOperand::Part(part)),
            Origin::Output(output) => return Ok(PlannedOperand::Output(*output)),
            _ => {}
        }
        let Input { shape: own, storage } = *link.operands.get(i).ok_or_else(missing)?;
        let storage = storage.ok_or_else(missing)?;
        Ok(match own {
            // Where results are single numbers too, formulas still take scalars of the step, which are FP32, as such.
            _ if own == shape && (!own.is_empty() || !storage.holds_numbers()) => {
                PlannedOperand::Elements(self.tensor(origin, storage))
            }
            [] => {
                self.scalars.push(origin.clone());
                PlannedOperand::Scalar(self.scalars.len() - 1)
            }
            _ => PlannedOperand::Channel(self.tensor(origin, storage)),
        })
    }
}

/// Whether an operator is skipped where its last operand is zero, which leaves its first one as it is.
fn can_be_skipped(op: &Op) -> bool {
    matches!(
        op,
        Op::SgdVelocity(_)
            | Op::SgdParameter(_)
            | Op::AdamFirstMoment(_)
            | Op::AdamSecondMoment(_)
            | Op::AdamwParameter(_)
    )
}

/// How many operands a function reads; of others it only needs the shape, or whether they are zero.
fn operands(link: Link<'_>) -> usize {
    match link.op {
        Op::RunningVariance(_) => 2,
        op if can_be_skipped(op) => link.operands.len().saturating_sub(1),
        _ => link.operands.len(),
    }
}

impl<P> Chain<P> {
    /// The chain of some elementwise parts of a shape; `position` says where a part is among them, if it is.
    pub(super) fn new(
        links: &[Link<'_>],
        shape: &[usize],
        position: impl Fn(usize) -> Option<usize>,
        make: Make<'_, P>,
    ) -> Result<Chain<P>, Fault> {
        let (mut reads, mut parts) = (Reads::default(), Vec::with_capacity(links.len()));
        for &link in links {
            let function = link.part.elementwise.clone();
            let function = function.ok_or_else(|| Fault::Operands(format!("{} is no function", link.op.name())))?;
            let read = (0..operands(link)).map(|i| reads.operand(link, i, shape, &position));
            let operands = read.collect::<Result<_, Fault>>()?;
            parts.push(PlannedPart { function, operands, rounding: link.part.rounding, output: link.part.place });
        }
        let flag = flag(links)?;
        let Reads { tensors, storage, scalars } = reads;
        let plan = |parts: &[PlannedPart]| {
            let by_channel = |operand: &PlannedOperand| matches!(operand, PlannedOperand::Channel(_));
            let layout = match parts.iter().flat_map(|part| &part.operands).any(by_channel) {
                true => channels(shape),
                false => [1, 1, shape.iter().product()],
            };
            make(layout, parts, &storage, scalars.len())
        };
        let skip = match flag {
            None => None,
            Some(flag) => {
                let mut skipped = parts.clone();
                for (part, _) in skipped.iter_mut().zip(links).filter(|(_, link)| can_be_skipped(link.op)) {
                    part.function = Function::Copy;
                    part.operands.truncate(1);
                }
                let stays = |(part, link): (&PlannedPart, &Link<'_>)| {
                    let own = part.operands.first();
                    can_be_skipped(link.op) && matches!(own, Some(PlannedOperand::Output(i)) if part.output == Some(*i))
                };
                let is_idle = skipped.iter().zip(links).all(stays);
                Some(Skip { flag, plan: if is_idle { None } else { Some(plan(&skipped)?) } })
            }
        };
        Ok(Chain { plan: plan(&parts)?, tensors, scalars, skip })
    }

    /// The plan for this step, if anything changes, with what it reads.
    fn bind<'t>(&self, sources: &Sources<'_, 't>) -> Result<Option<(&P, ChainData<'t>)>, Fault> {
        let plan = match &self.skip {
            Some(Skip { flag, plan }) if sources.scalar(flag)? == 0.0 => plan.as_ref(),
            _ => Some(&self.plan),
        };
        let Some(plan) = plan else { return Ok(None) };
        let tensors = self.tensors.iter().map(|origin| sources.numbers(origin)).collect::<Result<_, Fault>>()?;
        let scalars = self.scalars.iter().map(|origin| sources.scalar(origin)).collect::<Result<_, Fault>>()?;
        Ok(Some((plan, ChainData { tensors, scalars })))
    }
}

/// The number that says whether parts are skipped.
fn flag(links: &[Link<'_>]) -> Result<Option<Origin>, Fault> {
    let mut flag = None;
    for link in links.iter().filter(|link| can_be_skipped(link.op)) {
        let own = link.part.origins.last();
        if *flag.get_or_insert(own) != own {
            return Err(Fault::Operands("parts of an instruction are skipped by different numbers".into()));
        }
    }
    Ok(flag.flatten().cloned())
}

impl Chain<ChainPlan> {
    /// Computes the parts, of which there are so many; their counts.
    pub(super) fn run(
        &self,
        sources: &Sources<'_, '_>,
        parts: usize,
        places: &mut [Place<'_>],
    ) -> Result<Vec<Counts>, Fault> {
        let Some((plan, data)) = self.bind(sources)? else { return Ok(vec![Counts::default(); parts]) };
        let mut outputs: Vec<Output<'_>> = Vec::with_capacity(places.len());
        for place in places.iter_mut() {
            outputs.push(place.numbers()?.reborrow());
        }
        Ok(plan.run(data, &mut outputs)?)
    }
}

impl Chain<DerivedPlan> {
    /// The last part's result, computed as it is read.
    pub(super) fn read<'t>(&self, sources: &Sources<'_, 't>) -> Result<bitbudget_kernels::Derived<'t>, Fault> {
        let unchanged = || Fault::Operands("nothing would be computed".into());
        let (plan, data) = self.bind(sources)?.ok_or_else(unchanged)?;
        Ok(plan.bind(data)?)
    }
}
