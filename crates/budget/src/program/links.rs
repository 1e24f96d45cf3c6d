//! Links between choices: requirements and joint savings.

use super::builder::Builder;
use super::choices::{Meaning, pick};
use crate::variants::Variant;
use bitbudget_solver::{Choice, Link, Use};

impl Builder<'_> {
    /// What a recomputation reads has to be there.
    pub(super) fn link_recomputations(&mut self) {
        let mut links = Vec::new();
        for (item, meanings) in self.meanings.iter().enumerate() {
            for (option, meaning) in meanings.iter().enumerate() {
                let Some((at, Variant { again: Some(step), .. })) = &meaning.variant else { continue };
                for input in &self.stored[*at].inputs {
                    let Some(&input) = self.position.get(input) else { continue };
                    let Some(of_input) = self.located[input] else { continue };
                    let there = |meaning: &Meaning| match &meaning.variant {
                        Some((at, variant)) if *at == input => variant.is_there(*step),
                        _ => self.variants[input].iter().all(|variant| variant.is_there(*step)),
                    };
                    let to = self.picks(of_input, there);
                    if to.len() < self.meanings[of_input].len() {
                        links.push(Link { from: pick(item, option), to });
                    }
                }
            }
        }
        self.problem.links.extend(links);
    }

    /// By stored tensor, those that read it when they are computed.
    pub(super) fn readers(&self) -> Vec<Vec<usize>> {
        let mut readers = vec![Vec::new(); self.stored.len()];
        for (reader, stored) in self.stored.iter().enumerate() {
            for input in stored.inputs.iter().filter_map(|input| self.position.get(input)) {
                readers[*input].push(reader);
            }
        }
        readers
    }

    /// What is computed again before the backward pass itself reads it is so for something else that is computed then.
    pub(super) fn link_early_recomputations(&mut self) {
        let readers = self.readers();
        let mut links = Vec::new();
        for (item, meanings) in self.meanings.iter().enumerate() {
            for (option, meaning) in meanings.iter().enumerate() {
                let Some((at, Variant { again: Some(step), apart, .. })) = &meaning.variant else { continue };
                if self.stored[*at].reads(*apart).is_some_and(|[first, _]| first <= *step) {
                    continue;
                }
                let then = |reader: &usize| {
                    let at_once = |meaning: &Meaning| matches!(&meaning.variant, Some((of, v)) if of == reader && v.again == Some(*step));
                    self.located[*reader].map_or(Vec::new(), |item| self.picks(item, at_once))
                };
                let to = readers[*at].iter().flat_map(then).collect();
                links.push(Link { from: pick(item, option), to });
            }
        }
        self.problem.links.extend(links);
    }

    /// Items for tensors that may take another one's place if they have its format.
    pub(super) fn add_savings(&mut self) {
        for at in 0..self.stored.len() {
            let Some((other, step)) = self.replaced(at) else { continue };
            let ends = |variant: &Variant| variant.alive.iter().any(|interval| interval[1] == step);
            if self.is_rectified(at, other) || !self.variants[other].iter().any(ends) {
                continue;
            }
            let mut options = vec![(Choice { cost: 0.0, uses: Vec::new() }, Meaning::default())];
            let mut targets = Vec::new();
            for format in self.formats(at) {
                if !self.formats(other).contains(&format) {
                    continue;
                }
                let amount = -(self.size(&self.stored[at], format, false) as i64);
                let row = step as u32;
                options.push((
                    Choice { cost: 0.0, uses: vec![Use { first: row, last: row, amount }] },
                    Meaning::default(),
                ));
                targets.push([(other, true), (at, false)].map(|(of, ending)| {
                    let item = self.located[of]?;
                    Some(self.picks(item, |meaning| {
                        let same = meaning.format.is_none_or(|(_, f)| f == format);
                        let ending =
                            !ending || meaning.variant.as_ref().is_none_or(|(v, variant)| *v != of || ends(variant));
                        same && ending
                    }))
                }));
            }
            if options.len() == 1 {
                continue;
            }
            let item = self.add(options);
            for (option, targets) in targets.into_iter().enumerate() {
                for to in targets.into_iter().flatten() {
                    self.problem.links.push(Link { from: pick(item, option + 1), to });
                }
            }
        }
    }
}
