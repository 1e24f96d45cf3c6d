//! Rectifiers whose gradient has two terms.

use super::builder::Builder;
use super::choices::{Meaning, pick};
use super::rectified::Rectified;
use crate::variants::Variant;
use bitbudget_formats::Format;
use bitbudget_solver::Link;
use std::ops::Range;

impl Builder<'_> {
    /// A small rectifier's output has its input's format, and so has one whose input cannot be computed again.
    pub(super) fn fix_small_rectifiers(&mut self) {
        for of in self.rectified.clone().into_iter().filter(|of| of.has_common) {
            if self.is_fixed[of.input] {
                let formats = &self.classes.classes[of.output].formats;
                let same = formats.iter().position(|&format| format == self.fixed[of.input]);
                let Some(at) = same.or_else(|| self.least_harmful(of.output)) else { continue };
                let harm = if of.repeats && same.is_some() { 0.0 } else { self.class_costs[of.output][at] };
                (self.is_fixed[of.output], self.fixed[of.output]) = (true, formats[at]);
                self.fixed_cost += harm;
            }
            let is_apart = |at: usize| self.variants[at].iter().any(|variant| variant.apart);
            let may_differ = self.members(of.input).any(is_apart);
            for at in self.members(of.output).collect::<Vec<_>>() {
                self.variants[at].retain(|variant| may_differ || !variant.apart);
            }
        }
    }

    /// Whether a stored tensor is the output of a rectifier of the other one.
    pub(super) fn is_rectified(&self, at: usize, other: usize) -> bool {
        let nodes = (self.stored[other].node, self.stored[at].node);
        let of = self.classes.of(nodes.1).and_then(|class| self.rectified_of[class]);
        of.is_some_and(|of| (self.classes.rectifiers[of].input, self.classes.rectifiers[of].output) == nodes)
    }

    /// The rectifier of which a class is input or output.
    pub(super) fn rectifier_of(&self, class: usize) -> Option<&Rectified> {
        self.rectified_of[class].map(|of| &self.rectified[of])
    }

    /// Whether a variant of a rectifier's input or output is one of those that [`Rectified::fit`] some of the other's formats.
    pub(super) fn is_useful(&self, class: usize, format: Format, variant: &Variant) -> bool {
        let Some(of) = self.rectifier_of(class) else { return true };
        let formats = |class: usize| match self.is_fixed[class] {
            true => vec![self.fixed[class]],
            false => self.classes.classes[class].formats.clone(),
        };
        let [input, output] =
            [of.input, of.output].map(|side| if side == class { vec![format] } else { formats(side) });
        input.iter().any(|&input| output.iter().any(|&output| of.fit(input, output, variant.apart)))
    }

    /// A rectifier's output has its input's format, and its gradient reads it; or it has another one, and the gradient reads
    /// the input, which is computed again.
    pub(super) fn link_rectifiers(&mut self) -> Range<usize> {
        let first = self.problem.links.len();
        let is_apart = |meaning: &Meaning| meaning.variant.as_ref().is_some_and(|(_, variant)| variant.apart);
        for (nodes, of) in self.classes.rectifiers.iter().zip(&self.rectified) {
            let item = |node| self.position.get(node).and_then(|&at: &usize| self.located[at]);
            let (Some(input), Some(output)) = (item(&nodes.input), item(&nodes.output)) else { continue };
            // What is kept for as long as either term may need it goes with both.
            let is_either = |node| !of.has_common && self.variants[self.position[node]].len() == 1;
            let either = is_either(&nodes.input) || is_either(&nodes.output);
            for (option, chosen) in self.meanings[output].iter().enumerate() {
                let fits = |meaning: &Meaning| {
                    let formats = meaning.format.zip(chosen.format);
                    let fit = formats.is_some_and(|((_, input), (_, output))| of.fit(input, output, is_apart(chosen)));
                    fit && (either || is_apart(meaning) == is_apart(chosen))
                };
                self.problem.links.push(Link { from: pick(output, option), to: self.picks(input, fits) });
            }
        }
        first..self.problem.links.len()
    }
}
