//! Rules of real numbers: how far results may be apart. Their cases stand in `tests/filetests/rules`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

mod common;

use bitbudget_autodiff::{Optimizer, training};
use bitbudget_ir::{Graph, Op};
use common::check_within;

const RULE: &str = "sum-of-batch-norm-grad";

/// The gradient of what was added to the input of a batch normalisation.
const NORMALISED: &str = r#"graph "normalised" {
  %0 = input {name="a"} : f32[N,3,4,4]
  %1 = input {name="b"} : f32[N,3,4,4]
  %2 = parameter {name="scale"} : f32[3]
  %3 = scalar {kind="loss_scale"} : f32[]
  %4 = tanh(%0) : f32[N,3,4,4] output
  %5 = batch_mean(%4) : f32[3]
  %6 = batch_variance(%4, %5) : f32[3]
  %7 = mul(%1, %3) : f32[N,3,4,4] gradient of %4
  %8 = reduce_sum(%7) {axes=[0,2,3]} : f32[3]
  %9 = batch_norm_grad_scale(%7, %4, %5, %6) {epsilon=1e-5} : f32[3]
  %10 = batch_norm_grad_input(%7, %4, %5, %6, %2, %9, %8) {epsilon=1e-5} : f32[N,3,4,4] gradient of %4
  %11 = reduce_sum(%10) {axes=[0,2,3]} : f32[3] parameter_gradient of %2
  return "dx" = %10
  return "db" = %11
}"#;

#[test]
fn the_tolerance_tells_zero_from_another_sum() {
    let graph: Graph = NORMALISED.parse().unwrap();
    let results = common::run(&graph, &common::values(&graph, 1, false));
    // A unit in the last place of each element of the gradient: what rounding may move its sum by.
    let total: f32 = results[10].data.iter().map(|x| x.abs()).sum();
    let within = total * f32::EPSILON;
    assert!(results[11].data.iter().all(|sum| sum.abs() <= within), "{:?} {within}", results[11]);
    assert!(results[8].data.iter().all(|sum| sum.abs() > 1000.0 * within), "{:?} {within}", results[8]);
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
    assert_eq!((sums(&graph), sums(&rewritten)), (2, 1), "{}", rewritten);
}
