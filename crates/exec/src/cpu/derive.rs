//! Parts of an instruction that are stored nowhere, as operands that are computed as the parts behind read them.

use super::chain::{self, Link};
use super::operands::{Operand, Operands};
use super::part::{BoundPart, Origin};
use crate::error::Fault;
use bitbudget_formats::{Counts, Format, Overflow};
use bitbudget_ir::{Form, Op, Planes, Run, Shape};
use bitbudget_kernels::{self as kernels, ChannelRun, Derived, Elements};
use bitbudget_program::{BufferId, Kernel, Part, Program, Role};
use bitbudget_select::geometry::channels;

/// The parts of an instruction by what becomes of them.
#[derive(Debug)]
pub(super) struct Split {
    /// Parts that are computed; the others are derived as these read them.
    pub(super) heads: Vec<usize>,
    /// The parts that are operands of their own, in order.
    derived: Vec<Derivation>,
}

/// How a part is computed where it is read.
#[derive(Debug)]
struct Derivation {
    part: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// What it reads, by another shape.
    Shown,
    /// Elementwise parts, of which it is the last.
    Chain(Vec<usize>),
    /// Channels of what it reads.
    Channels { batch: usize, plane: usize, runs: Vec<Run> },
}

impl Split {
    /// The parts as the kernel has them.
    ///
    /// # Errors
    /// If a part has no role, or what is to be derived is stored or cannot be derived.
    pub(super) fn new<'s>(
        parts: &[Part],
        kernel: &Kernel,
        bound: &[BoundPart],
        shapes: &[&[usize]],
        shape: impl Fn(BufferId) -> &'s [usize],
    ) -> Result<Split, Fault> {
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
        let derivation = |i: usize| {
            let kind = match () {
                () if matches!(parts[i].op, Op::Reshape(_)) => Kind::Shown,
                () if bound[i].elementwise.is_some() => Kind::Chain(chain_to(i, bound, joins)),
                () => {
                    let operands: Vec<Shape> = parts[i].inputs.iter().map(|&id| Shape::fixed(shape(id))).collect();
                    planes(&parts[i].op, &operands, shapes[i])?
                }
            };
            Ok::<_, Fault>(Derivation { part: i, kind })
        };
        let derived: Result<_, Fault> = (0..parts.len()).filter(is_derived).map(derivation).collect();
        Ok(Split { heads: (0..parts.len()).filter(|&i| is_head[i]).collect(), derived: derived? })
    }

    /// Whether nothing is derived.
    pub(super) fn is_whole(&self) -> bool {
        self.derived.is_empty()
    }

    /// The format whose numbers a derived part's result is.
    pub(super) fn format(&self, part: usize, program: &Program, bound: &[BoundPart]) -> Format {
        let derivation = self.derived.iter().find(|derivation| derivation.part == part);
        match derivation.map(|derivation| &derivation.kind) {
            Some(Kind::Shown) => match bound[part].origins.first() {
                Some(Origin::Part(earlier)) => self.format(*earlier, program, bound),
                Some(Origin::Arena(root, _)) => program.buffer(*root).format,
                _ => Format::FP32,
            },
            Some(Kind::Chain(_)) => bound[part].rounding.map_or(Format::FP32, |(format, _)| format),
            Some(Kind::Channels { .. }) => bound[part].format,
            None => Format::FP32,
        }
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

/// The channels of its operands that an operator moves.
fn planes(op: &Op, operands: &[Shape], shape: &[usize]) -> Result<Kind, Fault> {
    let facts = op.facts(&operands.iter().collect::<Vec<_>>(), &Shape::fixed(shape));
    match facts.form {
        Form::Planes(Planes { elements: plane, runs }) => Ok(Kind::Channels { batch: channels(shape)[0], plane, runs }),
        _ => Err(Fault::Operands(format!("{} has to be stored", op.name()))),
    }
}

/// An instruction's parts with their operands in one step.
pub(super) struct Parts<'p, 't> {
    pub(super) split: &'p Split,
    pub(super) links: &'p [Link<'t>],
}

