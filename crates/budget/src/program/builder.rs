//! Items, limits and links of a graph's integer program.

use super::choices::{Meaning, Program, pick};
use super::rectified::Rectified;
use crate::classes::Classes;
use crate::costs::Costs;
use crate::lives::Stored;
use crate::step::Skeleton;
use crate::variants::{Variant, variants};
use bitbudget_formats::Format;
use bitbudget_ir::{self as ir, NodeId, Role};
use bitbudget_solver::{Choice, Item, Link, Pick, Problem, Use};
use std::collections::{BTreeMap, BTreeSet};

/// Tensors smaller than this part of all tensors in FP32 get their least harmful format and are kept.
const SMALL: usize = 200_000;
/// The unit of the row for time: parts of a step's time.
const TIME_UNIT: f64 = 1e9;

pub(super) struct Builder<'a> {
    pub(super) skeleton: &'a Skeleton<'a>,
    pub(super) batch: usize,
    pub(super) costs: &'a Costs,
    pub(super) bytes: usize,
    /// Bytes below which a tensor is small.
    pub(super) small: usize,
    pub(super) classes: Classes,
    /// By class, the positions in `stored` of its tensors.
    pub(super) members: Vec<Vec<usize>>,
    pub(super) rectified: Vec<Rectified>,
    /// By class, the first rectifier of which it is input or output.
    pub(super) rectified_of: Vec<Option<usize>>,
    /// Per class and format.
    pub(super) class_costs: Vec<Vec<f64>>,
    pub(super) stored: Vec<Stored>,
    pub(super) position: BTreeMap<NodeId, usize>,
    pub(super) variants: Vec<Vec<Variant>>,
    /// The item whose options say how a stored tensor is kept, or at least in which format.
    pub(super) located: Vec<Option<usize>>,
    /// The format of each class that no item chooses.
    pub(super) fixed: Vec<Format>,
    pub(super) is_fixed: Vec<bool>,
    pub(super) problem: Problem,
    pub(super) meanings: Vec<Vec<Meaning>>,
    pub(super) fixed_cost: f64,
}

