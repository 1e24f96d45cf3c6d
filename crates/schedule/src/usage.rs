//! The use of the memory of placed tensors.

use crate::lifetimes::Lives;
use crate::memory::{Life, Memory, Use};
use crate::offsets;
use crate::tensors::Tensors;
use bitbudget_ir::{Op, Role};

/// The content of the arena by step, tensor by tensor.
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
    let live = offsets::live(&lives.items);
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
