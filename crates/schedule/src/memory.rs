//! What the memory is used for.

use crate::lifetimes::Lives;
use crate::{Tensors, place};
use bitbudget_ir::{NodeId, Op, Role};

/// Bytes by use, at the step where most are alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Parameters as the optimizer updates them.
    pub masters: usize,
    /// What the optimizer and running statistics keep from step to step, and constants.
    pub state: usize,
    /// Parameters as forward and backward pass read them, where that is not the master itself.
    pub packed_parameters: usize,
    /// Results of the forward pass, most of them kept for the backward pass.
    pub activations: usize,
    /// Gradients, of parameters too.
    pub gradients: usize,
    /// What kernels need beside operands and results, and gaps between tensors.
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

/// What memory in the arena is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A parameter as forward and backward pass read it.
    Parameter,
    /// A result of the forward pass.
    Activation,
    /// A gradient.
    Gradient,
    /// What a kernel needs for itself.
    Workspace,
}

/// Memory in the arena that is needed from one step to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The tensor that lies there; none for workspace. Where a result takes the place of an operand, the operand's ends before.
    pub tensor: Option<NodeId>,
    /// What it is used for.
    pub usage: Use,
    /// Its size.
    pub bytes: usize,
    /// The first step.
    pub first: usize,
    /// The last step.
    pub last: usize,
}

/// What lies in the arena when, tensor by tensor.
pub(crate) fn in_arena(tensors: &Tensors<'_>, lives: &Lives) -> Vec<Life> {
    let backward = tensors.graph.backward();
    let mut found = Vec::new();
    for item in &lives.items {
        if item.tensors.is_empty() {
            let (bytes, first, last) = (item.bytes, item.first, item.last);
            found.push(Life { tensor: None, usage: Use::Workspace, bytes, first, last });
        }
        for (at, &id) in item.tensors.iter().enumerate() {
            let first = lives.computed[id.index()].max(item.first);
            let next = item.tensors.get(at + 1).map(|next| lives.computed[next.index()].saturating_sub(1));
            let (bytes, last) = (item.bytes, next.unwrap_or(item.last));
            let usage = match tensors.graph.node(id).role {
                Role::Parameter => Use::Parameter,
                Role::OutputGradient { .. } | Role::ParameterGradient { .. } => Use::Gradient,
                Role::Internal if backward[id.index()] => Use::Gradient,
                Role::Internal | Role::Output => Use::Activation,
            };
            found.push(Life { tensor: Some(id), usage, bytes, first, last });
        }
    }
    found
}

/// The memory at the peak.
pub(crate) fn peak(tensors: &Tensors<'_>, lives: &Lives, in_arena: &[Life], arena: usize) -> Memory {
    let live = place::live(&lives.items);
    let step = (0..live.len()).max_by_key(|&step| (live[step], std::cmp::Reverse(step))).unwrap_or(0);
    let mut memory = Memory { step, ..Memory::default() };
    let graph = tensors.graph;
    for id in graph.ids() {
        match graph.op(id) {
            Op::Parameter(_) => memory.masters += tensors.bytes(id),
            Op::State(_) | Op::Constant(_) => memory.state += tensors.bytes(id),
            _ => {}
        }
    }
    let mut used = 0;
    for life in in_arena.iter().filter(|life| life.first <= step && step <= life.last) {
        used += life.bytes;
        match life.usage {
            Use::Parameter => memory.packed_parameters += life.bytes,
            Use::Activation => memory.activations += life.bytes,
            Use::Gradient => memory.gradients += life.bytes,
            Use::Workspace => memory.workspace += life.bytes,
        }
    }
    memory.workspace += arena.saturating_sub(used);
    memory
}
