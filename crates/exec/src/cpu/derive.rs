//! Parts of an instruction that are stored nowhere, as operands that are computed as the parts behind read them.

use super::chain::{self, Chain, Input, Link};
use super::part::{BoundPart, Origin};
use super::sources::Sources;
use crate::error::Fault;
use bitbudget_formats::{Counts, Format, Overflow};
use bitbudget_ir::{Form, Op, Planes, Run, Shape};
use bitbudget_kernels::{self as kernels, ChainPlan, ChannelRun, Derived, DerivedPlan, Elements, Storage};
use bitbudget_program::{Kernel, Part, Role};
use bitbudget_select::geometry::channels;

/// The parts of an instruction by what becomes of them.
#[derive(Debug)]
pub(super) struct Split {
    /// Parts that are computed; the others are derived as these read them.
    pub(super) heads: Vec<usize>,
    /// The parts that are operands of their own, in order.
    derived: Vec<Derivation>,
    /// Parts of the instruction.
    parts: usize,
}

/// How a part is computed where it is read.
#[derive(Debug)]
struct Derivation {
    part: usize,
    /// The format of its numbers, and where these are stored if they are.
    storage: Storage,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// The operand that it shows in another shape.
    Shown(Origin),
    /// Elementwise parts, of which it is the last.
    Chain(Box<DerivedChain>),
    /// Channels of what it reads.
    Channels(Moved),
}

/// Elementwise parts that are computed where the last one is read.
#[derive(Debug)]
struct DerivedChain {
    parts: Vec<usize>,
    /// Counts what they overflow, where that is asked for.
    counted: Option<Chain<ChainPlan>>,
    chain: Chain<DerivedPlan>,
    /// Whether the last part rounds its result.
    is_rounded: bool,
}

/// Channels of several operands.
#[derive(Debug)]
struct Moved {
    batch: usize,
    plane: usize,
    runs: Vec<(Origin, Run)>,
    rounding: Option<(Format, Overflow)>,
    is_counted: bool,
}

/// The parts of an instruction before a step, with the shapes of their results and what they read.
#[derive(Clone, Copy)]
pub(super) struct Given<'p> {
    pub(super) parts: &'p [Part],
    pub(super) bound: &'p [BoundPart],
    pub(super) shapes: &'p [&'p [usize]],
    /// The shapes of each part's operands.
    pub(super) operands: &'p [Vec<&'p [usize]>],
    /// How what is stored is stored; nothing for what holds no numbers.
    pub(super) storage: &'p dyn Fn(&Origin) -> Option<Storage>,
}

impl<'p> Given<'p> {
    /// A chain of some of the parts, of which others are read as they are derived.
    pub(super) fn chain<P>(
        self,
        split: &Split,
        chosen: &[usize],
        shape: &[usize],
        make: chain::Make<'_, P>,
    ) -> Result<Chain<P>, Fault> {
        let inputs: Vec<Vec<Input<'_>>> = chosen.iter().map(|&i| self.inputs(split, i)).collect();
        let links = chosen.iter().zip(&inputs);
        let links: Vec<Link<'_>> =
            links.map(|(&i, operands)| Link { op: &self.parts[i].op, part: &self.bound[i], operands }).collect();
        Chain::new(&links, shape, |part| chosen.iter().position(|&i| i == part), make)
    }

    /// An operand of a part.
    pub(super) fn inputs(self, split: &Split, i: usize) -> Vec<Input<'p>> {
        let operands = self.operands[i].iter().zip(&self.bound[i].origins);
        operands.map(|(&shape, origin)| Input { shape, storage: split.storage(origin, self.storage) }).collect()
    }
}

