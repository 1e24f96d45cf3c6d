//! What is selected for steps.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_ir::{Graph, NodeId, Op, ops};
use bitbudget_program::{Family, Role};
use bitbudget_select::{Cpu, Group, Member, Operand, Target, select};

/// A rectified convolution that is computed where pooling reads it.
const POOLED: &str = r#"graph "pooled" {
  %0 = input {name="x"} : f32[N,3,8,8]
  %1 = parameter {name="w"} : f32[4,3,1,1]
  %2 = conv(%0, %1) : f32[N,4,8,8] output
  %3 = relu(%2) : f32[N,4,8,8] output
  %4 = max_pool(%3) {kernel=[2,2], strides=[2,2]} : f32[N,4,4,4] output
  return "y" = %4
}"#;

#[test]
fn what_others_compute_in_passing_is_a_prologue() {
    let graph: Graph = POOLED.parse().unwrap();
    let steps = [vec![NodeId(2)], vec![NodeId(3), NodeId(4)]];
    let inside = [false, false, false, true, false];
    let kernels = select(&Cpu, &graph, &steps, &inside, 6);
    let families: Vec<Family> = kernels.iter().map(|kernel| kernel.family).collect();
    assert_eq!(families, [Family::Convolution, Family::Pooling]);
    assert_eq!(kernels[0].roles, [Role::Head]);
    assert_eq!(kernels[1].roles, [Role::Prologue, Role::Head]);
    // Each derived operand takes scratch memory.
    let alone = select(&Cpu, &graph, &[vec![NodeId(4)]], &[false; 5], 6);
    assert!(kernels[1].scratch > alone[0].scratch);
    // One pass over the elements of both, where nothing is pooled.
    let chain = select(&Cpu, &graph, &[vec![NodeId(3)]], &[false; 5], 6);
    assert_eq!((chain[0].family, chain[0].workspace), (Family::Elementwise, 0));
}

#[test]
fn every_operator_has_a_family() {
    for (name, samples) in Op::all_samples() {
        for sample in samples {
            let y = sample.graph.output("y").unwrap();
            let inside = vec![false; sample.graph.len()];
            let group = Group::new(&sample.graph, &[y], &inside, 1);
            let kernel = Cpu.kernel(&group);
            assert_eq!(kernel.roles.len(), group.members.len(), "{name}");
            // Only what moves elements is a move.
            let moves = ["transpose", "slice", "slice_scatter", "concat", "broadcast", "reshape", "cast", "gather"];
            let is_broadcast = ["add", "sub", "mul", "div", "extremum", "pow"].contains(&name);
            assert!(kernel.family != Family::Move || moves.contains(&name) || is_broadcast, "{name}");
        }
    }
}

#[test]
fn a_bias_changes_no_product_s_memory() {
    let needs = |operands: Vec<Operand>| {
        let op = ops::Matmul { trans_a: false, trans_b: true }.into();
        Cpu.needs(&Member::fp32(&op, operands, &[300, 500]))
    };
    let (a, b) = (Operand::fp32(&[300, 700]), Operand::fp32(&[500, 700]));
    let plain = needs(vec![a.clone(), b.clone()]);
    assert_eq!(needs(vec![a, b, Operand::fp32(&[500])]), plain);
    assert!(plain.scratch > bitbudget_kernels::SCRATCH);
}
