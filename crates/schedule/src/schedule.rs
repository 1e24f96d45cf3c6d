//! Steps, and where their results lie.

use crate::memory::{Life, Memory};
use bitbudget_ir::NodeId;

/// Nodes that are computed together, then tensors end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The nodes, operands first.
    pub nodes: Vec<NodeId>,
    /// The tensors (never aliases) that nothing reads any more, in order of ids.
    pub ends: Vec<NodeId>,
    /// The byte offset of the workspace in the arena, if there is one.
    pub workspace: Option<usize>,
}

/// Where a result lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: it is used inside its step only.
    Inside,
    /// In the arena, from a byte offset on.
    Arena(usize),
    /// In the place of the parameter or state whose next value it is.
    Kept(NodeId),
    /// Where the tensor lies that it is an alias of.
    Alias,
}

/// An execution order with the places of all tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Every node that something needs, in one step.
    pub steps: Vec<Step>,
    /// Where results lie, by node id; nothing for sources that are not rounded and for nodes that nothing needs.
    pub places: Vec<Option<Place>>,
    /// Bytes of the arena.
    pub arena: usize,
    /// The content of the arena by step.
    pub lives: Vec<Life>,
    /// The tensors that are alive at the peak.
    pub peak: Memory,
}
