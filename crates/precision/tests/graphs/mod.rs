//! Small forward graphs, and what the tests do with them.

use bitbudget_autodiff::{Optimizer, training};
use bitbudget_ir::Graph;
use bitbudget_precision::{Assignment, Formats, Method, assign};

/// A relabelled parameter, relabelling between operators, and one that reads the input only.
pub(crate) const RELABELLED: &str = r#"graph "relabelled" {
  %0 = input {name="x"} : f32[N,4]
  %1 = parameter {name="w1"} : f32[3,4]
  %2 = transpose(%1) {perm=[1,0]} : f32[4,3] output "w1.t"
  %3 = matmul(%0, %2) {trans_a=false, trans_b=false} : f32[N,3] output "fc1"
  %4 = reshape(%3) {shape=<N,3,1>} : f32[N,3,1] output "view"
  %5 = transpose(%4) {perm=[0,2,1]} : f32[N,1,3] output "swap"
  %6 = relu(%5) : f32[N,1,3] output "relu1"
  %7 = reshape(%6) {shape=<N,3>} : f32[N,3] output "flat"
  %8 = parameter {name="w2"} : f32[5,3]
  %9 = matmul(%7, %8) {trans_a=false, trans_b=true} : f32[N,5] output "fc2"
  %10 = relu(%9) : f32[N,5] output "relu2"
  %11 = parameter {name="w3"} : f32[6,5]
  %12 = matmul(%10, %11) {trans_a=false, trans_b=true} : f32[N,6] output "fc3"
  %13 = relu(%12) : f32[N,6] output "relu3"
  %14 = parameter {name="w4"} : f32[2,6]
  %15 = parameter {name="b4"} : f32[2]
  %16 = matmul(%13, %14, %15) {trans_a=false, trans_b=true} : f32[N,2] output "fc4"
  return "y" = %16
}"#;

/// Two branches with the same weight, added.
pub(crate) const SHARED: &str = r#"graph "shared" {
  %0 = input {name="x"} : f32[N,3]
  %1 = relu(%0) : f32[N,3] output "relu"
  %2 = parameter {name="w"} : f32[3,3]
  %3 = matmul(%1, %2) {trans_a=false, trans_b=true} : f32[N,3] output "left"
  %4 = matmul(%3, %2) {trans_a=false, trans_b=true} : f32[N,3] output "right"
  %5 = relu(%1) : f32[N,3] output "late"
  %6 = add(%5, %4) : f32[N,3] output "add"
  return "y" = %6
}"#;

pub(crate) fn train(forward: &str) -> Graph {
    training(&forward.parse().unwrap(), &Optimizer::sgd()).unwrap()
}

pub(crate) fn assigned(graph: &Graph, method: Method, low_ratio: f64) -> Assignment {
    assign(graph, 2, method, low_ratio, 0, Formats::PAPER).unwrap()
}
