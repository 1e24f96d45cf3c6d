//! The instructions of a step, and what is alive while each runs.

use crate::build::{Built, computes, is_view};
use bitbudget_ir::{Graph, NodeId, Op};
use bitbudget_report::{Instruction, Life, USES};
use bitbudget_schedule::Use;
use std::collections::BTreeMap;

/// The uses by their position in [`USES`].
pub(super) const MASTERS: usize = 0;
pub(super) const STATE: usize = 1;
pub(super) const GRADIENTS: usize = 4;
const WORKSPACE: usize = 5;

/// The instructions that compute, in order.
pub(super) struct Instructions {
    computes: Vec<String>,
    /// Bytes that are alive, by use.
    pub(super) bytes: Vec<[usize; USES.len()]>,
    /// The first instruction of the backward pass.
    pub(super) backward: usize,
    /// The tensors in the arena by node of the built graph, with their use.
    pub(super) lives: BTreeMap<NodeId, (usize, Vec<Life>)>,
}

impl Instructions {
    /// As reports have them.
    pub(super) fn described(&self) -> Vec<Instruction> {
        let both = self.computes.iter().zip(&self.bytes);
        both.map(|(computes, &bytes)| Instruction { computes: computes.clone(), bytes }).collect()
    }
}

/// The instructions of a built training graph; threads take so much scratch memory.
pub(super) fn instructions(training: &Graph, built: &Built, scratch: usize) -> Instructions {
    let Built { graph, schedule, program, .. } = built;
    // Views are no instructions: what begins there begins with the next one, what ends there has ended with the one before.
    let mut before = vec![0];
    for step in &schedule.steps {
        before.push(before[before.len() - 1] + usize::from(!is_view(schedule, step)));
    }
    let count = before[before.len() - 1];
    let computing: Vec<_> = schedule.steps.iter().filter(|step| !is_view(schedule, step)).collect();
    let mut bytes = vec![[0; USES.len()]; count];
    let kept = |is: fn(&Op) -> bool| -> usize {
        graph.ids().filter(|&id| is(graph.op(id))).map(|id| program.buffers[id.index()].bytes()).sum()
    };
    let masters = kept(|op| matches!(op, Op::Parameter(_)));
    let state = kept(|op| matches!(op, Op::State(_) | Op::Constant(_)));
    for instruction in &mut bytes {
        (instruction[MASTERS], instruction[STATE], instruction[WORKSPACE]) = (masters, state, scratch);
    }
    let mut lives: BTreeMap<NodeId, (usize, Vec<Life>)> = BTreeMap::new();
    for life in &schedule.lives {
        let usage = match life.usage {
            Use::Parameter => 2,
            Use::Activation => 3,
            Use::Gradient => GRADIENTS,
            Use::Workspace => WORKSPACE,
        };
        let (first, last) = (before[life.first], before[life.last + 1]);
        bytes[first..last].iter_mut().for_each(|instruction| instruction[usage] += life.bytes);
        if let (Some(id), true) = (life.tensor, first < last) {
            lives.entry(id).or_insert((usage, Vec::new())).1.push(Life(first, last - 1, life.bytes));
        }
    }
    let backward = training.backward();
    let is_backward = |&id: &NodeId| graph.origin(id).is_some_and(|origin| backward[origin.index()]);
    Instructions {
        computes: computing.iter().map(|step| computes(training, graph, step)).collect(),
        bytes,
        backward: computing.iter().position(|step| step.nodes.iter().any(is_backward)).unwrap_or(count),
        lives,
    }
}
