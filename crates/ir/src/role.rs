//! Nodes by number, and what their tensors are to the training step.

/// A node, and the tensor that it produces; ids ascend in execution order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The position in execution order.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "%{}", self.0)
    }
}

/// The role of a tensor in the training step; formats are assigned by it (paper, "The problem").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Never rounded: sources, statistics, sums of gradients, optimizer state, scratch of a gradient.
    Internal,
    /// The result of a forward operator (Y), or of one that only relabels.
    Output,
    /// The rounded copy of a master that forward and backward pass read (P).
    Parameter,
    /// One reader's contribution to the gradient of an output (GY).
    OutputGradient {
        /// The output whose gradient it is.
        of: NodeId,
    },
    /// One reader's contribution to the gradient of a parameter (GP).
    ParameterGradient {
        /// The parameter whose gradient it is.
        of: NodeId,
    },
}
