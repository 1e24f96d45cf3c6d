//! The integer program of a graph, and what a solution of it means.

use super::classes::{Class, Classes, classes};
use super::lives::{Stored, stored};
use super::variants::{Variant, variants};
use super::{Allowed, Costs, Skeleton, Where};
use crate::tensors::Tensor;
use bitbudget_formats::Format;
use bitbudget_ir::{DType, NodeId, Op, Role};
use bitbudget_solver::{Choice, Item, Link, Pick, Problem, Use};
use std::collections::{BTreeMap, BTreeSet};

/// Tensors smaller than this part of all tensors in FP32 get their least harmful format and are kept.
const SMALL: usize = 200_000;
/// The unit of the row for time: parts of a step's time.
const TIME_UNIT: f64 = 1e9;

/// An integer program, and what its options stand for.
#[derive(Clone, Debug)]
pub struct Program {
    /// One row per step of the schedule, then one for the time if that is bounded.
    pub problem: Problem,
    /// What the choices that are left to no item cost.
    pub fixed_cost: f64,
    meanings: Vec<Vec<Meaning>>,
    classes: Vec<Class>,
    fixed: Vec<Format>,
    stored: Vec<Stored>,
    steps: usize,
}

/// What an option stands for.
#[derive(Clone, Debug, Default)]
struct Meaning {
    /// A class and the format that it gets.
    format: Option<(usize, Format)>,
    /// A stored tensor and how it is kept.
    variant: Option<(usize, Variant)>,
}

/// What a solution says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choices {
    /// The format of each tensor, in the order of [`crate::tensors`].
    pub formats: Vec<Format>,
    /// The nodes that are computed again, in order of ids.
    pub recomputed: Vec<NodeId>,
}

/// The integer program of `tensors` (the training graph's at `batch`) with `bytes` of memory beside what stays.
pub fn program(
    skeleton: &Skeleton<'_>,
    tensors: &[Tensor],
    batch: usize,
    allowed: &Allowed,
    costs: &Costs,
    bytes: usize,
) -> Program {
    let classes = classes(skeleton, tensors, allowed);
    let places = places(skeleton, &classes);
    let skeleton = &Skeleton { places: &places, ..*skeleton };
    let stored = stored(skeleton, &classes.rectifiers);
    let scale = costs.scale();
    let repeats = classes.repeats(skeleton.training, tensors);
    let class_costs = classes.classes.iter().map(|class| {
        let harm = |format: &Format| -> f64 {
            let of = |&t: &usize| {
                let position = allowed.formats[t].iter().position(|f| f == format);
                position.and_then(|at| costs.rounding[t].get(at)).copied().unwrap_or(0.0)
            };
            let is_repeated = |&t: &usize| repeats[t].is_some_and(|of| classes.class_of[of] == classes.class_of[t]);
            class.tensors.iter().filter(|t| !is_repeated(t)).map(of).sum::<f64>() * scale
        };
        class.formats.iter().map(harm).collect()
    });
    let rectified = classes.rectifiers.iter().map(|of| {
        let [input, output] = of.tensors;
        let [input_class, output_class] = of.tensors.map(|tensor| classes.class_of[tensor]);
        let [formats, others] = of.tensors.map(|tensor| &allowed.formats[tensor]);
        Rectified {
            input: input_class,
            output: output_class,
            repeats: repeats[output] == Some(input),
            has_common: formats.iter().any(|format| others.contains(format)),
        }
    });
    let builder = Builder {
        rectified: rectified.collect(),
        class_costs: class_costs.collect(),
        located: vec![None; stored.len()],
        position: stored.iter().enumerate().map(|(at, s)| (s.node, at)).collect(),
        variants: Vec::new(),
        fixed: classes.classes.iter().map(|class| class.formats.first().copied().unwrap_or(Format::FP32)).collect(),
        is_fixed: vec![false; classes.classes.len()],
        skeleton,
        batch,
        costs,
        bytes,
        small: 0,
        stored,
        classes,
        problem: Problem { items: Vec::new(), limits: Vec::new(), links: Vec::new() },
        meanings: Vec::new(),
        fixed_cost: 0.0,
    };
    builder.build(allowed.recompute)
}

