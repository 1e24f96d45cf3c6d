//! Where the nodes of a graph come from.

use crate::role::NodeId;
use std::fmt;

/// A node of the training graph, in whichever graph it is named: graphs that are made of the training graph have node ids of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrainingId(pub u32);

impl TrainingId {
    /// The position in the training graph.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// The node, which is one of the training graph only.
    pub fn node(self) -> NodeId {
        NodeId(self.0)
    }
}

impl fmt::Display for TrainingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

/// How far a graph has come on its way from a file to a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// A network's forward pass.
    #[default]
    Imported,
    /// With loss, backward pass and updates; or the evaluation that is made of these.
    Training,
    /// Each tensor has its format.
    Assigned,
    /// Other operators may compute the tensors.
    Rewritten,
    /// Nodes stand in the order in which they are computed; what is computed several times has a node for each.
    Ordered,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Stage; 5] = [Stage::Imported, Stage::Training, Stage::Assigned, Stage::Rewritten, Stage::Ordered];

    /// The word in the graph's text.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Imported => "imported",
            Stage::Training => "training",
            Stage::Assigned => "assigned",
            Stage::Rewritten => "rewritten",
            Stage::Ordered => "ordered",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a node comes from, and how it is computed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The nodes of the training graph whose tensor it has after rounding, in order; the first names it. None, if that has no such tensor.
    /// A node of the training graph stands for itself.
    pub stands_for: Vec<TrainingId>,
    /// Whether it is the backward pass's own copy, computed again.
    pub again: bool,
    /// Whether it is computed inside the step that reads it, and stored nowhere.
    pub in_passing: bool,
    /// Whether another copy counts its overflows.
    pub uncounted: bool,
}

impl Origin {
    /// A node that stands for one of the training graph.
    pub fn of(id: TrainingId) -> Origin {
        Origin { stands_for: vec![id], ..Origin::default() }
    }
}
