//! The programs of `examples/` run, and what they print is true.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failure in a test's own function fails the test")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The program of an example, as the build of this test made it; without one, as after `cargo test --test examples`, it is built.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples").join(name);
    if !path.exists() {
        let build = ["build", "--offline", "-p", "bitbudget", "--example", name];
        assert!(Command::new(env!("CARGO")).args(build).status().unwrap().success());
    }
    path
}

/// The lines that an example prints.
fn run(name: &str, arguments: &[&str]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(program(name)).args(arguments).current_dir(root).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(String::from).collect()
}

/// The numbers of the one line that begins so.
fn numbers(lines: &[String], start: &str) -> Vec<f64> {
    let found: Vec<&String> = lines.iter().filter(|line| line.starts_with(start)).collect();
    let [line] = found.as_slice() else { panic!("{start}: {lines:?}") };
    let words = line[start.len()..].split(|c: char| c.is_whitespace() || ",%:".contains(c));
    words.filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn an_onnx_file_is_trained_within_its_budget() {
    let saved = std::env::temp_dir().join(format!("bitbudget-example-{}.onnx", std::process::id()));
    let lines = run("train_onnx", &["models/squeezenet-0.25.onnx", saved.to_str().unwrap()]);
    assert!(numbers(&lines, "test accuracy")[0] > 50.0, "{lines:?}");
    let bytes = numbers(&lines, "bytes at the peak of a step");
    let [predicted, allocated, allowed] = bytes[..] else { panic!("{lines:?}") };
    assert!(0.0 < predicted && predicted <= allowed && allocated <= 1.01 * allowed, "{lines:?}");
    let trained = bitbudget::onnx::import(&saved).unwrap().model;
    let before =
        bitbudget::onnx::import(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/squeezenet-0.25.onnx"));
    std::fs::remove_file(&saved).unwrap();
    assert_ne!(trained.values, before.unwrap().model.values);
}

#[test]
fn a_loop_of_ones_own_learns_and_is_saved() {
    let lines = run("own_loop", &[]);
    let of = |start| numbers(&lines, start)[0];
    // The larger class has 53% of the points.
    assert!(of("accuracy before") < 70.0 && of("accuracy after") > 90.0, "{lines:?}");
    let saved = *numbers(&lines, "accuracy from a trainer file").last().unwrap();
    assert_eq!(saved, of("accuracy after"), "{lines:?}");
    assert!(of("step 400: loss") < of("step 0: loss"), "{lines:?}");
}

#[test]
fn a_sweep_has_peaks_within_budgets_and_costs_that_fall() {
    let lines = run("sweep_budgets", &[]);
    assert!(lines[0].starts_with("0.05: ") && lines[0].contains("no assignment"), "{lines:?}");
    let mut last = f64::INFINITY;
    for share in ["0.30", "0.60"] {
        let of = numbers(&lines, share);
        let [peak, budget, cost, bound, _] = of[..] else { panic!("{lines:?}") };
        assert!(peak <= budget && bound <= cost && cost <= last, "{lines:?}");
        last = cost;
    }
}

#[test]
fn an_assignment_is_told_tensor_by_tensor() {
    let lines = run("inspect_assignment", &[]);
    let total = lines.iter().find(|line| line.contains("elements in all")).unwrap();
    let number = |line: &str| line.split(' ').next().unwrap().parse::<f64>().unwrap();
    let by_format = lines.iter().filter(|line| line.contains(" elements in ") && !line.contains("in all"));
    assert_eq!(by_format.map(|line| number(line)).sum::<f64>(), number(total), "{lines:?}");
    let low: f64 = total.rsplit(' ').nth(3).unwrap().parse().unwrap();
    assert!((0.5..0.7).contains(&low), "{total}");
    assert!(lines.iter().any(|line| line.starts_with("output ") && line.contains("1-4-3: computed in passing by")));
    let peaks = lines.last().unwrap();
    let without: f64 = peaks.rsplit(' ').nth(2).unwrap().parse().unwrap();
    assert!(number(peaks) < without, "{peaks}");
}

#[test]
fn a_rule_of_ones_own_fires_and_keeps_the_bits() {
    let lines = run("own_rule", &[]);
    assert!(numbers(&lines, "relu-of-relu fired")[0] > 0.0, "{lines:?}");
    assert!(lines.contains(&"the losses are the same bits: true".to_string()), "{lines:?}");
    let losses = numbers(&lines, "loss");
    assert!(losses[1] < losses[0], "{lines:?}");
}
