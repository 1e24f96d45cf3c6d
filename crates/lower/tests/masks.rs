//! Overflows of masks are not counted, wherever the mask comes from.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own function fails the test")]

use bitbudget_ir::Graph;
use bitbudget_lower::lower;
use bitbudget_program::{Family, Instruction, Kernel, Machine, Role};
use bitbudget_schedule::{Setting, Storage, plan};

/// The nodes of a graph whose overflows are counted.
fn counted(text: &str) -> Vec<u32> {
    let graph: Graph = text.parse().unwrap();
    let setting = Setting { batch: 4, storage: Storage::Packed, alignment: 64 };
    let schedule = plan(&graph, &setting);
    let kernel = |step: &Vec<Role>| Kernel { family: Family::Move, roles: step.clone(), workspace: 0, scratch: 0 };
    let kernels: Vec<Kernel> = schedule.steps.iter().map(|step| kernel(&vec![Role::Head; step.nodes.len()])).collect();
    let program = lower(&graph, &schedule, &kernels, &setting, Machine::Cpu).unwrap();
    let parts = program.instructions.iter().flat_map(|instruction| match instruction {
        Instruction::Compute { parts, .. } => parts.as_slice(),
        _ => &[],
    });
    let mut found: Vec<u32> = parts.filter_map(|part| part.rounding?.counted).collect();
    found.sort_unstable();
    found
}

/// As exporters write it: from the tokens' mask, spread, added to a bias that is trained, and then to the scores.
#[test]
fn a_mask_that_is_computed_from_tokens_is_not_counted() {
    let text = r#"graph "g" assigned {
  %0 = input {name="scores"} : f32[N,2,3,3]
  %1 = input {name="mask"} : i32[N,3]
  %2 = convert(%1) {from="i32", to="bool"} : bool[N,3]
  %3 = constant {name="least"} : f32[]
  %4 = constant {name="zero"} : f32[]
  %5 = where(%2, %4, %3) : f32[N,3] output "where" in 1-4-3
  %6 = reshape(%5) {shape=<N,1,1,3>} : f32[N,1,1,3] output "shaped" in 1-4-3
  %7 = broadcast(%6) {shape=<N,2,3,3>} : f32[N,2,3,3] output "spread" in 1-4-3
  %8 = parameter {name="bias"} : f32[2,3,3]
  %9 = relu(%0) : f32[N,2,3,3] output "relu" in 1-4-3
  %10 = add(%7, %8) : f32[N,2,3,3] output "biased" in 1-4-3
  %11 = add(%9, %10) : f32[N,2,3,3] output "masked" in 1-4-3
  %12 = softmax(%11) : f32[N,2,3,3] output "weights" in 1-4-3
  return "y" = %12
}"#;
    assert_eq!(counted(text), [9, 12]);
}

#[test]
fn what_something_else_reads_too_is_counted() {
    let text = r#"graph "g" assigned {
  %0 = input {name="scores"} : f32[N,3]
  %1 = constant {name="mask"} : f32[3]
  %2 = add(%0, %1) : f32[N,3] output "masked" in 1-4-3
  %3 = softmax(%2) : f32[N,3] output "weights" in 1-4-3
  %4 = relu(%2) : f32[N,3] output "relu" in 1-4-3
  return "y" = %3
  return "z" = %4
}"#;
    assert_eq!(counted(text), [2, 3, 4]);
}
