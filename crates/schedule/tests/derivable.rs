//! Which tensors need not be stored, and where their overflows are counted.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_autodiff::{Optimizer, training};
use bitbudget_ir::{Graph, NodeId, Op, Role};
use bitbudget_schedule::{Schedule, Setting, Storage, derivable, plan};
use std::collections::BTreeMap;

const BATCH: usize = 8;

/// Two convolutions with a rectifier between, which is behind a normalisation or not.
fn network(normalized: bool) -> Graph {
    let conv = "{strides=[1,1], pads_begin=[1,1], pads_end=[1,1], dilations=[1,1], groups=1}";
    let normalization = "  %3 = batch_mean(%2) : f32[8]
  %4 = batch_variance(%2, %3) : f32[8]
  %5 = parameter {name=\"scale\"} : f32[8]
  %6 = parameter {name=\"bias\"} : f32[8]
  %7 = batch_normalize(%2, %3, %4, %5, %6) {epsilon=1e-5} : f32[N,8,8,8] output \"bn\"
  %8 = relu(%7) : f32[N,8,8,8] output \"relu\"
";
    let tail = |relu: usize| {
        format!(
            "  %{w} = parameter {{name=\"v\"}} : f32[4,8,3,3]
  %{c} = conv(%{relu}, %{w}) {conv} : f32[N,4,8,8] output \"last\"
  %{m} = reduce_mean(%{c}) {{axes=[2,3], keep=false}} : f32[N,4] output \"mean\"
  return \"y\" = %{m}
}}
",
            w = relu + 1,
            c = relu + 2,
            m = relu + 3,
        )
    };
    let head = format!(
        "graph \"g\" {{
  %0 = input {{name=\"x\"}} : f32[N,4,8,8]
  %1 = parameter {{name=\"w\"}} : f32[8,4,3,3]
  %2 = conv(%0, %1) {conv} : f32[N,8,8,8] output \"conv\"
"
    );
    let text = match normalized {
        true => head + normalization + &tail(8),
        false => head + "  %3 = relu(%2) : f32[N,8,8,8] output \"relu\"\n" + &tail(3),
    };
    training(&text.parse().unwrap(), &Optimizer::sgd()).unwrap()
}

fn derived(graph: &Graph) -> (Schedule, BTreeMap<NodeId, usize>) {
    let setting = Setting { batch: BATCH, storage: Storage::Packed, workspace: &[] };
    let schedule = plan(graph, &setting);
    let found = derivable(graph, &schedule, BATCH);
    (schedule, found)
}

fn only(graph: &Graph, is_meant: impl Fn(&Op) -> bool) -> NodeId {
    let mut found = graph.ids().filter(|&id| is_meant(graph.op(id)));
    let id = found.next().unwrap();
    assert_eq!(found.next(), None);
    id
}

#[test]
fn what_a_rectifier_lets_through_is_derived_in_front_of_a_normalisations_gradient() {
    let graph = network(true);
    let (schedule, found) = derived(&graph);
    let (normalized, gradient) =
        (only(&graph, |op| matches!(op, Op::BatchNormalize(_))), only(&graph, |op| matches!(op, Op::ReluGrad(_))));
    // The step that computes each element once counts what overflows: the normalisation's gradient by its input.
    let by_input = only(&graph, |op| matches!(op, Op::BatchNormGradInput(_)));
    let step = schedule.steps.iter().position(|step| step.nodes.contains(&by_input));
    assert_eq!(found.get(&gradient).copied(), step);
    assert_eq!(found.get(&normalized).copied(), step);
    assert!(matches!(graph.node(gradient).role, Role::OutputGradient { .. }));
}

#[test]
fn a_convolutions_passes_read_a_gradient_that_is_stored() {
    let graph = network(false);
    let (_, found) = derived(&graph);
    let gradient = only(&graph, |op| matches!(op, Op::ReluGrad(_)));
    assert!(!found.contains_key(&gradient), "{found:?}");
}
