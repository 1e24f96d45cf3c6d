//! The nodes of each step.

use crate::tensors::Tensors;
use crate::{fuse, order};
use bitbudget_ir::{Graph, NodeId, Stage};

/// The nodes of each step: in order, unless the graph is, and those together that are computed together. What is computed in passing is
/// in the step that reads it.
pub fn group(graph: &Graph, batch: usize) -> Vec<Vec<NodeId>> {
    let tensors = Tensors::packed(graph, batch);
    let order = match graph.stage() {
        Stage::Ordered => graph.ids().filter(|&id| tensors.is_computed(id)).collect(),
        _ => order::order(&tensors),
    };
    fuse::units(&tensors, &order)
}

/// As [`group`], with the nodes in the graph's own order and each in a step of its own, so that every result is stored.
pub fn one_by_one(graph: &Graph) -> Vec<Vec<NodeId>> {
    let tensors = Tensors::packed(graph, 1);
    graph.ids().filter(|&id| tensors.is_computed(id)).map(|id| vec![id]).collect()
}
