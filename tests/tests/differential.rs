//! Some fifty random networks beside PyTorch (`tests/differential`), whose script trains as many others as are asked for.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own function fails the test")]

use bitbudget_tests::differential::{Case, Outcome, check, names};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

fn fixed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("differential/fixed")
}

/// What is wrong with the cases that this thread comes to check.
fn faults(names: &[String], next: &AtomicUsize) -> Vec<String> {
    let mut faults = Vec::new();
    while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
        for finding in check(&Case::read(&fixed(), name).unwrap(), None) {
            match finding.outcome {
                Outcome::Agreed => {}
                // A budget may be too small and a loss scale too large; the network itself is not refused.
                Outcome::Refused(_) if !matches!(finding.check.as_str(), "import" | "compile") => {}
                Outcome::Refused(what) | Outcome::Failed(what) => {
                    faults.push(format!("{name}: {}: {what}", finding.check));
                }
            }
        }
    }
    faults
}

#[test]
fn fixed_networks_agree_with_pytorch() {
    let names = names(&fixed()).unwrap();
    assert!(names.len() >= 50, "{} networks", names.len());
    let next = AtomicUsize::new(0);
    let faults: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(|| faults(&names, &next))).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(faults.is_empty(), "{} checks failed:\n{}", faults.len(), faults.join("\n"));
}

/// Operators that no random network holds: what the standard has withdrawn, what is random, a transform of signals, and an operator of ONNX Runtime. Models of
/// `crates/onnx` check their results.
const IN_MODELS_ONLY: [&str; 8] = [
    "Affine",
    "Bernoulli",
    "Crop",
    "ImageScaler",
    "RandomUniform",
    "RandomUniformLike",
    "STFT",
    "SimplifiedLayerNormalization",
];

#[test]
fn every_operator_is_in_a_fixed_network() {
    let read = |name: &String| Case::read(&fixed(), name).unwrap().operators;
    let used: BTreeSet<String> = names(&fixed()).unwrap().iter().flat_map(read).collect();
    // Models beside ONNX Runtime check its own operators and sequences.
    let is_meant = |row: &&bitbudget_onnx::OperatorRow| row.domain.is_empty() && row.family != "Sequences";
    let table = bitbudget_onnx::operator_table();
    let names = table.iter().filter(is_meant).map(|row| row.name);
    let missing: Vec<&str> = names.filter(|name| !used.contains(*name) && !IN_MODELS_ONLY.contains(name)).collect();
    assert!(missing.is_empty(), "no fixed network has {missing:?}; see tests/differential/README.md");
}