/// Where results lie: what is passed on in another format than it came in has a place of its own.
fn places(skeleton: &Skeleton<'_>, classes: &Classes) -> Vec<Where> {
    let place = |id: NodeId| match skeleton.places[id.index()] {
        Where::Of(from) if matches!(skeleton.graph.op(id), Op::Cast(_)) && classes.of(from) != classes.of(id) => {
            Where::Own
        }
        place => place,
    };
    skeleton.graph.ids().map(place).collect()
}

/// The classes of a rectifier's input and output, whether the output repeats the input's rounding in its format, and whether
/// there is a format that both may have.
#[derive(Clone, Copy)]
struct Rectified {
    input: usize,
    output: usize,
    repeats: bool,
    has_common: bool,
}

impl Rectified {
    /// Whether input and output may have these formats: one, or apart two. Two are offered where the output's takes less memory, or
    /// where there is no one that both may have; else the input's would be as good for both.
    fn fit(&self, input: Format, output: Format, apart: bool) -> bool {
        if apart { !self.has_common || input.bytes() > output.bytes() } else { input == output }
    }
}

struct Builder<'a> {
    skeleton: &'a Skeleton<'a>,
    batch: usize,
    costs: &'a Costs,
    bytes: usize,
    /// Bytes below which a tensor is small.
    small: usize,
    classes: Classes,
    rectified: Vec<Rectified>,
    /// Per class and format.
    class_costs: Vec<Vec<f64>>,
    stored: Vec<Stored>,
    position: BTreeMap<NodeId, usize>,
    variants: Vec<Vec<Variant>>,
    /// The item whose options say how a stored tensor is kept, or at least in which format.
    located: Vec<Option<usize>>,
    /// The format of each class that no item chooses.
    fixed: Vec<Format>,
    is_fixed: Vec<bool>,
    problem: Problem,
    meanings: Vec<Vec<Meaning>>,
    fixed_cost: f64,
}

