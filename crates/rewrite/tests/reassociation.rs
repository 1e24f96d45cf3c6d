//! Rules of real numbers, where they hold and where they do not, with how far results may be apart.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

mod common;

use bitbudget_autodiff::{Optimizer, training};
use bitbudget_ir::{Graph, Op};
use bitbudget_rewrite::Rules;
use common::{check_within, in_all_formats, parse};

const RULE: &str = "sum-of-batch-norm-grad";

/// The gradient of what was added to the input of a batch normalisation.
const NORMALISED: &str = "
    %0 = input {name=\"a\"} : f32[N,3,4,4]
    %1 = input {name=\"b\"} : f32[N,3,4,4]
    %2 = parameter {name=\"scale\"} : f32[3]
    %3 = scalar {kind=\"loss_scale\"} : f32[]
    %4 = tanh(%0) : f32[N,3,4,4] output in FORMAT
    %5 = batch_mean(%4) : f32[3]
    %6 = batch_variance(%4, %5) : f32[3]
    %7 = mul(%1, %3) : f32[N,3,4,4] gradient of %4 in FORMAT
    %8 = reduce_sum(%7) {axes=[0,2,3], keep=false} : f32[3]
    %9 = batch_norm_grad_scale(%7, %4, %5, %6) {epsilon=1e-5} : f32[3]
    %10 = batch_norm_grad_input(%7, %4, %5, %6, %2, %9, %8) {epsilon=1e-5} : f32[N,3,4,4] gradient of %4 in FORMAT
    %11 = reduce_sum(%10) {axes=[0,2,3], keep=false} : f32[3] parameter_gradient of %2
    return \"dx\" = %10
    return \"db\" = %11";

/// A unit in the last place of each element of the gradient: what rounding may move its sum by.
fn tolerance(graph: &Graph, seed: usize) -> f32 {
    let results = common::run(graph, &common::values(graph, seed, false));
    let dx = graph.ids().find(|&id| matches!(graph.op(id), Op::BatchNormGradInput(_))).unwrap();
    let total: f32 = results[dx.index()].data.iter().map(|x| x.abs()).sum();
    total * 2f32.powi(-i32::try_from(graph.format(dx).mantissa_bits()).unwrap())
}

/// How often the rule merges classes, after all alternatives were checked, and the graph that was extracted.
fn fired(lines: &str) -> (usize, String) {
    let graph = parse(lines);
    let found = [1, 2, 9].map(|seed| check_within(&graph, seed, tolerance(&graph, seed)));
    let [(found, rewritten), ..] = &found;
    (found.fired.iter().find(|(name, _)| *name == RULE).unwrap().1, rewritten.graph.to_string())
}

#[test]
fn sum_of_batch_norm_grad() {
    in_all_formats(NORMALISED, |lines| {
        let (times, text) = fired(lines);
        assert_eq!(times, 1, "{text}");
        assert!(text.contains("= scale(%8) {by=0.0} : f32[3] parameter_gradient of %2"), "{text}");
    });
}

#[test]
fn the_tolerance_tells_zero_from_another_sum() {
    let graph = parse(&NORMALISED.replace("FORMAT", "fp32"));
    let results = common::run(&graph, &common::values(&graph, 1, false));
    let within = tolerance(&graph, 1);
    assert!(results[11].data.iter().all(|sum| sum.abs() <= within), "{:?} {within}", results[11]);
    assert!(results[8].data.iter().all(|sum| sum.abs() > 1000.0 * within), "{:?} {within}", results[8]);
}

#[test]
fn sum_of_batch_norm_grad_needs_mean_and_sum_of_its_own_operands_over_all_but_channels() {
    let lines = NORMALISED.replace("FORMAT", "fp32");
    let cubes = lines.replace("f32[N,3,4,4]", "f32[N,4,4,4]").replace("f32[3]", "f32[4]");
    assert_eq!(fired(&cubes).0, 1);
    for other in [
        lines.replace("= batch_mean(%4)", "= batch_mean(%1)"),
        lines.replace("%8 = reduce_sum(%7)", "%8 = reduce_sum(%1)"),
        cubes.replace("%8 = reduce_sum(%7) {axes=[0,2,3]", "%8 = reduce_sum(%7) {axes=[0,1,2]"),
        cubes.replace("%11 = reduce_sum(%10) {axes=[0,2,3]", "%11 = reduce_sum(%10) {axes=[0,1,2]"),
        cubes.replace("axes=[0,2,3]", "axes=[0,1,2]"),
        lines.replace("%11 = reduce_sum(%10)", "%11 = reduce_sum(%7)"),
    ] {
        assert_ne!(other, lines);
        assert_eq!(fired(&other).0, 0, "{other}");
    }
}

#[test]
fn nothing_is_reassociated_unless_that_is_allowed() {
    assert!(Rules::Reassociating.names().contains(&RULE) && !Rules::Exact.names().contains(&RULE));
    let graph = parse(&NORMALISED.replace("FORMAT", "fp32"));
    let rewritten = bitbudget_rewrite::rewrite(&graph, Rules::Exact).unwrap();
    assert_eq!(rewritten.graph.to_string(), graph.to_string());
}

/// A convolution with a bias that batch normalisation takes away again.
const BIASED: &str = r#"graph "biased" {
  %0 = input {name="x"} : f32[N,2,4,4]
  %1 = parameter {name="w"} : f32[3,2,3,3]
  %2 = parameter {name="b"} : f32[3]
  %3 = conv(%0, %1, %2) {strides=[1,1], pads_begin=[1,1], pads_end=[1,1], dilations=[1,1], groups=1} : f32[N,3,4,4] output "conv"
  %4 = batch_mean(%3) : f32[3]
  %5 = batch_variance(%3, %4) : f32[3]
  %6 = parameter {name="scale"} : f32[3]
  %7 = parameter {name="bias"} : f32[3]
  %8 = batch_normalize(%3, %4, %5, %6, %7) {epsilon=1e-5} : f32[N,3,4,4] output "bn"
  %9 = relu(%8) : f32[N,3,4,4] output "relu"
  %10 = reshape(%9) {shape=<N,48>} : f32[N,48] output
  %11 = parameter {name="v"} : f32[5,48]
  %12 = matmul(%10, %11) {trans_a=false, trans_b=true} : f32[N,5] output "fc"
  return "scores" = %12
}"#;

#[test]
fn a_whole_training_step_stays_within_rounding() {
    let graph = training(&BIASED.parse().unwrap(), &Optimizer::sgd()).unwrap();
    let (found, rewritten) = check_within(&graph, 3, 1e-5);
    assert_eq!(found.fired.iter().find(|(name, _)| *name == RULE).unwrap().1, 1);
    let sums = |graph: &Graph| graph.ids().filter(|&id| matches!(graph.op(id), Op::ReduceSum(_))).count();
    assert_eq!((sums(&graph), sums(&rewritten.graph)), (2, 1), "{}", rewritten.graph);
}
