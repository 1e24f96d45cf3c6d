//! Parts of an instruction that are stored nowhere, as operands that are computed as the parts behind read them.

use super::chain::{self, Link};
use super::geometry::channels;
use super::operands::{Operand, Operands};
use crate::error::Fault;
use bitbudget_formats::{Counts, Format, Overflow};
use bitbudget_ir::{Form, Op, Planes, Run, Shape, ops};
use bitbudget_kernels::{self as kernels, ChannelRun, Derived, Elements, Function};

/// The parts of an instruction by what becomes of them.
pub(super) struct Parts<'p, 't> {
    links: &'p [Link<'t>],
    functions: &'p [Option<Function<'t>>],
    shapes: &'p [&'t [usize]],
    /// Parts that are computed; the others are derived as these read them.
    pub(super) heads: Vec<usize>,
}

impl<'p, 't> Parts<'p, 't> {
    /// The heads are the elementwise parts at the end, of the last one's shape, that only each other read; else the stored
    /// ones.
    ///
    /// # Errors
    /// If what would be derived is stored.
    pub(super) fn new(
        links: &'p [Link<'t>],
        functions: &'p [Option<Function<'t>>],
        shapes: &'p [&'t [usize]],
    ) -> Result<Self, Fault> {
        let joins = |i: usize| functions[i].is_some() && shapes.last() == Some(&shapes[i]);
        let is_head: Vec<bool> = match functions.last() {
            Some(Some(_)) => ops::one_pass(links.len(), joins, |reader, i| links[reader].reads(i)),
            _ => links.iter().map(|link| link.place.is_some()).collect(),
        };
        if let Some((link, _)) = links.iter().zip(&is_head).find(|(link, is_head)| link.place.is_some() && !**is_head) {
            return Err(Fault::Operands(format!("{} is stored in front of what reads it", link.op.name())));
        }
        let heads = (0..links.len()).filter(|&i| is_head[i]).collect();
        Ok(Parts { links, functions, shapes, heads })
    }

    /// Runs `f` with the heads, which read derived operands; what these overflow is counted beforehand where it is asked for.
    pub(super) fn run<R>(
        &self,
        counts: &mut [Counts],
        f: &mut dyn FnMut(&[Link<'_>]) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        self.derive(0, vec![None; self.links.len()], counts, f)
    }

    /// As [`Parts::run`], where the parts before the `from`th are known.
    fn derive<'k, R>(
        &self,
        from: usize,
        mut known: Vec<Option<Elements<'k>>>,
        counts: &mut [Counts],
        f: &mut dyn FnMut(&[Link<'_>]) -> Result<R, Fault>,
    ) -> Result<R, Fault>
    where
        't: 'k,
    {
        let Some(i) = (from..self.links.len()).find(|&i| self.is_derived(i)) else {
            return f(&self.chosen(&self.heads, &known)?);
        };
        if let Op::Reshape(_) = self.links[i].op {
            known[i] = Some(self.numbers(i, 0, &known)?.0);
            return self.derive(i + 1, known, counts, f);
        }
        let derived = match self.functions[i] {
            Some(_) => self.chain(i, &known, counts)?,
            None => self.channels(i, &known, counts)?,
        };
        let mut known: Vec<Option<Elements<'_>>> = known;
        known[i] = Some(Elements::derived(&derived));
        self.derive(i + 1, known, counts, f)
    }

    /// Whether a part is an operand of its own: elementwise ones that only such ones of their shape read are not.
    fn is_derived(&self, i: usize) -> bool {
        let is_part_of_chain = |reader: usize| !self.heads.contains(&reader) && self.joins(i, reader);
        let mut readers = (i + 1..self.links.len()).filter(|&reader| self.links[reader].reads(i));
        !self.heads.contains(&i) && !readers.all(is_part_of_chain)
    }

    /// Whether a part belongs to the chain of another that reads it.
    fn joins(&self, i: usize, reader: usize) -> bool {
        let [function, of_reader] = [i, reader].map(|i| self.functions[i]);
        function.is_some() && of_reader.is_some() && self.shapes[i] == self.shapes[reader]
    }

    /// The elementwise parts that lead to one of them.
    fn chain<'k>(
        &self,
        last: usize,
        known: &[Option<Elements<'k>>],
        counts: &mut [Counts],
    ) -> Result<Derived<'k>, Fault>
    where
        't: 'k,
    {
        let mut chosen = vec![last];
        for i in (0..last).rev() {
            if chosen.iter().any(|&reader| self.links[reader].reads(i) && self.joins(i, reader)) {
                chosen.push(i);
            }
        }
        chosen.reverse();
        let functions = chosen.iter().filter_map(|&i| self.functions[i]).collect();
        let chain = chain::parts(&self.chosen(&chosen, known)?, functions, self.shapes[last])?;
        let mut is_finite = false;
        if chosen.iter().any(|&i| self.links[i].is_counted) {
            // Kernels may read an element several times, so nothing is counted there.
            let found = kernels::chain(chain.layout, &chain.parts, &mut [])?;
            // NaN and what is no longer finite count as overflow.
            is_finite = self.links[last].rounding.is_some() && found.last().is_some_and(|counts| counts.overflow == 0);
            chosen.iter().zip(found).for_each(|(&i, found)| counts[i] = found);
        }
        let derived = Derived::chain(chain.layout, &chain.parts)?;
        Ok(if is_finite { derived.known_finite() } else { derived })
    }

    /// A part that only moves channels.
    fn channels<'k>(
        &self,
        i: usize,
        known: &[Option<Elements<'k>>],
        counts: &mut [Counts],
    ) -> Result<Derived<'k>, Fault>
    where
        't: 'k,
    {
        let (link, shape) = (&self.links[i], self.shapes[i]);
        let operands: Result<Vec<_>, Fault> = (0..link.operands.len()).map(|k| self.numbers(i, k, known)).collect();
        let operands = operands?;
        let shapes: Vec<Shape> = operands.iter().map(|(_, shape)| Shape::fixed(shape)).collect();
        let facts = link.op.facts(&shapes.iter().collect::<Vec<_>>(), &Shape::fixed(shape));
        let Form::Planes(Planes { elements: plane, runs }) = facts.form else {
            return Err(Fault::Operands(format!("{} has to be stored", link.op.name())));
        };
        let batch = channels(shape)[0];
        let run = |&Run { operand, of, first, count }: &Run| {
            let (x, _) = *operands.get(operand)?;
            Some(ChannelRun { x, channels: of, first, count })
        };
        let runs: Option<Vec<_>> = runs.iter().map(run).collect();
        let runs = runs.ok_or_else(|| Fault::Operands(format!("{} lacks an operand", link.op.name())))?;
        // As where it is stored: results that nothing rounds are of their format already.
        let of_format = (link.format != Format::FP32).then_some((link.format, Overflow::NotFinite));
        let rounding = link.rounding.or(of_format);
        if link.is_counted {
            counts[i] = kernels::count_channels(batch, plane, &runs, rounding)?;
        }
        Ok(Derived::channels(batch, plane, &runs, rounding)?)
    }

    /// Operand `k` of a part with its shape.
    fn numbers<'k>(
        &self,
        i: usize,
        k: usize,
        known: &[Option<Elements<'k>>],
    ) -> Result<(Elements<'k>, &'t [usize]), Fault>
    where
        't: 'k,
    {
        match self.links[i].operands.get(k)? {
            (Operand::Numbers(x), shape) => Ok((x, shape)),
            (Operand::Part(part), shape) if let Some(x) = known[part] => Ok((x, shape)),
            _ => Err(Fault::Operands(format!("operand {k} of {} cannot be read on the way", self.links[i].op.name()))),
        }
    }

    /// Some parts, as if there were no others: what they read of others are numbers.
    fn chosen<'k>(&self, chosen: &[usize], known: &[Option<Elements<'k>>]) -> Result<Vec<Link<'k>>, Fault>
    where
        't: 'k,
    {
        let link = |&i: &usize| {
            let Link { op, operands, rounding, is_counted, format, place } = &self.links[i];
            let operand = |(k, (operand, shape)): (usize, &(Operand<'t>, &'t [usize]))| {
                let operand: Operand<'k> = match *operand {
                    Operand::Part(part) => match chosen.iter().position(|&other| other == part) {
                        Some(part) => Operand::Part(part),
                        None => Operand::Numbers(self.numbers(i, k, known)?.0),
                    },
                    other => other,
                };
                Ok((operand, *shape))
            };
            let operands: Result<Vec<_>, Fault> = operands.0.iter().enumerate().map(operand).collect();
            let (rounding, is_counted, format, place) = (*rounding, *is_counted, *format, *place);
            Ok(Link { op, operands: Operands(operands?), rounding, is_counted, format, place })
        };
        chosen.iter().map(link).collect()
    }
}
