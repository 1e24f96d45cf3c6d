//! The integer program of a graph, and what a solution of it means.

mod builder;
mod choices;
mod links;
mod priced;
mod rectified;
mod rectifiers;

use crate::allowed::Allowed;
use crate::classes::{Classes, classes};
use crate::costs::Costs;
use crate::lives::stored;
use crate::step::{Skeleton, Where};
use bitbudget_formats::Format;
use bitbudget_ir::{NodeId, Op};
use bitbudget_precision::Tensor;
use bitbudget_solver::Problem;
use builder::Builder;
use rectified::rectified;

pub use choices::{Choices, Program};
pub use priced::Priced;

/// The integer program of `tensors` (the training graph's at `batch`) with `bytes` of memory beside what stays.
pub(crate) fn program(
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
    let rectified = rectified(&classes, &repeats);
    let mut rectified_of = vec![None; classes.classes.len()];
    for (at, of) in rectified.iter().enumerate().rev() {
        (rectified_of[of.input], rectified_of[of.output]) = (Some(at), Some(at));
    }
    let mut members = vec![Vec::new(); classes.classes.len()];
    for (at, stored) in stored.iter().enumerate() {
        classes.of(stored.node).into_iter().for_each(|class| members[class].push(at));
    }
    let builder = Builder {
        members,
        rectified,
        rectified_of,
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
