//! Threads of a run: each has scratch memory, so a budget holds for so many.

use crate::folder::Folder;
use serde_json::Value;

/// A folder with a trainer file whose budget holds for one thread only, and the bytes of the budget.
fn trainer() -> (Folder, u64) {
    let folder = Folder::new();
    folder.succeed("assign net.onnx --batch 8 --method fp32 --threads 1 --quiet --json a.json");
    let budget = folder.json("a.json")["memory"]["predicted"].as_u64().unwrap();
    let compile = "compile net.onnx --batch 8 --method fp32 --threads 1 -o one.trainer";
    folder.succeed(&format!("{compile} --budget {budget}B"));
    (folder, budget)
}

fn memory(record: &Value) -> [u64; 3] {
    ["predicted", "allocated", "budget"].map(|key| record["memory"][key].as_u64().unwrap())
}

#[test]
fn a_trainer_file_runs_on_the_threads_that_its_budget_holds_for() {
    let (folder, budget) = trainer();
    let cores = std::thread::available_parallelism().unwrap().get();
    let note = format!("holds for 1, not for {cores}");
    for command in ["train one.trainer --data digits --steps 1", "bench one.trainer --steps 1"] {
        for threads in ["", "--threads 0", "--threads 1"] {
            let run = folder.succeed(&format!("{command} {threads} --json r.json"));
            let [predicted, allocated, of_budget] = memory(&folder.json("r.json"));
            assert_eq!((predicted, allocated, of_budget), (budget, budget, budget), "{command} {threads}");
            let is_told = cores > 1 && threads != "--threads 1";
            assert_eq!(run.stderr.contains(&note), is_told, "{command} {threads}: {}", run.stderr);
        }
        folder.succeed(&format!("{command} --quiet --json r.json"));
        assert_eq!(folder.run(&format!("{command} --quiet")).stderr, "");
    }
}

#[test]
fn more_threads_than_a_budget_holds_for_are_refused() {
    let (folder, budget) = trainer();
    let text =
        format!("more than the budget of {:.1} KiB that the trainer file was compiled for", budget as f64 / 1024.0);
    for command in
        ["train one.trainer --data digits", "bench one.trainer", "inspect one.trainer", "explain one.trainer"]
    {
        for threads in [2, 3, 1000] {
            let with = format!(
                "with {} threads a training step takes ",
                if threads == 1000 { "1,000".into() } else { threads.to_string() }
            );
            folder.refused(&format!("{command} --threads {threads}"), &[&with, &text, "run with `--threads 1`"]);
        }
    }
    // A plan's budget holds for as many threads.
    let plan = format!("assign net.onnx --batch 8 --method fp32 --budget {budget}B -o plan.toml --quiet");
    folder.succeed(&format!("{plan} --threads 1"));
    let train = "train net.onnx --assignment plan.toml --data digits --steps 1";
    folder.refused(&format!("{train} --threads 2"), &["with 2 threads; it fits with `--threads 1`"]);
    folder.succeed(&format!("{train} --threads 1"));
}

#[test]
fn fewer_threads_than_a_trainer_file_was_compiled_for_take_less_and_give_the_same_bits() {
    let (folder, one) = trainer();
    folder.succeed("compile net.onnx --batch 8 --method fp32 --budget 100% --threads 3 -o three.trainer");
    let mut losses = Vec::new();
    let mut peaks = Vec::new();
    for threads in [1, 3] {
        folder.succeed(&format!("bench three.trainer --steps 2 --threads {threads} --json r.json"));
        let record = folder.json("r.json");
        let [predicted, allocated, _] = memory(&record);
        assert_eq!((predicted, record["threads"].as_u64()), (allocated, Some(threads)));
        peaks.push(predicted);
        losses.push(record["losses"].clone());
    }
    assert_eq!((peaks[0], &losses[0]), (one, &losses[1]));
    assert!(peaks[0] < peaks[1], "{peaks:?}");
}

#[test]
fn every_command_that_counts_threads_takes_their_number() {
    let (folder, budget) = trainer();
    for command in [
        "assign net.onnx",
        "compile net.onnx -o x.trainer",
        "inspect net.onnx",
        "explain net.onnx",
        "report net.onnx --html x.html",
        "train net.onnx --data digits --steps 1",
        "bench net.onnx --steps 1",
    ] {
        let command = format!("{command} --batch 8 --method fp32 --budget {budget}B --quiet");
        folder.succeed(&format!("{command} --threads 1"));
        assert_eq!(folder.run(&format!("{command} --threads 16")).code, Some(2), "{command}");
    }
}
