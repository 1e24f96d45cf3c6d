//! Recomputed tensors: the same bits, from copies that stand just before their readers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_autodiff::{Optimizer, training};
use bitbudget_formats::Format;
use bitbudget_ir::{Bindings, Graph, NodeId, Op, Role, interpret};
use bitbudget_rewrite::recompute;
use bitbudget_testkit::{NETWORK, numbers};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// All outputs on fixed numbers.
fn run(graph: &Graph) -> Vec<Vec<f32>> {
    let mut values = BTreeMap::new();
    for id in graph.ids() {
        if let Some(name) = graph.op(id).source_name() {
            let count = graph.ty(id).shape.elements(2);
            let numbers = match graph.op(id) {
                Op::Label(_) => vec![1.0; count],
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

fn network() -> Graph {
    training(&NETWORK.parse().unwrap(), &Optimizer::sgd()).unwrap().without_dead_nodes().0
}

/// Steps of two nodes.
fn steps(graph: &Graph) -> Vec<Vec<NodeId>> {
    let computed: Vec<NodeId> = graph.ids().filter(|&id| graph.op(id).source_name().is_none()).collect();
    computed.chunks(2).map(<[NodeId]>::to_vec).collect()
}

#[test]
fn nothing_changes_without_recomputed_tensors() {
    let graph = network();
    let same = recompute(&graph, &vec![Format::FP32; graph.len()], &steps(&graph), &[]).unwrap();
    assert_eq!(same.graph.len(), graph.len());
    assert!(same.origins.iter().all(|origin| !origin.again));
    assert_eq!(run(&same.graph), run(&graph));
}

#[test]
fn steps_that_lack_operands_are_an_error() {
    let graph = network();
    let mut reversed = steps(&graph);
    reversed.reverse();
    let error = recompute(&graph, &vec![Format::FP32; graph.len()], &reversed, &[]).unwrap_err();
    assert!(error.to_string().contains("in the order"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tensors_can_be_recomputed(picks in proptest::collection::vec(any::<bool>(), 40)) {
        let graph = network();
        let backward = graph.backward();
        let forward = |id: &NodeId| !backward[id.index()] && graph.op(*id).source_name().is_none();
        let candidates = graph.ids().filter(forward);
        let again: Vec<NodeId> = candidates.zip(&picks).filter_map(|(id, &pick)| pick.then_some(id)).collect();
        let formats: Vec<Format> = graph.ids().map(|id| [Format::FP32, Format::BF16][id.index() % 2]).collect();
        let found = recompute(&graph, &formats, &steps(&graph), &again).unwrap();
        prop_assert_eq!(run(&found.graph), run(&graph));
        let behind = found.graph.backward();
        for id in found.graph.ids() {
            let origin = found.origins[id.index()];
            prop_assert_eq!(found.formats[id.index()], formats[origin.node.index()]);
            prop_assert_eq!(found.graph.op(id), graph.op(origin.node));
            if let (Role::OutputGradient { of }, Role::OutputGradient { of: old }) =
                (found.graph.node(id).role, graph.node(origin.node).role)
            {
                prop_assert_eq!(found.origins[of.index()].node, old);
            }
            // The backward pass reads no original that was to be recomputed, and a copy comes when it is needed.
            if behind[id.index()] {
                for operand in found.graph.operands(id) {
                    let origin = found.origins[operand.index()];
                    prop_assert!(origin.again || !again.contains(&origin.node), "{} is read", origin.node);
                }
            }
            if origin.again {
                let next = found.graph.node(NodeId(id.0 + 1)).clone();
                prop_assert!(behind[id.index() + 1] || found.origins[id.index() + 1].again, "{next:?}");
            }
        }
    }
}
