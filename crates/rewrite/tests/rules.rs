//! Every rule where it holds and where it does not, and the bits that it gives.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_autodiff::{Optimizer, training};
use bitbudget_formats::Format;
use bitbudget_ir::{Bindings, Graph, Op, Role, interpret, verify};
use bitbudget_rewrite::rewrite;
use bitbudget_testkit::{NETWORK, numbers};
use std::collections::BTreeMap;

/// The rewritten graph's text, in one format but for the nodes named.
fn rewritten(text: &str, other: &[(usize, Format)]) -> String {
    let graph: Graph = text.parse().unwrap();
    let mut formats = vec![Format::PAPER_HIGH; graph.len()];
    other.iter().for_each(|&(i, format)| formats[i] = format);
    let (graph, _) = rewrite(&graph, &formats).unwrap();
    verify(&graph).unwrap();
    graph.to_string()
}

const CLIPPED: &str = r#"graph "clipped" {
  %0 = input {name="x"} : f32[N,4]
  %1 = exp(%0) : f32[N,4] output
  %2 = clip(%1) {min=0.0, max=6.0} : f32[N,4] output
  %3 = leaky_relu(%1) {alpha=0.1} : f32[N,4] output
  %4 = relu(%1) : f32[N,4] output
  %5 = clip_grad(%4, %1) {min=0.0, max=6.0} : f32[N,4] gradient of %1
  %6 = leaky_relu_grad(%4, %1) {alpha=0.1} : f32[N,4] gradient of %1
  %7 = relu_grad(%4, %1) : f32[N,4] gradient of %1
  %8 = sum(%5, %6, %7) : f32[N,4]
  return "dx" = %8
}"#;

#[test]
fn gradients_read_outputs_of_the_same_format() {
    let text = rewritten(CLIPPED, &[]);
    assert!(text.contains("clip_grad(%4, %2)") && text.contains("leaky_relu_grad(%4, %3)"), "{text}");
    assert!(text.contains("%7 = relu_grad(%4, %4)"), "{text}");
}

#[test]
fn gradients_keep_reading_inputs_of_other_formats_and_bounds() {
    let low = Format::PAPER_LOW_FORWARD;
    let text = rewritten(CLIPPED, &[(2, low), (3, low), (4, low)]);
    assert!(text.contains("clip_grad(%4, %1)") && text.contains("leaky_relu_grad(%4, %1)"), "{text}");
    assert!(text.contains("%7 = relu_grad(%4, %1)"), "{text}");
    let text = rewritten(&CLIPPED.replace("alpha=0.1", "alpha=-0.1").replace("max=6.0", "max=6.0001"), &[]);
    assert!(text.contains("clip_grad(%4, %1)") && text.contains("leaky_relu_grad(%4, %1)"), "{text}");
    let text = rewritten(&CLIPPED.replacen("max=6.0", "max=5.0", 1), &[]);
    assert!(text.contains("clip_grad(%4, %1)"), "{text}");
}

const SPLIT: &str = r#"graph "split" {
  %0 = input {name="a"} : f32[N,2,3]
  %1 = input {name="b"} : f32[N,4,3]
  %2 = slice_scatter(%1) {begin=[0,2,0], step=[1,1,1], shape=<N,6,3>} : f32[N,6,3] gradient of %0
  %3 = slice_scatter(%0) {begin=[0,0,0], step=[1,1,1], shape=<N,6,3>} : f32[N,6,3] gradient of %0
  %4 = sum(%2, %3) : f32[N,6,3]
  return "y" = %4
}"#;

#[test]
fn parts_side_by_side_are_concatenated() {
    let graph: Graph = SPLIT.parse().unwrap();
    let formats = [Format::FP32, Format::FP32, Format::BF16, Format::BF16, Format::FP32];
    let (rewritten, formats) = rewrite(&graph, &formats).unwrap();
    assert!(matches!(rewritten.op(bitbudget_ir::NodeId(4)), Op::Concat(op) if op.axis == 1), "{rewritten}");
    assert_eq!(formats[4], Format::BF16);
    assert!(matches!(rewritten.node(bitbudget_ir::NodeId(4)).role, Role::OutputGradient { .. }));
    assert_eq!(run(&rewritten), run(&graph));
}

#[test]
fn parts_that_overlap_leave_gaps_or_differ_in_format_are_added() {
    assert!(rewritten(SPLIT, &[(2, Format::BF16)]).contains("sum(%2, %3)"));
    for (from, to) in [("begin=[0,2,0]", "begin=[0,1,0]"), ("shape=<N,6,3>", "shape=<N,7,3>")] {
        let text =
            SPLIT.replace(from, to).replace("f32[N,6,3]", if to.contains('7') { "f32[N,7,3]" } else { "f32[N,6,3]" });
        assert!(rewritten(&text, &[]).contains("sum(%2, %3)"), "{text}");
    }
}

/// All outputs on fixed numbers.
fn run(graph: &Graph) -> Vec<Vec<f32>> {
    let mut values = BTreeMap::new();
    for id in graph.ids() {
        if let Some(name) = graph.op(id).source_name() {
            let count = graph.ty(id).shape.elements(2);
            let numbers = match graph.op(id) {
                Op::Label(_) => vec![1.0; count],
                Op::State(_) | Op::Scalar(_) => vec![0.5; count],
                _ => numbers(count, id.index()),
            };
            values.insert(name.to_string(), numbers);
        }
    }
    let results = interpret(graph, &Bindings { batch: 2, values }).unwrap();
    let updates = graph.updates().iter().map(|&(_, value)| value);
    let outputs = graph.outputs().iter().map(|&(_, id)| id).chain(updates);
    outputs.map(|id| results[id.index()].data.clone()).collect()
}

#[test]
fn a_whole_training_step_gives_the_same_bits() {
    let graph = training(&NETWORK.parse().unwrap(), &Optimizer::sgd()).unwrap();
    let (rewritten, formats) = rewrite(&graph, &vec![Format::FP32; graph.len()]).unwrap();
    assert_ne!(rewritten.to_string(), graph.to_string());
    assert_eq!(formats.len(), graph.len());
    assert_eq!(run(&rewritten), run(&graph));
}
