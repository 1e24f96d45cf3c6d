//! The integer program of a graph, and what a solution of it means.

mod builder;
mod links;
mod priced;
mod rectifiers;

use self::builder::Builder;
pub use self::priced::Priced;
use self::rectifiers::rectified;
use super::classes::{Class, Classes, classes};
use super::lives::{Stored, stored};
use super::variants::Variant;
use super::{Allowed, Costs, Skeleton, Where};
use crate::tensors::Tensor;
use bitbudget_formats::Format;
use bitbudget_ir::{NodeId, Op, TrainingId};
use bitbudget_solver::{Pick, Problem};
use std::collections::BTreeSet;
use std::ops::Range;

/// An integer program, and what its options stand for.
#[derive(Clone, Debug)]
pub struct Program {
    /// One row per step of the schedule, then one for the time if that is bounded.
    pub problem: Problem,
    /// What the choices that are left to no item cost.
    pub fixed_cost: f64,
    /// Bytes in FP32 of the tensors that are too small to be chosen for; no choice for them saves more.
    pub spare: usize,
    meanings: Vec<Vec<Meaning>>,
    classes: Vec<Class>,
    fixed: Vec<Format>,
    stored: Vec<Stored>,
    steps: usize,
    /// The links that say which choices for a rectifier's output go with which for its input.
    rectifying: Range<usize>,
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
    pub recomputed: Vec<TrainingId>,
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
    let builder = Builder {
        rectified: rectified(&classes, &repeats),
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

fn pick(item: usize, option: usize) -> Pick {
    Pick { item: item as u32, option: option as u32 }
}

impl Program {
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