impl Split {
    /// The parts as the kernel has them.
    ///
    /// # Errors
    /// If a part has no role, or what is to be derived is stored or cannot be derived.
    pub(super) fn new(given: Given<'_>, kernel: &Kernel) -> Result<Split, Fault> {
        let Given { parts, bound, shapes, .. } = given;
        let is_head: Vec<bool> = kernel.roles.iter().map(|role| *role == Role::Head).collect();
        if is_head.len() != parts.len() {
            return Err(Fault::Operands(format!("there are {} roles for {} parts", is_head.len(), parts.len())));
        }
        let stored = |i: &usize| bound[*i].place.is_some() && !is_head[*i];
        if let Some(i) = (0..parts.len()).find(stored) {
            return Err(Fault::Operands(format!("{} is stored in front of what reads it", parts[i].op.name())));
        }
        // Whether a part belongs to the chain of another that reads it.
        let joins = |i: usize, reader: usize| {
            let both = bound[i].elementwise.is_some() && bound[reader].elementwise.is_some();
            both && shapes[i] == shapes[reader]
        };
        // Elementwise parts that only such ones of their shape read are no operands of their own.
        let is_derived = |i: &usize| {
            let is_part_of_chain = |reader: usize| !is_head[reader] && joins(*i, reader);
            let mut readers = (i + 1..bound.len()).filter(|&reader| bound[reader].reads(*i));
            !is_head[*i] && !readers.all(is_part_of_chain)
        };
        let heads = (0..parts.len()).filter(|&i| is_head[i]).collect();
        let mut split = Split { heads, derived: Vec::new(), parts: parts.len() };
        for part in (0..parts.len()).filter(is_derived) {
            let derivation = match () {
                () if matches!(parts[part].op, Op::Reshape(_)) => split.shown(given, part)?,
                () if bound[part].elementwise.is_some() => split.chain(given, part, joins)?,
                () => moved(given, part)?,
            };
            split.derived.push(derivation);
        }
        Ok(split)
    }

    fn shown(&self, given: Given<'_>, part: usize) -> Result<Derivation, Fault> {
        let unread = || Fault::Operands(format!("{} reads nothing", given.parts[part].op.name()));
        let origin = given.bound[part].origins.first().ok_or_else(unread)?;
        let storage = self.storage(origin, given.storage).ok_or_else(unread)?;
        Ok(Derivation { part, storage, kind: Kind::Shown(origin.clone()) })
    }

    fn chain(&self, given: Given<'_>, part: usize, joins: impl Fn(usize, usize) -> bool) -> Result<Derivation, Fault> {
        let (bound, shape) = (given.bound, given.shapes[part]);
        let parts = chain_to(part, bound, joins);
        let is_counted = parts.iter().any(|&i| bound[i].is_counted);
        let counted = is_counted.then(|| given.chain(self, &parts, shape, &chain::stored(&[]))).transpose()?;
        let chain = given.chain(self, &parts, shape, &DerivedPlan::new)?;
        let storage = Storage::Computed(bound[part].rounding.map_or(Format::FP32, |(format, _)| format));
        let chain = DerivedChain { parts, counted, chain, is_rounded: bound[part].rounding.is_some() };
        Ok(Derivation { part, storage, kind: Kind::Chain(Box::new(chain)) })
    }

    /// Whether nothing is derived.
    pub(super) fn is_whole(&self) -> bool {
        self.derived.is_empty()
    }

    /// How numbers are stored that an instruction reads, those included that are derived.
    pub(super) fn storage(&self, origin: &Origin, of_stored: impl Fn(&Origin) -> Option<Storage>) -> Option<Storage> {
        let Origin::Part(part) = origin else { return of_stored(origin) };
        self.derived.iter().find(|derivation| derivation.part == *part).map(|derivation| derivation.storage)
    }
}

/// The elementwise parts that lead to one of them.
fn chain_to(last: usize, bound: &[BoundPart], joins: impl Fn(usize, usize) -> bool) -> Vec<usize> {
    let mut chosen = vec![last];
    for i in (0..last).rev() {
        if chosen.iter().any(|&reader| bound[reader].reads(i) && joins(i, reader)) {
            chosen.push(i);
        }
    }
    chosen.reverse();
    chosen
}

