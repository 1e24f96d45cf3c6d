//! A small network with a convolution, batch normalisation, pooling, a branch and a fully connected layer.

use bitbudget_autodiff::{Optimizer, training};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, Role};
use bitbudget_program::Program;

pub(crate) const NETWORK: &str = r#"graph "net" {
  %0 = input {name="x"} : f32[N,2,4,4]
  %1 = parameter {name="w"} : f32[3,2,3,3]
  %2 = conv(%0, %1) {strides=[1,1], pads_begin=[1,1], pads_end=[1,1], dilations=[1,1], groups=1} : f32[N,3,4,4] output "conv"
  %3 = batch_mean(%2) : f32[3]
  %4 = batch_variance(%2, %3) : f32[3]
  %5 = parameter {name="scale"} : f32[3]
  %6 = parameter {name="bias"} : f32[3]
  %7 = state {name="mean"} : f32[3]
  %8 = state {name="var"} : f32[3]
  %9 = batch_normalize(%2, %3, %4, %5, %6) {epsilon=1e-5} : f32[N,3,4,4] output "bn"
  %10 = running_average(%7, %3) {momentum=0.1} : f32[3]
  %11 = running_variance(%8, %4, %2) {momentum=0.1} : f32[3]
  %12 = relu(%9) : f32[N,3,4,4] output "relu"
  %13 = parameter {name="side"} : f32[3,3,1,1]
  %14 = conv(%12, %13) {strides=[1,1], pads_begin=[0,0], pads_end=[0,0], dilations=[1,1], groups=1} : f32[N,3,4,4] output "side"
  %15 = add(%12, %14) : f32[N,3,4,4] output "add"
  %16 = max_pool(%15) {kernel=[2,2], strides=[2,2], pads_begin=[0,0], pads_end=[0,0], dilations=[1,1], ceil=false} : f32[N,3,2,2] output "pool"
  %17 = reshape(%16) {shape=<N,12>} : f32[N,12] output
  %18 = parameter {name="v"} : f32[5,12]
  %19 = matmul(%17, %18) {trans_a=false, trans_b=true} : f32[N,5] output "fc"
  return "scores" = %19
  update %7 <- %10
  update %8 <- %11
}"#;

pub(crate) fn graph(optimizer: &Optimizer) -> Graph {
    training(&NETWORK.parse().unwrap(), optimizer).unwrap()
}

pub(crate) fn lowered(graph: &Graph, formats: &[Format], batch: usize) -> Program {
    let schedule = bitbudget_schedule::plan(graph, formats);
    bitbudget_lower::lower(graph, formats, &schedule, batch).unwrap()
}

/// A format per node by what the tensor is to the step; what is internal stays FP32.
pub(crate) fn formats(graph: &Graph, mut choose: impl FnMut(Role) -> Format) -> Vec<Format> {
    let format = |id| match graph.node(id).role {
        Role::Internal => Format::FP32,
        role => choose(role),
    };
    graph.ids().map(format).collect()
}
