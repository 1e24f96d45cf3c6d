//! Trainer files: what is written reads back, and what is damaged is refused.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget::{Budget, Compiled, Limit, Options, TrainerError, compile};
use bitbudget_ir::Model;
use bitbudget_precision::Method;
use bitbudget_program::{DynamicScale, Progress};
use bitbudget_testkit::NETWORK;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;

fn trainer(low_ratio: f64, batch: usize) -> Compiled {
    let values = BTreeMap::from([("w".to_string(), vec![0.5; 54]), ("mean".to_string(), vec![f32::MIN_POSITIVE; 3])]);
    let model = Model { graph: NETWORK.parse().unwrap(), values };
    let mut compiled = compile(model, &Options { batch, low_ratio, ..Options::default() }).unwrap();
    compiled.progress = Progress { updates: 7, loss_scale: Some(DynamicScale { scale: 0.5, clean_steps: 3 }) };
    compiled
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn trainers_read_back(low_ratio in 0.0..=1.0, batch in 1usize..9) {
        let compiled = trainer(low_ratio, batch);
        let bytes = compiled.encode();
        prop_assert!(Compiled::recognise(&bytes));
        let again = Compiled::decode(&bytes).unwrap();
        prop_assert_eq!(&again.train, &compiled.train);
        prop_assert_eq!(&again.evaluate, &compiled.evaluate);
        prop_assert_eq!(again.forward.to_string(), compiled.forward.to_string());
        prop_assert_eq!(again.training.to_string(), compiled.training.to_string());
        prop_assert_eq!(&again.values, &compiled.values);
        prop_assert_eq!(again.progress, compiled.progress);
        prop_assert_eq!(&again.assignment.chosen, &compiled.assignment.chosen);
        prop_assert_eq!(again.encode(), bytes);
    }

    #[test]
    fn damaged_files_are_refused(
        cut in any::<Index>(),
        flips in proptest::collection::vec((any::<Index>(), 0u32..8), 1..4),
    ) {
        let whole = trainer(0.5, 2).encode();
        prop_assert!(Compiled::decode(&whole[..cut.index(whole.len())]).is_err());
        let mut bytes = whole.clone();
        for (at, bit) in &flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        prop_assert_eq!(Compiled::decode(&bytes).is_ok(), bytes == whole);
    }

    #[test]
    fn noise_is_no_file(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(!Compiled::recognise(&bytes));
        prop_assert!(Compiled::decode(&bytes).is_err());
    }
}

/// The bytes of a trainer file with its last occurrence of a text replaced, under a checksum that is right again.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut message = bytes[..bytes.len() - 4].to_vec();
    let at = message.windows(from.len()).rposition(|window| window == from.as_bytes()).unwrap();
    message[at..at + to.len()].copy_from_slice(to.as_bytes());
    let checksum = crc32fast::hash(&message);
    [message, checksum.to_le_bytes().to_vec()].concat()
}

#[test]
fn another_version_says_so() {
    // An older one here.
    let bytes = replaced(&trainer(0.5, 1).encode(), "bitbudget trainer 8", "bitbudget trainer 7");
    let error = Compiled::decode(&bytes).unwrap_err().to_string();
    assert!(error.contains("bitbudget trainer 7") && error.contains("compile the network again"), "{error}");
}

/// Another build may need more memory for the same assignment, as with a smaller budget here.
#[test]
fn a_budget_that_no_longer_holds_is_refused() {
    let model = Model { graph: NETWORK.parse().unwrap(), values: trainer(0.5, 8).values };
    let budget = Budget { seconds: 1.0, ..Budget::new(Limit::Share(1.0), 1) };
    let options = Options { batch: 8, method: Method::Ilp, budget: Some(budget), ..Options::default() };
    let compiled = compile(model, &options).unwrap();
    let (bytes, solved) = (compiled.encode(), compiled.solved.as_ref().unwrap());
    assert!(Compiled::decode(&bytes).is_ok());
    let (given, less) = (solved.budget.to_string(), solved.peak - 1);
    let less = format!("{less:>width$}", width = given.len());
    let smaller = replaced(&bytes, &format!("\"limit\":\"{given}B"), &format!("\"limit\":\"{less}B"));
    let error = Compiled::decode(&smaller).unwrap_err();
    assert!(matches!(error, TrainerError::Budget { .. }), "{error}");
    assert!(error.to_string().contains("compile the network again"), "{error}");
}
