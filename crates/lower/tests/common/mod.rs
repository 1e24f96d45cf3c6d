//! The small network as a training graph and as a program.

use bitbudget_autodiff::{Optimizer, training};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, Role};
use bitbudget_program::Program;
use bitbudget_testkit::NETWORK;

pub(crate) fn graph(optimizer: &Optimizer) -> Graph {
    training(&NETWORK.parse().unwrap(), optimizer).unwrap()
}

pub(crate) fn lowered(graph: &Graph, formats: &[Format], batch: usize) -> Program {
    let schedule = bitbudget_schedule::plan(graph, formats);
    bitbudget_lower::lower(graph, formats, &schedule, batch).unwrap()
}

/// A format per node by what the tensor is to the step; what is internal stays FP32.
pub(crate) fn formats(graph: &Graph, mut choose: impl FnMut(Role) -> Format) -> Vec<Format> {
    let format = |id| match graph.node(id).role {
        Role::Internal => Format::FP32,
        role => choose(role),
    };
    graph.ids().map(format).collect()
}
