//! Every tensor is there when it is read, and gone once it no longer is.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_autodiff::{Optimizer, training};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId, Role};
use bitbudget_schedule::{is_alias, plan, storage};
use bitbudget_testkit::NETWORK;
use std::collections::BTreeSet;

fn check(graph: &Graph, formats: &[Format]) {
    let schedule = plan(graph, formats);
    let mut seen = BTreeSet::new();
    let mut alive = BTreeSet::new();
    for step in &schedule.steps {
        for operand in graph.operands(step.node) {
            assert!(seen.contains(&operand), "{operand} is read by {} before it is computed", step.node);
            assert!(alive.contains(&storage(graph, formats, operand)), "{operand} is gone before {}", step.node);
        }
        assert!(seen.insert(step.node));
        if !is_alias(graph, formats, step.node) {
            alive.insert(step.node);
        }
        for end in &step.ends {
            assert!(alive.remove(end), "{end} ends twice");
        }
    }
    assert_eq!(seen.len(), graph.len());
    let mut kept: BTreeSet<NodeId> = graph.ids().filter(|&id| graph.op(id).source_name().is_some()).collect();
    kept.extend(graph.outputs().iter().map(|&(_, id)| storage(graph, formats, id)));
    kept.extend(graph.updates().iter().map(|&(_, id)| storage(graph, formats, id)));
    assert_eq!(alive, kept);
}

#[test]
fn lifetimes_cover_all_reads_and_no_more() {
    let graph = training(&NETWORK.parse().unwrap(), &Optimizer::sgd()).unwrap();
    check(&graph, &vec![Format::FP32; graph.len()]);
    let rounded: Vec<Format> = graph
        .ids()
        .map(|id| if graph.node(id).role == Role::Internal { Format::FP32 } else { Format::PAPER_HIGH })
        .collect();
    check(&graph, &rounded);
}

#[test]
fn copies_of_parameters_are_made_when_they_are_first_read() {
    let graph = training(&NETWORK.parse().unwrap(), &Optimizer::sgd()).unwrap();
    let schedule = plan(&graph, &vec![Format::PAPER_HIGH; graph.len()]);
    let copy = |id: NodeId| graph.node(id).role == Role::Parameter;
    for (position, step) in schedule.steps.iter().enumerate().filter(|(_, step)| copy(step.node)) {
        // Other copies that the same reader needs may stand between.
        let reader = schedule.steps[position..].iter().find(|step| !copy(step.node)).unwrap();
        assert!(graph.operands(reader.node).contains(&step.node), "{}", step.node);
    }
}
