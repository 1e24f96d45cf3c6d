//! The kernels of a graph's steps.

use crate::group::Group;
use crate::target::Target;
use bitbudget_ir::{Graph, NodeId};
use bitbudget_program::Kernel;

/// The kernels of steps; `inside` says by node which results are used inside their step only.
pub fn select(target: &dyn Target, graph: &Graph, steps: &[Vec<NodeId>], inside: &[bool], batch: usize) -> Vec<Kernel> {
    steps.iter().map(|nodes| target.kernel(&Group::new(graph, nodes, inside, batch))).collect()
}
