//! The shape of lowered programs: their text, and when kept tensors are replaced.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

mod common;

use bitbudget_autodiff::Optimizer;
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, Role};
use bitbudget_program::{BufferId, Instruction, Program, Source};
use bitbudget_schedule::{Setting, Storage, plan};
use common::{formats, graph, lowered};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[test]
fn a_small_program_is_what_it_was() {
    let graph = graph(&Optimizer::sgd());
    let formats = formats(&graph, |role| match role {
        Role::OutputGradient { .. } => Format::PAPER_LOW_BACKWARD,
        Role::ParameterGradient { .. } => Format::PAPER_HIGH,
        _ => Format::PAPER_LOW_FORWARD,
    });
    insta::assert_snapshot!(lowered(&graph, &formats, 2).to_string());
}

#[test]
fn what_cannot_be_a_program_is_refused() {
    let lower = |text: &str, batch: usize| {
        let graph: Graph = text.parse().unwrap();
        let setting = Setting { batch, storage: Storage::Packed, workspace: &[0; 1] };
        let schedule = plan(&graph, &setting);
        bitbudget_lower::lower(&graph, &schedule, &setting).unwrap_err().to_string()
    };
    let empty = "graph \"g\" {\n  %0 = input {name=\"x\"} : f32[N,0]\n  return \"y\" = %0\n}";
    let huge = "graph \"g\" {\n  %0 = input {name=\"x\"} : f32[N,1099511627776]\n  return \"y\" = %0\n}";
    assert!(lower(empty, 2).contains("`x` of shape [N,0] has a dimension of size zero"));
    assert!(lower(huge, 2).contains("too large at batch 2; use a smaller batch"));
    assert_eq!(lower(huge, 0), "the batch size must be at least 1");
}

/// The buffer whose storage each buffer shows.
fn storages(program: &Program) -> Vec<BufferId> {
    let mut storages: Vec<BufferId> = (0..program.buffers.len() as u32).map(BufferId).collect();
    for instruction in &program.instructions {
        if let Instruction::View { input, output } = instruction {
            storages[output.index()] = storages[input.index()];
        }
    }
    storages
}

/// The number of times that each kept buffer gets a new value, which nothing reads as the old one.
fn check(program: &Program) {
    let storages = storages(program);
    let mut replaced = BTreeMap::new();
    for instruction in &program.instructions {
        let (reads, writes): (Vec<BufferId>, Vec<BufferId>) = match instruction {
            Instruction::Compute { parts, .. } => (
                parts.iter().flat_map(|part| part.inputs.clone()).collect(),
                parts.iter().map(|part| part.output).collect(),
            ),
            Instruction::View { input, .. } => (vec![*input], Vec::new()),
            Instruction::Store { value, target } => (vec![*value], vec![*target]),
            Instruction::Free { .. } => continue,
        };
        for read in reads {
            let root = storages[read.index()];
            // A kept buffer itself is read as its new value; a view of it would still be the old one.
            assert!(root == read || !replaced.contains_key(&root), "{read} is read after {root} was replaced");
        }
        for write in writes.into_iter().filter(|w| program.buffer(*w).source == Source::Kept) {
            assert_eq!(replaced.insert(write, ()), None, "{write} is replaced twice");
        }
    }
    for (i, buffer) in program.buffers.iter().enumerate() {
        let id = BufferId(i as u32);
        assert_eq!(replaced.contains_key(&id), buffer.source == Source::Kept, "{id} `{}`", buffer.name);
    }
}

#[test]
fn an_old_value_that_is_read_late_is_replaced_late() {
    let text = r#"graph "late" {
  %0 = input {name="x"} : f32[N,4]
  %1 = state {name="s"} : f32[4]
  %2 = reduce_sum(%0) {axes=[0], keep=false} : f32[4]
  %3 = add(%2, %1) : f32[4]
  %4 = reshape(%1) {shape=<1,4>} : f32[1,4]
  %5 = mul(%0, %4) : f32[N,4]
  return "y" = %5
  update %1 <- %3
}"#;
    let graph: Graph = text.parse().unwrap();
    let program = lowered(&graph, &vec![Format::FP32; graph.len()], 2);
    check(&program);
    assert!(matches!(program.instructions.last(), Some(Instruction::Store { .. })), "{program}");
    assert_eq!(Program::decode(&program.encode()).unwrap(), program);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn kept_tensors_are_replaced_after_their_last_read(choice in proptest::collection::vec(0usize..4, 80), adam: bool) {
        let graph = graph(&if adam { Optimizer::adamw() } else { Optimizer::sgd() });
        let table = [Format::FP32, Format::PAPER_HIGH, Format::PAPER_LOW_FORWARD, Format::E5M2];
        let mut turn = 0;
        let formats = formats(&graph, |_| {
            turn += 1;
            table[choice[turn % choice.len()]]
        });
        let program = lowered(&graph, &formats, 3);
        check(&program);
        prop_assert_eq!(Program::decode(&program.encode()).unwrap(), program);
    }
}
