//! A training graph and what it computes.

use bitbudget_autodiff::{Optimizer, training};
use bitbudget_ir::{Bindings, Graph, NodeId, Op, interpret};
use bitbudget_testkit::{NETWORK, numbers};
use std::collections::BTreeMap;

/// All outputs on fixed numbers.
pub(crate) fn run(graph: &Graph) -> Vec<Vec<f32>> {
    let mut values = BTreeMap::new();
    for id in graph.ids() {
        if let Some(name) = graph.op(id).source_name() {
            let count = graph.ty(id).shape.elements(2);
            let numbers = match graph.op(id) {
                Op::Input(op) if op.target => vec![1.0; count],
                Op::State(_) | Op::Scalar(_) => vec![0.5; count],
                // By name, since ids differ.
                _ => numbers(count, name.bytes().map(usize::from).sum()),
            };
            values.insert(name.to_string(), numbers);
        }
    }
    let results = interpret(graph, &Bindings { batch: 2, values }).unwrap();
    let updates = graph.updates().iter().map(|&(_, value)| value);
    let outputs = graph.outputs().iter().map(|&(_, id)| id).chain(updates);
    outputs.map(|id| results[id.index()].data.clone()).collect()
}

/// The training graph of a small network.
pub(crate) fn network() -> Graph {
    training(&NETWORK.parse().unwrap(), &Optimizer::sgd()).unwrap().without_dead_nodes().0
}

/// Steps of two nodes.
pub(crate) fn steps(graph: &Graph) -> Vec<Vec<NodeId>> {
    let computed: Vec<NodeId> = graph.ids().filter(|&id| graph.op(id).source_name().is_none()).collect();
    computed.chunks(2).map(<[NodeId]>::to_vec).collect()
}
