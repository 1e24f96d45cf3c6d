//! Derived tensors: the same bits, from a copy in every step that reads them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

mod training;

use bitbudget_formats::Format;
use bitbudget_ir::{NodeId, Origin, verify};
use bitbudget_rewrite::derive;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use training::{network, run, steps};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tensors_can_be_derived(picks in proptest::collection::vec(any::<bool>(), 90)) {
        let graph = network();
        let mut lasting: BTreeSet<NodeId> = graph.outputs().iter().map(|&(_, id)| id).collect();
        lasting.extend(graph.updates().iter().map(|&(_, id)| id));
        let free = |id: &NodeId| graph.op(*id).source_name().is_none() && !lasting.contains(id);
        let (steps, all) = (steps(&graph), graph.ids().filter(free));
        let picked = all.zip(picks.iter().cycle()).filter(|&(_, &pick)| pick);
        // Each is counted in the step of its first reader.
        let step = |id: NodeId| steps.iter().position(|nodes| nodes.contains(&id));
        let first = |id: NodeId| graph.readers(id).first().and_then(|&reader| step(reader)).unwrap_or(0);
        let derived: BTreeMap<NodeId, usize> = picked.map(|(id, _)| (id, first(id))).collect();
        let formats: Vec<Format> = graph.ids().map(|id| [Format::FP32, Format::BF16][id.index() % 2]).collect();
        let found = derive(&graph.stored_in(&formats), &steps, &derived).unwrap();
        prop_assert_eq!(verify(&found), Ok(()));
        prop_assert_eq!(run(&found), run(&graph));
        let mut counted = BTreeMap::new();
        for id in found.ids() {
            let old = found.origin(id).unwrap().node();
            let Origin { in_passing, uncounted, .. } = found.node(id).origin;
            prop_assert_eq!(found.format(id), formats[old.index()]);
            prop_assert_eq!(found.op(id), graph.op(old));
            prop_assert_eq!(in_passing, derived.contains_key(&old));
            prop_assert!(in_passing || !uncounted);
            *counted.entry(old).or_insert(0) += usize::from(!uncounted);
        }
        // Nothing is counted twice; what is not counted is read in its first reader's step by derived nodes only.
        prop_assert!(counted.values().all(|&count| count <= 1), "{counted:?}");
        prop_assert!(counted.iter().all(|(id, &count)| count == 1 || derived.contains_key(id)));
    }
}

#[test]
fn every_step_has_copies_of_its_own() {
    let graph = network();
    let relu = graph.ids().find(|&id| graph.node(id).name == "relu").unwrap();
    let normalized = graph.operands(relu)[0];
    let steps: Vec<Vec<NodeId>> =
        graph.ids().filter(|&id| graph.op(id).source_name().is_none()).map(|id| vec![id]).collect();
    let derived = BTreeMap::from([(relu, 0), (normalized, 0)]);
    let found = derive(&graph, &steps, &derived).unwrap();
    let copies = |of| found.ids().filter(|&id| found.origin(id).unwrap().node() == of).count();
    // Readers of the rectifier: two convolutions' passes, an addition; its gradient reads what was normalized.
    assert_eq!(copies(relu), graph.readers(relu).len());
    assert_eq!(copies(normalized), graph.readers(relu).len() + graph.readers(normalized).len() - 1);
}
