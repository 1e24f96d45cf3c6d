//! File forms: what is written reads back, and what is damaged is refused or still passes the checks.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_autodiff::{Optimizer, evaluation, training};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId, Role};
use bitbudget_program::{DynamicScale, Program, Progress, Trainer};
use bitbudget_schedule::{Setting, Storage, plan};
use bitbudget_testkit::NETWORK;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;

const FORMATS: [Format; 7] = [
    Format::FP32,
    Format::PAPER_HIGH,
    Format::PAPER_LOW_FORWARD,
    Format::PAPER_LOW_BACKWARD,
    Format::BF16,
    Format::E4M3,
    Format::E5M2,
];

/// The graph in formats by node; what is internal stays FP32, as in every assignment.
fn program(graph: &Graph, choice: &[Index], batch: usize) -> Program {
    let format = |id: NodeId| match graph.node(id).role {
        Role::Internal => Format::FP32,
        _ => *choice[id.index() % choice.len()].get(&FORMATS),
    };
    let formats: Vec<Format> = graph.ids().map(format).collect();
    lowered(graph, &formats, batch)
}

fn lowered(graph: &Graph, formats: &[Format], batch: usize) -> Program {
    let graph = graph.stored_in(formats);
    let workspace: Vec<usize> = graph.ids().map(|id| 100 * (id.index() % 3)).collect();
    let setting = Setting { batch, storage: Storage::Packed, workspace: &workspace };
    bitbudget_lower::lower(&graph, &plan(&graph, &setting), &setting).unwrap()
}

fn trainer(choice: &[Index], batch: usize) -> Trainer {
    let forward: Graph = NETWORK.parse().unwrap();
    let training = training(&forward, &Optimizer::adamw()).unwrap();
    let evaluation = evaluation(&training).unwrap();
    let values = BTreeMap::from([("w".to_string(), vec![0.5; 54]), ("mean".to_string(), vec![f32::MIN_POSITIVE; 3])]);
    Trainer {
        train: program(&training, choice, batch),
        evaluate: program(&evaluation, choice, batch),
        assignment: "{\"low\": 0.5}".into(),
        forward,
        training,
        values,
        progress: Progress { updates: 7, loss_scale: Some(DynamicScale { scale: 0.5, clean_steps: 3 }) },
    }
}

fn choices() -> impl Strategy<Value = Vec<Index>> {
    proptest::collection::vec(any::<Index>(), 8..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn programs_and_trainers_read_back(choice in choices(), batch in 1usize..9) {
        let trainer = trainer(&choice, batch);
        for program in [&trainer.train, &trainer.evaluate] {
            let again = Program::decode(&program.encode()).unwrap();
            prop_assert_eq!(&again, program);
            prop_assert_eq!(again.to_string(), program.to_string());
        }
        let bytes = trainer.encode();
        prop_assert!(Trainer::recognise(&bytes));
        let again = Trainer::decode(&bytes).unwrap();
        prop_assert_eq!(&again.train, &trainer.train);
        prop_assert_eq!(&again.evaluate, &trainer.evaluate);
        prop_assert_eq!(again.forward.to_string(), trainer.forward.to_string());
        prop_assert_eq!(again.training.to_string(), trainer.training.to_string());
        prop_assert_eq!(&again.values, &trainer.values);
        prop_assert_eq!(again.progress, trainer.progress);
        prop_assert_eq!(&again.assignment, &trainer.assignment);
        prop_assert_eq!(again.encode(), bytes);
    }

    #[test]
    fn damaged_files_are_refused_or_pass_the_checks(
        choice in choices(),
        cut in any::<Index>(),
        flips in proptest::collection::vec((any::<Index>(), 0u32..8), 1..4),
    ) {
        let trainer = trainer(&choice, 2);
        for mut bytes in [trainer.train.encode(), trainer.encode()] {
            let truncated = &bytes[..cut.index(bytes.len())];
            if let Ok(program) = Program::decode(truncated) {
                prop_assert_eq!(Program::decode(&program.encode()).unwrap(), program);
            }
            prop_assert!(Trainer::decode(truncated).is_err());
            for (at, bit) in &flips {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            // What is decoded was checked, so that it can be written and read again.
            if let Ok(program) = Program::decode(&bytes) {
                prop_assert!(Program::decode(&program.encode()).is_ok());
            }
            let whole = bytes == trainer.encode();
            prop_assert_eq!(Trainer::decode(&bytes).is_ok(), whole);
        }
    }

    #[test]
    fn noise_is_no_file(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(!Trainer::recognise(&bytes));
        let _ = Program::decode(&bytes);
        prop_assert!(Trainer::decode(&bytes).is_err());
    }
}

#[test]
fn another_version_says_so() {
    let forward: Graph = NETWORK.parse().unwrap();
    let training = training(&forward, &Optimizer::sgd()).unwrap();
    let formats = vec![Format::FP32; training.len()];
    let train = lowered(&training, &formats, 1);
    let evaluate = train.clone();
    let (assignment, values) = (String::new(), BTreeMap::new());
    let mut bytes =
        Trainer { forward, training, assignment, values, progress: Progress::default(), train, evaluate }.encode();
    let version = bytes.windows(19).position(|w| w == b"bitbudget trainer 4").unwrap() + 18;
    bytes[version] = b'7';
    let error = Trainer::decode(&bytes).unwrap_err().to_string();
    assert!(error.contains("bitbudget trainer 7") && error.contains("compile the network again"), "{error}");
}