/// The channels of its operands that a part moves.
fn moved(given: Given<'_>, i: usize) -> Result<Derivation, Fault> {
    let (part, bound, shape) = (&given.parts[i], &given.bound[i], given.shapes[i]);
    let operands: Vec<Shape> = given.operands[i].iter().map(|shape| Shape::fixed(shape)).collect();
    let facts = part.op.facts(&operands.iter().collect::<Vec<_>>(), &Shape::fixed(shape));
    let Form::Planes(Planes { elements: plane, runs }) = facts.form else {
        return Err(Fault::Operands(format!("{} has to be stored", part.op.name())));
    };
    let origin = |run: Run| bound.origins.get(run.operand).map(|origin| (origin.clone(), run));
    let runs: Option<Vec<_>> = runs.into_iter().map(origin).collect();
    let runs = runs.ok_or_else(|| Fault::Operands(format!("{} lacks an operand", part.op.name())))?;
    // As where it is stored: results that nothing rounds are of their format already.
    let of_format = (bound.format != Format::FP32).then_some((bound.format, Overflow::NotFinite));
    let (rounding, is_counted) = (bound.rounding.or(of_format), bound.is_counted);
    let kind = Kind::Channels(Moved { batch: channels(shape)[0], plane, runs, rounding, is_counted });
    Ok(Derivation { part: i, storage: Storage::Computed(bound.format), kind })
}

impl Split {
    /// Runs `f` with what the heads read, derived operands included; what these overflow is counted beforehand where it is
    /// asked for.
    pub(super) fn run<R>(
        &self,
        sources: &Sources<'_, '_>,
        counts: &mut [Counts],
        f: &mut dyn FnMut(&Sources<'_, '_>) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        match self.is_whole() {
            true => f(sources),
            false => derive(&self.derived, sources, vec![None; self.parts], counts, f),
        }
    }
}

/// As [`Split::run`], where some parts are left to derive.
fn derive<'t, R>(
    left: &[Derivation],
    sources: &Sources<'_, 't>,
    mut known: Vec<Option<Elements<'t>>>,
    counts: &mut [Counts],
    f: &mut dyn FnMut(&Sources<'_, '_>) -> Result<R, Fault>,
) -> Result<R, Fault> {
    let here = Sources { derived: &known, ..*sources };
    let Some((Derivation { part, kind, .. }, left)) = left.split_first() else { return f(&here) };
    let derived = match kind {
        Kind::Shown(origin) => {
            known[*part] = Some(here.numbers(origin)?);
            return derive(left, sources, known, counts, f);
        }
        Kind::Chain(chain) => chain.derive(&here, counts)?,
        Kind::Channels(moved) => {
            let (derived, counted) = moved.derive(&here)?;
            counts[*part] += counted;
            derived
        }
    };
    let mut known: Vec<Option<Elements<'_>>> = known;
    known[*part] = Some(Elements::derived(&derived));
    derive(left, sources, known, counts, f)
}

impl DerivedChain {
    fn derive<'t>(&self, sources: &Sources<'_, 't>, counts: &mut [Counts]) -> Result<Derived<'t>, Fault> {
        let mut is_finite = false;
        if let Some(counted) = &self.counted {
            // Kernels may read an element several times, so nothing is counted there.
            let found = counted.run(sources, self.parts.len(), &mut [])?;
            // NaN and what is no longer finite count as overflow.
            is_finite = self.is_rounded && found.last().is_some_and(|counts| counts.overflow == 0);
            self.parts.iter().zip(found).for_each(|(&i, found)| counts[i] = found);
        }
        let derived = self.chain.read(sources)?;
        Ok(if is_finite { derived.known_finite() } else { derived })
    }
}

impl Moved {
    /// The channels, and what they overflow where that is asked for.
    fn derive<'t>(&self, sources: &Sources<'_, 't>) -> Result<(Derived<'t>, Counts), Fault> {
        let run = |(origin, Run { of, first, count, .. }): &(Origin, Run)| {
            Ok(ChannelRun { x: sources.numbers(origin)?, channels: *of, first: *first, count: *count })
        };
        let runs: Vec<ChannelRun<'_>> = self.runs.iter().map(run).collect::<Result<_, Fault>>()?;
        let counts = match self.is_counted {
            true => kernels::count_channels(self.batch, self.plane, &runs, self.rounding)?,
            false => Counts::default(),
        };
        Ok((Derived::channels(self.batch, self.plane, &runs, self.rounding)?, counts))
    }
}
