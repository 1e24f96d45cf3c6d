//! Rectifiers whose gradient has two terms.

use super::builder::Builder;
use super::{Meaning, pick};
use crate::budget::Allowed;
use crate::budget::classes::Classes;
use crate::budget::variants::Variant;
use bitbudget_formats::Format;
use bitbudget_solver::Link;
use std::ops::Range;

/// The classes of a rectifier's input and output, whether the output repeats the input's rounding in its format, and whether
/// there is a format that both may have.
#[derive(Clone, Copy)]
pub(super) struct Rectified {
    pub(super) input: usize,
    pub(super) output: usize,
    pub(super) repeats: bool,
    has_common: bool,
}

impl Rectified {
    /// Whether input and output may have these formats: one, or apart two. Two are offered where the output's takes less memory, or
    /// where there is no one that both may have; else the input's would be as good for both.
    fn fit(&self, input: Format, output: Format, apart: bool) -> bool {
        if apart { !self.has_common || input.bytes() > output.bytes() } else { input == output }
    }
}

/// The rectifiers of classes, where `repeats` says for each tensor whose rounding it repeats.
pub(super) fn rectified(classes: &Classes, repeats: &[Option<usize>], allowed: &Allowed) -> Vec<Rectified> {
    let of = |tensors: [usize; 2]| {
        let [input, output] = tensors.map(|tensor| classes.class_of[tensor]);
        let [formats, others] = tensors.map(|tensor| &allowed.formats[tensor]);
        let has_common = formats.iter().any(|format| others.contains(format));
        Rectified { input, output, repeats: repeats[tensors[1]] == Some(tensors[0]), has_common }
    };
    classes.rectifiers.iter().map(|rectifier| of(rectifier.tensors)).collect()
}

impl Builder<'_> {
    /// A small rectifier's output has its input's format, and so has one whose input cannot be computed again.
    pub(super) fn fix_small_rectifiers(&mut self) {
        for of in self.rectified.clone() {
            if self.is_fixed[of.input] {
                let formats = &self.classes.classes[of.output].formats;
                let same = formats.iter().position(|&format| format == self.fixed[of.input]);
                let at = same.unwrap_or(0);
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
        self.classes.rectifiers.iter().any(|of| (of.input, of.output) == nodes)
    }

    /// Whether a variant of a rectifier's input or output is one of those that [`Rectified::fit`] some of the other's formats.
    pub(super) fn is_useful(&self, class: usize, format: Format, variant: &Variant) -> bool {
        let Some(of) = self.rectified.iter().find(|of| [of.input, of.output].contains(&class)) else { return true };
        let formats = |class: usize| self.classes.classes[class].formats.iter().copied();
        let [input, output] =
            [of.input, of.output].map(|side| if side == class { vec![format] } else { formats(side).collect() });
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
            for (option, chosen) in self.meanings[output].iter().enumerate() {
                let fits = |meaning: &Meaning| {
                    let formats = meaning.format.zip(chosen.format);
                    let fit = formats.is_some_and(|((_, input), (_, output))| of.fit(input, output, is_apart(chosen)));
                    fit && is_apart(meaning) == is_apart(chosen)
                };
                self.problem.links.push(Link { from: pick(output, option), to: self.picks(input, fits) });
            }
        }
        first..self.problem.links.len()
    }
}
