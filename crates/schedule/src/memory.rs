//! What the memory is used for.

use crate::lifetimes::Lives;
use crate::{Tensors, place};
use bitbudget_ir::{Op, Role};

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

/// The memory at the peak.
pub(crate) fn peak(tensors: &Tensors<'_>, lives: &Lives, arena: usize) -> Memory {
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
    let backward = graph.backward();
    let mut used = 0;
    for item in lives.items.iter().filter(|item| item.first <= step && step <= item.last) {
        used += item.bytes;
        let Some(id) = item.tensors.iter().rev().find(|id| lives.computed[id.index()] <= step).or(item.tensors.first())
        else {
            memory.workspace += item.bytes;
            continue;
        };
        match graph.node(*id).role {
            Role::Parameter => memory.packed_parameters += item.bytes,
            Role::OutputGradient { .. } | Role::ParameterGradient { .. } => memory.gradients += item.bytes,
            Role::Internal if backward[id.index()] => memory.gradients += item.bytes,
            Role::Internal | Role::Output => memory.activations += item.bytes,
        }
    }
    memory.workspace += arena.saturating_sub(used);
    memory
}
