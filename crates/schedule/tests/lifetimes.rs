//! Every tensor is there when it is read, and gone once it no longer is.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_autodiff::{Optimizer, training};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId, Role};
use bitbudget_schedule::{is_alias, plan, storage};
use std::collections::BTreeSet;

const FORWARD: &str = r#"graph "g" {
  %0 = input {name="x"} : f32[N,2,4,4]
  %1 = parameter {name="w"} : f32[3,2,3,3]
  %2 = parameter {name="v"} : f32[5,48]
  %3 = conv(%0, %1) {strides=[1,1], pads_begin=[1,1], pads_end=[1,1], dilations=[1,1], groups=1} : f32[N,3,4,4] output
  %4 = relu(%3) : f32[N,3,4,4] output
  %5 = reshape(%4) {shape=<N,48>} : f32[N,48] output
  %6 = matmul(%5, %2) {trans_a=false, trans_b=true} : f32[N,5] output
  return "y" = %6
}"#;

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
    let graph = training(&FORWARD.parse().unwrap(), &Optimizer::sgd()).unwrap();
    check(&graph, &vec![Format::FP32; graph.len()]);
    let rounded: Vec<Format> = graph
        .ids()
        .map(|id| if graph.node(id).role == Role::Internal { Format::FP32 } else { Format::PAPER_HIGH })
        .collect();
    check(&graph, &rounded);
}

#[test]
fn copies_of_parameters_are_made_when_they_are_first_read() {
    let graph = training(&FORWARD.parse().unwrap(), &Optimizer::sgd()).unwrap();
    let schedule = plan(&graph, &vec![Format::PAPER_HIGH; graph.len()]);
    let position = |id: NodeId| schedule.steps.iter().position(|s| s.node == id).unwrap();
    for copy in graph.ids().filter(|&id| graph.node(id).role == Role::Parameter) {
        assert!(graph.operands(schedule.steps[position(copy) + 1].node).contains(&copy));
    }
}
