//! The steps at which stored tensors are computed and read.

use crate::classes::Rectifier;
use crate::step::{Skeleton, Where};
use bitbudget_ir::{NodeId, Role, TrainingId};
use std::collections::{BTreeMap, BTreeSet};

/// The first and the last step of several.
pub(crate) type Reads = Option<[usize; 2]>;

/// The role of a tensor at a rectifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Input,
    Output,
}

/// How a rectifier's input or output is read if they have two formats, so that the gradient reads the input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Apart {
    pub(crate) side: Side,
    pub(crate) reads: Reads,
    /// Whether there is a format that both may have.
    pub(crate) has_common: bool,
}

/// A stored tensor.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) node: NodeId,
    /// The step that computes it.
    pub(crate) first: usize,
    /// The last step of the forward pass that reads it, or the first one of all.
    pub(crate) forward: usize,
    /// The first and the last step of the backward pass that read it.
    pub(crate) backward: Reads,
    /// Where it is a rectifier's input or output.
    pub(crate) apart: Option<Apart>,
    /// The nodes that its recomputation computes: results that are stored nowhere, and itself last.
    pub(crate) closure: Vec<TrainingId>,
    /// The stored tensors that these read.
    pub(crate) inputs: Vec<NodeId>,
    /// Whether it can be computed again.
    pub(crate) repeatable: bool,
}

impl Stored {
    /// The first and the last step of the backward pass that read it, if its format is a rectifier's other tensor's or not.
    pub(crate) fn reads(&self, apart: bool) -> Reads {
        self.apart.filter(|_| apart).map_or(self.backward, |apart| apart.reads)
    }
}

/// The stored tensor in which a node's result lies.
pub(crate) fn root(skeleton: &Skeleton<'_>, mut id: NodeId) -> Option<NodeId> {
    loop {
        match skeleton.places[id.index()] {
            Where::Own => return Some(id),
            Where::Of(other) => id = other,
            Where::Nowhere => return None,
        }
    }
}

/// All stored tensors, in the order in which they are computed.
pub(crate) fn stored(skeleton: &Skeleton<'_>, rectifiers: &[Rectifier]) -> Vec<Stored> {
    let graph = skeleton.graph;
    let backward = graph.backward();
    let mut at = vec![None; graph.len()];
    let mut found: Vec<Stored> = Vec::new();
    let mut sides = BTreeMap::new();
    for of in rectifiers.iter().rev() {
        let apart = |side| Apart { side, reads: None, has_common: of.has_common };
        sides.insert(of.output, apart(Side::Output));
        sides.insert(of.input, apart(Side::Input));
    }
    let reading: BTreeMap<_, NodeId> = rectifiers.iter().rev().map(|of| ((of.gradient, of.output), of.input)).collect();
    for (step, nodes) in skeleton.steps.iter().enumerate() {
        for &id in nodes.iter().filter(|id| skeleton.places[id.index()] == Where::Own) {
            at[id.index()] = Some(found.len());
            let (closure, inputs, repeatable) = closure(skeleton, &backward, id);
            found.push(Stored {
                node: id,
                first: step,
                forward: step,
                backward: None,
                apart: sides.get(&id).copied(),
                closure,
                inputs,
                repeatable,
            });
        }
    }
    for (step, nodes) in skeleton.steps.iter().enumerate() {
        // A step with a node of the backward pass belongs to that as a whole.
        let is_backward = nodes.iter().any(|id| backward[id.index()]);
        for &id in nodes {
            for &operand in graph.operands(id) {
                let Some(index) = root(skeleton, operand).and_then(|root| at[root.index()]) else { continue };
                let stored = &mut found[index];
                if !is_backward || backward[stored.node.index()] {
                    stored.forward = stored.forward.max(step);
                    continue;
                }
                read(&mut stored.backward, step);
                let input = graph.origin(id).and_then(|gradient| reading.get(&(gradient, stored.node)));
                let reads_apart = input.map_or(Some(index), |input| at[input.index()]);
                if let Some(apart) = reads_apart.and_then(|index| found[index].apart.as_mut()) {
                    read(&mut apart.reads, step);
                }
            }
        }
    }
    let end = skeleton.steps.len().saturating_sub(1);
    let updates = graph.updates().iter().map(|&(_, value)| value);
    for id in graph.outputs().iter().map(|&(_, id)| id).chain(updates) {
        if let Some(index) = root(skeleton, id).and_then(|root| at[root.index()]) {
            found[index].forward = end;
        }
    }
    found
}

fn read(reads: &mut Reads, step: usize) {
    let [first, last] = reads.get_or_insert([step, step]);
    (*first, *last) = ((*first).min(step), (*last).max(step));
}

/// The recomputation of a tensor: its nodes in the training graph, its stored inputs, and whether it is possible at all.
fn closure(skeleton: &Skeleton<'_>, backward: &[bool], id: NodeId) -> (Vec<TrainingId>, Vec<NodeId>, bool) {
    let graph = skeleton.graph;
    let (mut nodes, mut inputs) = (BTreeSet::new(), BTreeSet::new());
    let mut pending = vec![id];
    let role = graph.node(id).role;
    let gradient = matches!(role, Role::OutputGradient { .. } | Role::ParameterGradient { .. });
    let possible = !backward[id.index()] && !gradient && graph.op(id).source_name().is_none();
    while let Some(node) = pending.pop() {
        if !nodes.insert(node) {
            continue;
        }
        for mut operand in graph.operands(node).iter().copied() {
            // What only shows another tensor is shown anew.
            while let Where::Of(other) = skeleton.places[operand.index()] {
                operand = other;
            }
            match (root(skeleton, operand), graph.op(operand).source_name()) {
                (Some(root), _) => {
                    inputs.insert(root);
                }
                (None, Some(_)) => {}
                (None, None) => pending.push(operand),
            }
        }
    }
    let origins: Option<Vec<TrainingId>> = nodes.into_iter().map(|id| graph.origin(id)).collect();
    let possible = possible && origins.is_some();
    (origins.unwrap_or_default(), inputs.into_iter().collect(), possible)
}