impl Builder<'_> {
    pub(super) fn build(mut self, recompute: bool) -> Program {
        self.small = self.stored.iter().map(|s| self.size(s, Format::FP32, true)).sum::<usize>() / SMALL;
        let steps = self.skeleton.steps.len();
        let limit = |step: usize| self.bytes as i64 - self.skeleton.workspace.get(step).copied().unwrap_or(0) as i64;
        self.problem.limits = (0..steps).map(limit).collect();
        let offered: Vec<bool> = self.stored.iter().map(|s| recompute && s.repeatable && !self.is_small(s)).collect();
        self.variants = variants(&self.stored, &offered);
        self.fix_small_ones();
        self.fix_small_rectifiers();
        self.share_places_of_one_class();
        let time = self.costs.max_slowdown.map(|share| {
            self.problem.limits.push((share * TIME_UNIT) as i64);
            steps as u32
        });
        for class in 0..self.classes.classes.len() {
            self.add_class(class, time);
        }
        for at in 0..self.stored.len() {
            if self.classes.of(self.stored[at].node).is_none() {
                self.add_formatless(at, time);
            }
        }
        let rectifying = self.link_rectifiers();
        self.link_recomputations();
        self.link_early_recomputations();
        self.add_savings();
        let small = self.stored.iter().filter(|stored| self.is_small(stored));
        let spare = small.map(|stored| self.size(stored, Format::FP32, true)).sum();
        let Builder { problem, fixed_cost, meanings, classes, fixed, stored, .. } = self;
        Program { problem, fixed_cost, spare, meanings, classes: classes.classes, fixed, stored, steps, rectifying }
    }

    pub(super) fn is_small(&self, stored: &Stored) -> bool {
        self.size(stored, Format::FP32, true) < self.small
    }

    /// Bytes of a tensor in a format. A parameter in FP32 is its master, which costs nothing more.
    pub(super) fn size(&self, stored: &Stored, format: Format, with_parameters: bool) -> usize {
        let graph = self.skeleton.graph;
        let node = graph.node(stored.node);
        if node.role == Role::Parameter && format == Format::FP32 && !with_parameters {
            return 0;
        }
        let bytes = ir::Stored { format, ..node.stored }.bytes(node.ty.dtype, node.ty.shape.elements(self.batch));
        bytes.next_multiple_of(self.skeleton.alignment)
    }

    /// Small tensors, and those that are stored nowhere, get what harms least and are kept for as long as anything may
    /// need them.
    pub(super) fn fix_small_ones(&mut self) {
        for (at, stored) in self.stored.iter().enumerate() {
            if self.is_small(stored) || !stored.repeatable {
                let last = self.variants[at].iter().filter(|v| v.again.is_none()).filter_map(|v| v.alive.last());
                let last = last.map(|&[_, last]| last).max().unwrap_or(stored.first);
                self.variants[at] = vec![Variant { alive: vec![[stored.first, last]], again: None, apart: false }];
            }
        }
        let follow: BTreeSet<usize> = self.rectified.iter().filter(|of| of.has_common).map(|of| of.output).collect();
        for class in (0..self.classes.classes.len()).filter(|class| !follow.contains(class)) {
            let members: Vec<usize> = self.members(class).collect();
            let bytes: usize = members.iter().map(|&at| self.size(&self.stored[at], Format::FP32, true)).sum();
            let best = self.least_harmful(class);
            let kept = members.iter().all(|&at| self.variants[at].len() == 1);
            if bytes < self.small || kept && self.class_costs[class].len() == 1 {
                self.is_fixed[class] = true;
                if let Some(best) = best {
                    self.fixed[class] = self.classes.classes[class].formats[best];
                    self.fixed_cost += self.class_costs[class][best];
                }
            }
        }
    }

    /// The format of a class that harms least, among its formats.
    pub(super) fn least_harmful(&self, class: usize) -> Option<usize> {
        let costs = &self.class_costs[class];
        (0..costs.len()).min_by(|&a, &b| costs[a].total_cmp(&costs[b]))
    }

    /// The stored tensors of a class.
    pub(super) fn members(&self, class: usize) -> impl Iterator<Item = usize> + use<'_> {
        self.members[class].iter().copied()
    }

    /// The format of a stored tensor if no item chooses it.
    pub(super) fn fixed_format(&self, at: usize) -> Option<Format> {
        match self.classes.of(self.stored[at].node) {
            None => Some(Format::FP32),
            Some(class) => self.is_fixed[class].then(|| self.fixed[class]),
        }
    }

    /// The stored tensor whose place another one takes, with the step.
    pub(super) fn replaced(&self, at: usize) -> Option<(usize, usize)> {
        let other = self.skeleton.replaced[self.stored[at].node.index()]?;
        Some((*self.position.get(&other)?, self.stored[at].first))
    }

    /// A tensor ends a step earlier where one that always has its format takes its place, when both are computed again too.
    pub(super) fn share_places_of_one_class(&mut self) {
        let readers = self.readers();
        for at in 0..self.stored.len() {
            let Some((other, step)) = self.replaced(at) else { continue };
            let classes = [self.classes.of(self.stored[at].node), self.classes.of(self.stored[other].node)];
            let same = classes[0].is_some() && classes[0] == classes[1];
            let both_fixed = self.fixed_format(at).is_some() && self.fixed_format(at) == self.fixed_format(other);
            if same || both_fixed || self.is_rectified(at, other) {
                // Nothing but the one in its place asks for it again.
                let alone = readers[other] == [at] && self.stored[other].backward.is_none();
                for variant in self.variants[other].iter_mut().filter(|variant| !variant.apart) {
                    for interval in variant.alive.iter_mut().filter(|interval| interval[1] == step) {
                        interval[1] = step.saturating_sub(1);
                    }
                    let again = variant.again.filter(|_| alone);
                    variant.alive.retain(|&[first, last]| first <= last && Some(first) != again);
                }
            }
        }
    }

    pub(super) fn uses(&self, at: usize, variant: &Variant, format: Format) -> Vec<Use> {
        let amount = self.size(&self.stored[at], format, false) as i64;
        let uses = variant.alive.iter().map(|&[first, last]| Use { first: first as u32, last: last as u32, amount });
        uses.filter(|u| u.amount > 0).collect()
    }

    /// An option: a format with what it costs, and a way to keep a stored tensor.
    pub(super) fn choice(&self, at: usize, variant: &Variant, format: Format, harm: f64, time: Option<u32>) -> Choice {
        let mut choice = Choice { cost: harm, uses: self.uses(at, variant, format) };
        if variant.again.is_some() {
            let (cost, share) = self.costs.again(&self.stored[at].closure);
            choice.cost += cost;
            let amount = (share * TIME_UNIT) as i64;
            choice.uses.extend(time.map(|row| Use { first: row, last: row, amount }));
        }
        choice
    }

    pub(super) fn take(&mut self, uses: &[Use]) {
        for used in uses {
            for row in used.first..=used.last {
                self.problem.limits[row as usize] -= used.amount;
            }
        }
    }

    pub(super) fn add(&mut self, options: Vec<(Choice, Meaning)>) -> usize {
        let (options, meanings) = options.into_iter().unzip();
        self.problem.items.push(Item { options });
        self.meanings.push(meanings);
        self.problem.items.len() - 1
    }

    /// The item that chooses a class's format, and those that choose how its further tensors are kept.
    pub(super) fn add_class(&mut self, class: usize, time: Option<u32>) {
        let members: Vec<usize> = self.members(class).collect();
        if self.is_fixed[class] {
            for at in members {
                let uses = self.uses(at, &self.variants[at][0], self.fixed[class]);
                self.take(&uses);
            }
            return;
        }
        let varying: Vec<usize> = members.iter().copied().filter(|&at| self.variants[at].len() > 1).collect();
        let formats = self.classes.classes[class].formats.clone();
        let mut options = Vec::new();
        for (&format, &harm) in formats.iter().zip(&self.class_costs[class]) {
            let kept = members.iter().filter(|at| !varying.contains(at));
            let kept: Vec<Use> = kept.flat_map(|&at| self.uses(at, &self.variants[at][0], format)).collect();
            let meaning = Meaning { format: Some((class, format)), variant: None };
            match varying.first() {
                None => options.push((Choice { cost: harm, uses: kept }, meaning)),
                Some(&head) => {
                    for variant in self.variants[head].iter().filter(|v| self.is_useful(class, format, v)) {
                        let repeats = |of: &Rectified| of.repeats && of.output == class && !variant.apart;
                        let harm = if self.rectifier_of(class).is_some_and(repeats) { 0.0 } else { harm };
                        let mut choice = self.choice(head, variant, format, harm, time);
                        choice.uses.extend(kept.iter().cloned());
                        options.push((choice, Meaning { variant: Some((head, variant.clone())), ..meaning.clone() }));
                    }
                }
            }
        }
        let item = self.add(options);
        members.iter().for_each(|&at| self.located[at] = Some(item));
        for &at in varying.iter().skip(1) {
            let mut options = Vec::new();
            for &format in &formats {
                for variant in &self.variants[at] {
                    let meaning = Meaning { format: Some((class, format)), variant: Some((at, variant.clone())) };
                    options.push((self.choice(at, variant, format, 0.0, time), meaning));
                }
            }
            let own = self.add(options);
            self.located[at] = Some(own);
            for option in 0..self.meanings[own].len() {
                let format = self.meanings[own][option].format;
                let to = self.picks(item, |meaning| meaning.format == format);
                self.problem.links.push(Link { from: pick(own, option), to });
            }
        }
    }

    /// A stored tensor that is never rounded: an item if it may be recomputed.
    pub(super) fn add_formatless(&mut self, at: usize, time: Option<u32>) {
        let variants = self.variants[at].clone();
        if let [variant] = variants.as_slice() {
            let uses = self.uses(at, variant, Format::FP32);
            return self.take(&uses);
        }
        let options = variants.into_iter().map(|variant| {
            let choice = self.choice(at, &variant, Format::FP32, 0.0, time);
            (choice, Meaning { format: None, variant: Some((at, variant)) })
        });
        let options = options.collect();
        let item = self.add(options);
        self.located[at] = Some(item);
    }

    pub(super) fn picks(&self, item: usize, is_meant: impl Fn(&Meaning) -> bool) -> Vec<Pick> {
        let meant = self.meanings[item].iter().enumerate().filter(|(_, meaning)| is_meant(meaning));
        meant.map(|(option, _)| pick(item, option)).collect()
    }

    /// The formats that a stored tensor may have.
    pub(super) fn formats(&self, at: usize) -> Vec<Format> {
        match (self.fixed_format(at), self.classes.of(self.stored[at].node)) {
            (Some(format), _) => vec![format],
            (None, Some(class)) => self.classes.classes[class].formats.clone(),
            (None, None) => Vec::new(),
        }
    }
}
