//! Estimates of seconds from work and bytes.

use bitbudget_formats::Format;
use bitbudget_ir::{DType, Graph, NodeId, Op, Role, Stored, TensorType};

/// Arithmetic and copies of a machine with AVX-512 and two cores, per second; only their ratio to the whole step counts.
const FLOPS: f64 = 250e9;
const BYTES: f64 = 10e9;

/// Estimated seconds of an instruction that computes some nodes at a batch and touches so many bytes.
pub fn seconds(graph: &Graph, nodes: &[NodeId], batch: usize, bytes: f64) -> f64 {
    let flops = |&id: &NodeId| {
        let types: Vec<&TensorType> = graph.operands(id).iter().map(|&operand| graph.ty(operand)).collect();
        graph.op(id).work(&types, graph.ty(id), batch).flops as f64
    };
    (nodes.iter().map(flops).sum::<f64>() / FLOPS).max(bytes / BYTES)
}

/// The seconds that each node takes by itself, where every tensor holds FP32 numbers.
pub(crate) fn seconds_by_node(graph: &Graph, batch: usize) -> Vec<f64> {
    let exact = Stored::of(Role::Internal, Format::FP32);
    let bytes = |id: NodeId| exact.bytes(DType::F32, graph.ty(id).shape.elements(batch)) as f64;
    let of = |id: NodeId| {
        if graph.op(id).source_name().is_some() || matches!(graph.op(id), Op::Reshape(_)) {
            return 0.0;
        }
        let touched: f64 = graph.operands(id).iter().map(|&operand| bytes(operand)).sum::<f64>() + bytes(id);
        seconds(graph, &[id], batch, touched)
    };
    graph.ids().map(of).collect()
}
