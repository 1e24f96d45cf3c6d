//! The seconds of single nodes.

use crate::load::Load;
use crate::target::Target;
use bitbudget_ir::Graph;

/// The estimated seconds of each node by itself, where every tensor holds FP32 numbers.
pub fn alone(target: &dyn Target, graph: &Graph, batch: usize) -> Vec<f64> {
    graph.ids().map(|id| target.seconds(Load::exact(graph, id, batch))).collect()
}