impl<'t> Parts<'_, 't> {
    /// Runs `f` with the heads, which read derived operands; what these overflow is counted beforehand where it is asked for.
    pub(super) fn run<R>(
        &self,
        counts: &mut [Counts],
        f: &mut dyn FnMut(&[Link<'_>]) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        self.derive(&self.split.derived, vec![None; self.links.len()], counts, f)
    }

    /// As [`Parts::run`], where some parts are left to derive.
    fn derive<'k, R>(
        &self,
        left: &[Derivation],
        mut known: Vec<Option<Elements<'k>>>,
        counts: &mut [Counts],
        f: &mut dyn FnMut(&[Link<'_>]) -> Result<R, Fault>,
    ) -> Result<R, Fault>
    where
        't: 'k,
    {
        let Some((&Derivation { part: i, ref kind }, left)) = left.split_first() else {
            return f(&self.chosen(&self.split.heads, &known)?);
        };
        let derived = match kind {
            Kind::Shown => {
                known[i] = Some(self.numbers(i, 0, &known)?);
                return self.derive(left, known, counts, f);
            }
            Kind::Chain(chosen) => self.chain(i, chosen, &known, counts)?,
            Kind::Channels { batch, plane, runs } => self.channels(i, [*batch, *plane], runs, &known, counts)?,
        };
        let mut known: Vec<Option<Elements<'_>>> = known;
        known[i] = Some(Elements::derived(&derived));
        self.derive(left, known, counts, f)
    }

    /// The elementwise parts that lead to the last one.
    fn chain<'k>(
        &self,
        last: usize,
        chosen: &[usize],
        known: &[Option<Elements<'k>>],
        counts: &mut [Counts],
    ) -> Result<Derived<'k>, Fault>
    where
        't: 'k,
    {
        let chain = chain::parts(&self.chosen(chosen, known)?, self.links[last].shape)?;
        let mut is_finite = false;
        if chosen.iter().any(|&i| self.links[i].part.is_counted) {
            // Kernels may read an element several times, so nothing is counted there.
            let found = kernels::chain(chain.layout, &chain.parts, &mut [])?;
            // NaN and what is no longer finite count as overflow.
            let is_rounded = self.links[last].part.rounding.is_some();
            is_finite = is_rounded && found.last().is_some_and(|counts| counts.overflow == 0);
            chosen.iter().zip(found).for_each(|(&i, found)| counts[i] = found);
        }
        let derived = Derived::chain(chain.layout, &chain.parts)?;
        Ok(if is_finite { derived.known_finite() } else { derived })
    }

    /// A part that only moves channels.
    fn channels<'k>(
        &self,
        i: usize,
        [batch, plane]: [usize; 2],
        runs: &[Run],
        known: &[Option<Elements<'k>>],
        counts: &mut [Counts],
    ) -> Result<Derived<'k>, Fault>
    where
        't: 'k,
    {
        let link = &self.links[i];
        let run = |&Run { operand, of, first, count }: &Run| {
            Ok::<_, Fault>(ChannelRun { x: self.numbers(i, operand, known)?, channels: of, first, count })
        };
        let runs: Result<Vec<_>, Fault> = runs.iter().map(run).collect();
        let runs = runs?;
        // As where it is stored: results that nothing rounds are of their format already.
        let of_format = (link.part.format != Format::FP32).then_some((link.part.format, Overflow::NotFinite));
        let rounding = link.part.rounding.or(of_format);
        if link.part.is_counted {
            counts[i] = kernels::count_channels(batch, plane, &runs, rounding)?;
        }
        Ok(Derived::channels(batch, plane, &runs, rounding)?)
    }

    /// The numbers of operand `k` of a part.
    fn numbers<'k>(&self, i: usize, k: usize, known: &[Option<Elements<'k>>]) -> Result<Elements<'k>, Fault>
    where
        't: 'k,
    {
        match self.links[i].operands.get(k)?.0 {
            Operand::Numbers(x) => Ok(x),
            Operand::Part(part) if let Some(x) = known[part] => Ok(x),
            _ => Err(Fault::Operands(format!("operand {k} of {} cannot be read on the way", self.links[i].op.name()))),
        }
    }

    /// Some parts, as if there were no others: what they read of others are numbers.
    fn chosen<'k>(&self, chosen: &[usize], known: &[Option<Elements<'k>>]) -> Result<Vec<Link<'k>>, Fault>
    where
        't: 'k,
    {
        let link = |&i: &usize| {
            let Link { op, operands, shape, part } = &self.links[i];
            let operand = |(k, (operand, shape)): (usize, &(Operand<'t>, &'t [usize]))| {
                let operand: Operand<'k> = match *operand {
                    Operand::Part(part) => match chosen.iter().position(|&other| other == part) {
                        Some(part) => Operand::Part(part),
                        None => Operand::Numbers(self.numbers(i, k, known)?),
                    },
                    other => other,
                };
                Ok((operand, *shape))
            };
            let operands: Result<Vec<_>, Fault> = operands.0.iter().enumerate().map(operand).collect();
            Ok(Link { op, operands: Operands(operands?), shape, part })
        };
        chosen.iter().map(link).collect()
    }
}
