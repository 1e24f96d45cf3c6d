//! The uses of memory.

use bitbudget_ir::NodeId;

/// Bytes by use, at the step where most are alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Parameters as the optimizer updates them.
    pub masters: usize,
    /// State of the optimizer, running statistics, and constants.
    pub state: usize,
    /// Parameters as forward and backward pass read them, where that is not the master itself.
    pub packed_parameters: usize,
    /// Results of the forward pass, most of them kept for the backward pass.
    pub activations: usize,
    /// Gradients, of parameters too.
    pub gradients: usize,
    /// Memory of kernels beside operands and results, and gaps between tensors.
    pub workspace: usize,
    /// The step at which the peak is.
    pub step: usize,
}

impl Memory {
    /// All bytes together.
    pub fn total(&self) -> usize {
        self.masters + self.state + self.without_masters_and_state()
    }

    /// All bytes but those that stay from step to step.
    pub fn without_masters_and_state(&self) -> usize {
        self.packed_parameters + self.activations + self.gradients + self.workspace
    }
}

/// The use of memory in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A parameter as forward and backward pass read it.
    Parameter,
    /// A result of the forward pass.
    Activation,
    /// A gradient.
    Gradient,
    /// A kernel's own workspace.
    Workspace,
}

/// Memory in the arena that is needed from one step to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The tensor that lies there; none for workspace. Where a result takes the place of an operand, the operand's ends before.
    pub tensor: Option<NodeId>,
    /// Its use.
    pub usage: Use,
    /// Its size.
    pub bytes: usize,
    /// The first step.
    pub first: usize,
    /// The last step.
    pub last: usize,
}
