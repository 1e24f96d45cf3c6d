//! Recomputed tensors: the same bits, from copies that stand just before their readers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

mod training;

use bitbudget_formats::Format;
use bitbudget_ir::{NodeId, Role, TrainingId, verify};
use bitbudget_rewrite::recompute;
use proptest::prelude::*;
use training::{network, run, steps};

#[test]
fn nothing_changes_without_recomputed_tensors() {
    let graph = network();
    let same = recompute(&graph, &steps(&graph), &[]).unwrap();
    assert_eq!(same.len(), graph.len());
    assert!(same.ids().all(|id| !same.node(id).origin.again));
    assert_eq!(run(&same), run(&graph));
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
        let again: Vec<TrainingId> =
            candidates.zip(&picks).filter_map(|(id, &pick)| graph.origin(id).filter(|_| pick)).collect();
        let formats: Vec<Format> = graph.ids().map(|id| [Format::FP32, Format::BF16][id.index() % 2]).collect();
        let found = recompute(&graph.stored_in(&formats), &steps(&graph), &again).unwrap();
        prop_assert_eq!(verify(&found), Ok(()));
        prop_assert_eq!(run(&found), run(&graph));
        let behind = found.backward();
        let old = |id| found.origin(id).unwrap().node();
        let is_copy = |id| found.node(id).origin.again;
        for id in found.ids() {
            prop_assert_eq!(found.format(id), formats[old(id).index()]);
            prop_assert_eq!(found.op(id), graph.op(old(id)));
            if let (Role::OutputGradient { of }, Role::OutputGradient { of: first }) =
                (found.node(id).role, graph.node(old(id)).role)
            {
                prop_assert_eq!(old(of), first);
            }
            // The backward pass reads no original that was to be recomputed, and a copy comes when it is needed.
            if behind[id.index()] {
                for &operand in found.operands(id) {
                    // What is computed in the step of its only readers is of the backward pass itself.
                    let together = steps(&graph).iter().any(|s| s.contains(&old(operand)) && s.contains(&old(id)));
                    let origin = found.origin(operand).unwrap();
                    prop_assert!(together || is_copy(operand) || !again.contains(&origin), "{origin} is read");
                }
            }
            if is_copy(id) {
                let next = NodeId(id.0 + 1);
                let is_backward =
                    |step: &Vec<NodeId>| step.contains(&old(next)) && step.iter().any(|id| backward[id.index()]);
                prop_assert!(is_copy(next) || steps(&graph).iter().any(is_backward), "{} is next", old(next));
            }
        }
    }
}