impl Builder<'_> {
    fn build(mut self, recompute: bool) -> Program {
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
        self.link_rectifiers();
        self.link_recomputations();
        self.link_early_recomputations();
        self.add_savings();
        let Builder { problem, fixed_cost, meanings, classes, fixed, stored, .. } = self;
        Program { problem, fixed_cost, meanings, classes: classes.classes, fixed, stored, steps }
    }

    fn is_small(&self, stored: &Stored) -> bool {
        self.size(stored, Format::FP32, true) < self.small
    }

    /// Bytes of a tensor in a format. A parameter in FP32 is its master, which costs nothing more.
    fn size(&self, stored: &Stored, format: Format, with_parameters: bool) -> usize {
        let graph = self.skeleton.graph;
        let ty = graph.ty(stored.node);
        let width = match ty.dtype {
            DType::Index8 => 1,
            DType::F32 => format.bytes(),
            DType::Label => 4,
        };
        if graph.node(stored.node).role == Role::Parameter && format == Format::FP32 && !with_parameters {
            return 0;
        }
        (ty.shape.elements(self.batch) * width).next_multiple_of(self.skeleton.alignment.max(1))
    }

    /// Small tensors, and those that are stored nowhere, get what harms least and are kept for as long as anything may
    /// need them.
    fn fix_small_ones(&mut self) {
        for (at, stored) in self.stored.iter().enumerate() {
            if self.is_small(stored) || !stored.repeatable {
                let last = self.variants[at].iter().filter(|v| v.again.is_none()).filter_map(|v| v.alive.last());
                let last = last.map(|&[_, last]| last).max().unwrap_or(stored.first);
                self.variants[at] = vec![Variant { alive: vec![[stored.first, last]], again: None, apart: false }];
            }
        }
        let follow: Vec<usize> = self.rectified.iter().map(|of| of.output).collect();
        for class in (0..self.classes.classes.len()).filter(|class| !follow.contains(class)) {
            let members: Vec<usize> = self.members(class).collect();
            let bytes: usize = members.iter().map(|&at| self.size(&self.stored[at], Format::FP32, true)).sum();
            let best = (0..self.class_costs[class].len())
                .min_by(|&a, &b| self.class_costs[class][a].total_cmp(&self.class_costs[class][b]));
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

    /// A small rectifier's output has its input's format, and so has one whose input cannot be computed again.
    fn fix_small_rectifiers(&mut self) {
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

    /// The stored tensors of a class.
    fn members(&self, class: usize) -> impl Iterator<Item = usize> + use<'_> {
        (0..self.stored.len()).filter(move |&at| self.classes.of(self.stored[at].node) == Some(class))
    }

    /// The format of a stored tensor if no item chooses it.
    fn fixed_format(&self, at: usize) -> Option<Format> {
        match self.classes.of(self.stored[at].node) {
            None => Some(Format::FP32),
            Some(class) => self.is_fixed[class].then(|| self.fixed[class]),
        }
    }

    /// The stored tensor whose place another one takes, with the step.
    fn replaced(&self, at: usize) -> Option<(usize, usize)> {
        let other = self.skeleton.replaced[self.stored[at].node.index()]?;
        Some((*self.position.get(&other)?, self.stored[at].first))
    }

    /// A tensor ends a step earlier where one that always has its format takes its place, when both are computed again too.
    fn share_places_of_one_class(&mut self) {
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

    /// Whether a stored tensor is the output of a rectifier of the other one.
    fn is_rectified(&self, at: usize, other: usize) -> bool {
        let nodes = (self.stored[other].node, self.stored[at].node);
        self.classes.rectifiers.iter().any(|of| (of.input, of.output) == nodes)
    }

    fn uses(&self, at: usize, variant: &Variant, format: Format) -> Vec<Use> {
        let amount = self.size(&self.stored[at], format, false) as i64;
        let uses = variant.alive.iter().map(|&[first, last]| Use { first: first as u32, last: last as u32, amount });
        uses.filter(|u| u.amount > 0).collect()
    }

    /// An option: a format with what it costs, and a way to keep a stored tensor.
    fn choice(&self, at: usize, variant: &Variant, format: Format, harm: f64, time: Option<u32>) -> Choice {
        let mut choice = Choice { cost: harm, uses: self.uses(at, variant, format) };
        if variant.again.is_some() {
            let (cost, share) = self.costs.again(&self.stored[at].closure);
            choice.cost += cost;
            let amount = (share * TIME_UNIT) as i64;
            choice.uses.extend(time.map(|row| Use { first: row, last: row, amount }));
        }
        choice
    }

    fn take(&mut self, uses: &[Use]) {
        for used in uses {
            for row in used.first..=used.last {
                self.problem.limits[row as usize] -= used.amount;
            }
        }
    }

    fn add(&mut self, options: Vec<(Choice, Meaning)>) -> usize {
        let (options, meanings) = options.into_iter().unzip();
        self.problem.items.push(Item { options });
        self.meanings.push(meanings);
        self.problem.items.len() - 1
    }

    /// The item that chooses a class's format, and those that choose how its further tensors are kept.
    fn add_class(&mut self, class: usize, time: Option<u32>) {
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
                        let harm = if self.rectified.iter().any(repeats) { 0.0 } else { harm };
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

    /// Whether a variant of a rectifier's input or output is one of those that [`Rectified::fit`] some of the other's formats.
    fn is_useful(&self, class: usize, format: Format, variant: &Variant) -> bool {
        let Some(of) = self.rectified.iter().find(|of| [of.input, of.output].contains(&class)) else { return true };
        let formats = |class: usize| self.classes.classes[class].formats.iter().copied();
        let [input, output] =
            [of.input, of.output].map(|side| if side == class { vec![format] } else { formats(side).collect() });
        input.iter().any(|&input| output.iter().any(|&output| of.fit(input, output, variant.apart)))
    }

    /// A rectifier's output has its input's format, and its gradient reads it; or it has another one, and the gradient reads
    /// the input, which is computed again.
    fn link_rectifiers(&mut self) {
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
    }

    /// A stored tensor that is never rounded: an item if it may be recomputed.
    fn add_formatless(&mut self, at: usize, time: Option<u32>) {
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

    fn picks(&self, item: usize, is_meant: impl Fn(&Meaning) -> bool) -> Vec<Pick> {
        let meant = self.meanings[item].iter().enumerate().filter(|(_, meaning)| is_meant(meaning));
        meant.map(|(option, _)| pick(item, option)).collect()
    }

    /// What a recomputation reads has to be there.
    fn link_recomputations(&mut self) {
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
    fn readers(&self) -> Vec<Vec<usize>> {
        let mut readers = vec![Vec::new(); self.stored.len()];
        for (reader, stored) in self.stored.iter().enumerate() {
            for input in stored.inputs.iter().filter_map(|input| self.position.get(input)) {
                readers[*input].push(reader);
            }
        }
        readers
    }

    /// What is computed again before the backward pass itself reads it is so for something else that is computed then.
    fn link_early_recomputations(&mut self) {
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
    fn add_savings(&mut self) {
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

    /// The formats that a stored tensor may have.
    fn formats(&self, at: usize) -> Vec<Format> {
        match (self.fixed_format(at), self.classes.of(self.stored[at].node)) {
            (Some(format), _) => vec![format],
            (None, Some(class)) => self.classes.classes[class].formats.clone(),
            (None, None) => Vec::new(),
        }
    }
}

fn pick(item: usize, option: usize) -> Pick {
    Pick { item: item as u32, option: option as u32 }
}

/// What one choice for a tensor would cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Priced {
    /// The format, which all tensors of its class get.
    pub format: Format,
    /// Whether the tensor, or one of its class, is computed again in the backward pass.
    pub again: bool,
    /// The harm of rounding and what computing again takes.
    pub cost: f64,
    /// What its memory costs at the prices that the search ended with.
    pub memory: f64,
    /// Whether it was chosen.
    pub chosen: bool,
}

impl Program {
    /// The choices for a tensor (by its place in the order of [`crate::tensors`]) at `prices` per byte of each row, the best of each
    /// kind; nothing for one that takes no memory to speak of.
    pub fn priced(&self, tensor: usize, picks: &[u32], prices: &[f64]) -> Vec<Priced> {
        let class = self.classes.iter().position(|class| class.tensors.contains(&tensor));
        let chooses = |meanings: &Vec<Meaning>| {
            meanings.iter().any(|meaning| meaning.format.is_some_and(|(of, _)| Some(of) == class))
        };
        let Some(item) = self.meanings.iter().position(chooses) else { return Vec::new() };
        let mut until = vec![0.0];
        prices.iter().for_each(|price| until.push(until[until.len() - 1] + price));
        let memory = |u: &Use| (until[u.last as usize + 1] - until[u.first as usize]) * u.amount as f64;
        let mut found: Vec<Priced> = Vec::new();
        for (option, (choice, meaning)) in self.problem.items[item].options.iter().zip(&self.meanings[item]).enumerate()
        {
            let Some((_, format)) = meaning.format else { continue };
            let again = meaning.variant.as_ref().is_some_and(|(_, variant)| variant.again.is_some());
            let (cost, memory) = (choice.cost, choice.uses.iter().map(memory).sum());
            let chosen = picks.get(item) == Some(&(option as u32));
            let priced = Priced { format, again, cost, memory, chosen };
            match found.iter_mut().find(|other| (other.format, other.again) == (format, again)) {
                Some(other) if chosen || !other.chosen && cost + memory < other.cost + other.memory => *other = priced,
                Some(_) => {}
                None => found.push(priced),
            }
        }
        found
    }

    /// The rows that stand for the memory at the steps.
    pub fn memory_rows(&self) -> std::ops::Range<u32> {
        0..self.steps as u32
    }

    /// What a solution says: an option for each item.
    pub fn choices(&self, picks: &[u32]) -> Choices {
        let mut by_class = self.fixed.clone();
        let mut recomputed = BTreeSet::new();
        for (meanings, &pick) in self.meanings.iter().zip(picks) {
            let Some(Meaning { format, variant }) = meanings.get(pick as usize) else { continue };
            if let Some((class, format)) = format {
                by_class[*class] = *format;
            }
            if let Some((at, Variant { again: Some(_), .. })) = variant {
                recomputed.extend(self.stored[*at].closure.iter().copied());
            }
        }
        let tensors = self.classes.iter().map(|class| class.tensors.iter().max().map_or(0, |&t| t + 1)).max();
        let mut formats = vec![Format::FP32; tensors.unwrap_or(0)];
        for (class, format) in self.classes.iter().zip(by_class) {
            class.tensors.iter().for_each(|&tensor| formats[tensor] = format);
        }
        Choices { formats, recomputed: recomputed.into_iter().collect() }
    }
}
