//! The small network as a training graph and as a program.

use bitbudget_autodiff::{Optimizer, training};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId, Role};
use bitbudget_program::Program;
use bitbudget_schedule::{Setting, Storage, plan};
use bitbudget_testkit::NETWORK;

pub(crate) fn graph(optimizer: &Optimizer) -> Graph {
    training(&NETWORK.parse().unwrap(), optimizer).unwrap()
}

pub(crate) fn lowered(graph: &Graph, formats: &[Format], batch: usize) -> Program {
    lowered_as(graph, formats, batch, Storage::Packed)
}

pub(crate) fn lowered_as(graph: &Graph, formats: &[Format], batch: usize, storage: Storage) -> Program {
    let graph = graph.stored_in(formats);
    let stored = |id: NodeId| (graph.ty(id).shape.at(batch), formats[id.index()]);
    let workspace = |id| {
        let operands: Vec<_> = graph.operands(id).iter().copied().map(stored).collect();
        bitbudget_exec::workspace(graph.op(id), &operands, &graph.ty(id).shape.at(batch))
    };
    let workspace: Vec<usize> = graph.ids().map(workspace).collect();
    let setting = Setting { batch, storage, workspace: &workspace };
    bitbudget_lower::lower(&graph, &plan(&graph, &setting), &setting).unwrap()
}

/// A format per node by what the tensor is to the step; what is internal stays FP32.
pub(crate) fn formats(graph: &Graph, mut choose: impl FnMut(Role) -> Format) -> Vec<Format> {
    let format = |id| match graph.node(id).role {
        Role::Internal => Format::FP32,
        role => choose(role),
    };
    graph.ids().map(format).collect()
}
