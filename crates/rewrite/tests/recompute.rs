//! Recomputed tensors: the same bits, from copies that stand just before their readers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

mod training;

use bitbudget_formats::Format;
use bitbudget_ir::{NodeId, Role};
use bitbudget_rewrite::recompute;
use proptest::prelude::*;
use training::{network, run, steps};

#[test]
fn nothing_changes_without_recomputed_tensors() {
    let graph = network();
    let same = recompute(&graph, &steps(&graph), &[]).unwrap();
    assert_eq!(same.graph.len(), graph.len());
    assert!(same.origins.iter().all(|origin| !origin.again));
    assert_eq!(run(&same.graph), run(&graph));
}

#[test]
fn steps_that_lack_operands_are_an_error() {
    let graph = network();
    let mut reversed = steps(&graph);
    reversed.reverse();
    let error = recompute(&graph, &reversed, &[]).unwrap_err();
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
        let found = recompute(&graph.stored_in(&formats), &steps(&graph), &again).unwrap();
        prop_assert_eq!(run(&found.graph), run(&graph));
        let behind = found.graph.backward();
        for id in found.graph.ids() {
            let origin = found.origins[id.index()];
            prop_assert_eq!(found.graph.format(id), formats[origin.node.index()]);
            prop_assert_eq!(found.graph.op(id), graph.op(origin.node));
            if let (Role::OutputGradient { of }, Role::OutputGradient { of: old }) =
                (found.graph.node(id).role, graph.node(origin.node).role)
            {
                prop_assert_eq!(found.origins[of.index()].node, old);
            }
            // The backward pass reads no original that was to be recomputed, and a copy comes when it is needed.
            if behind[id.index()] {
                for &operand in found.graph.operands(id) {
                    let [reader, origin] = [id, operand].map(|id| found.origins[id.index()]);
                    // What is computed in the step of its only readers is of the backward pass itself.
                    let together = steps(&graph).iter().any(|s| s.contains(&origin.node) && s.contains(&reader.node));
                    prop_assert!(together || origin.again || !again.contains(&origin.node), "{} is read", origin.node);
                }
            }
            if origin.again {
                let next = found.origins[id.index() + 1];
                let is_backward = |step: &Vec<NodeId>| step.contains(&next.node) && step.iter().any(|id| backward[id.index()]);
                prop_assert!(next.again || steps(&graph).iter().any(is_backward), "{} is next", next.node);
            }
        }
    }
}
