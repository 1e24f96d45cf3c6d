//! When kept tensors are replaced, in any formats. Programs' texts stand in `tests/filetests/plans`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

mod common;

use bitbudget_autodiff::Optimizer;
use bitbudget_formats::Format;
use bitbudget_program::{BufferId, Instruction, Program, Source};
use common::{formats, graph, lowered};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The number of times that each kept buffer gets a new value, which nothing reads as the old one.
fn check(program: &Program) {
    let storages = program.storages();
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
    }
}
