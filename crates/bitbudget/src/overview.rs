//! A network's operators and work.

use crate::Compiled;
use bitbudget_ir::{Graph, NodeId, Op, Role};
use serde::Serialize;
use std::collections::BTreeMap;

/// All operators of one type in a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OperatorTotals {
    /// How many there are.
    pub count: usize,
    /// Floating-point operations of the forward pass.
    pub flops: u64,
    /// Elements of their results.
    pub elements: u64,
}

/// A network's size and work at the batch that it was compiled for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// Elements of its parameters.
    pub parameters: u64,
    /// Floating-point operations of a forward pass.
    pub forward_flops: u64,
    /// Floating-point operations of a training step.
    pub training_flops: u64,
    /// Operators of the forward pass by name.
    pub operators: BTreeMap<&'static str, OperatorTotals>,
}

impl Compiled {
    /// The network's size and work.
    pub fn overview(&self) -> Overview {
        let (graph, batch) = (&self.training, self.assignment.batch);
        let mut operators: BTreeMap<&'static str, OperatorTotals> = BTreeMap::new();
        for id in graph.ids().filter(|&id| graph.node(id).role == Role::Output) {
            let entry = operators.entry(graph.op(id).name()).or_default();
            entry.count += 1;
            entry.flops += flops(graph, id, batch);
            entry.elements += graph.ty(id).shape.elements(batch) as u64;
        }
        let parameters = graph.ids().filter(|&id| matches!(graph.op(id), Op::Parameter(_)));
        Overview {
            parameters: parameters.map(|id| graph.ty(id).shape.elements(batch) as u64).sum(),
            forward_flops: operators.values().map(|o| o.flops).sum(),
            training_flops: graph.ids().map(|id| flops(graph, id, batch)).sum(),
            operators,
        }
    }
}

fn flops(graph: &Graph, id: NodeId, batch: usize) -> u64 {
    let operands = graph.operands(id);
    let types: Vec<_> = operands.iter().map(|&o| graph.ty(o)).collect();
    graph.op(id).work(&types, graph.ty(id), batch).flops
}
