//! The small network as a training graph and as a program.

use bitbudget_autodiff::{Optimizer, training};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, Role};
use bitbudget_program::Program;
use bitbudget_schedule::Storage;
use bitbudget_testkit::NETWORK;

pub(crate) fn graph(optimizer: &Optimizer) -> Graph {
    training(&NETWORK.parse().unwrap(), optimizer).unwrap()
}

pub(crate) fn lowered(graph: &Graph, formats: &[Format], batch: usize) -> Program {
    lowered_as(graph, formats, batch, Storage::Packed)
}

pub(crate) fn lowered_as(graph: &Graph, formats: &[Format], batch: usize, storage: Storage) -> Program {
    let graph = graph.stored_in(formats);
    bitbudget_testkit::lowered(&graph, batch, storage).unwrap()
}

/// A format per node by what the tensor is to the step; what is internal stays FP32.
pub(crate) fn formats(graph: &Graph, mut choose: impl FnMut(Role) -> Format) -> Vec<Format> {
    let format = |id| match graph.node(id).role {
        Role::Internal => Format::FP32,
        role => choose(role),
    };
    graph.ids().map(format).collect()
}
