//! The work of steps and the bytes that they touch.

use bitbudget_formats::Format;
use bitbudget_ir::{DType, Graph, NodeId, Op, Role, Stored, TensorType};
use std::collections::BTreeSet;

/// The work of a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Floating-point operations.
    pub flops: f64,
    /// Bytes that are read and written.
    pub bytes: f64,
}

impl Load {
    /// The load of a step: its work, and each stored tensor that it reads or writes once. `inside` says by node which results are used
    /// inside their step only.
    pub fn of(graph: &Graph, nodes: &[NodeId], inside: &[bool], batch: usize) -> Load {
        if nodes.iter().all(|&id| graph.is_alias(id)) {
            return Load::default();
        }
        let written = nodes.iter().copied().filter(|&id| !graph.is_alias(id));
        let read = nodes.iter().flat_map(|&id| graph.operands(id)).map(|&id| graph.storage(id));
        let touched: BTreeSet<NodeId> = written.chain(read).filter(|id| !inside[id.index()]).collect();
        let bytes = touched.into_iter().map(|id| graph.bytes(id, batch) as f64).sum();
        Load { flops: nodes.iter().map(|&id| flops(graph, id, batch)).sum(), bytes }
    }

    /// The load of a node by itself, where all its tensors hold FP32 numbers.
    pub(crate) fn exact(graph: &Graph, id: NodeId, batch: usize) -> Load {
        if graph.op(id).source_name().is_some() || matches!(graph.op(id), Op::Reshape(_)) {
            return Load::default();
        }
        let exact = Stored::of(Role::Internal, Format::FP32);
        let bytes = |id: NodeId| exact.bytes(DType::F32, graph.ty(id).shape.elements(batch)) as f64;
        let read: f64 = graph.operands(id).iter().map(|&operand| bytes(operand)).sum();
        Load { flops: flops(graph, id, batch), bytes: read + bytes(id) }
    }
}

fn flops(graph: &Graph, id: NodeId, batch: usize) -> f64 {
    let types: Vec<&TensorType> = graph.operands(id).iter().map(|&operand| graph.ty(operand)).collect();
    graph.op(id).work(&types, graph.ty(id), batch).flops as f64
}
