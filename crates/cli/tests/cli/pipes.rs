//! Readers that go away, and standard streams that are closed or full.
#![cfg(target_os = "linux")]

use crate::folder::Folder;
use std::process::{Command, Stdio};

/// Runs `$B` with arguments and redirections in a shell; the status of the command and what came through.
#[track_caller]
fn run(folder: &Folder, arguments: &str) -> (i32, String) {
    let mut shell = Command::new("bash");
    shell.current_dir(folder.path(".")).env("B", env!("CARGO_BIN_EXE_bitbudget"));
    shell.args(["-c", &format!("$B {arguments}; exit ${{PIPESTATUS[0]}}")]).stdin(Stdio::null());
    let output = shell.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
}

const CLOSED: [&str; 8] =
    ["2>&1 | head -1", "2>&1 | true", "| true", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2> /dev/full"];

#[test]
fn a_run_saves_whoever_reads_it() {
    let folder = Folder::new();
    let train = "train net.onnx --data digits --batch 32 --epochs 2";
    let outputs = "--save s.onnx --metrics m --json r --html h --tensorboard t";
    folder.succeed(&format!("{train} --save right.onnx"));
    let right = folder.read("right.onnx");
    for how in CLOSED {
        let (code, text) = run(&folder, &format!("{train} {outputs} {how}"));
        assert_eq!(code, 0, "{how}: {text}");
        assert!(!text.contains("panicked"), "{how}: {text}");
        assert!(folder.read("s.onnx") == right, "{how}");
        // With a descriptor closed, no file got its number, so no text went into a file.
        assert_eq!(folder.json("r")["steps"], 88, "{how}");
        let metrics = String::from_utf8(folder.read("m")).unwrap();
        assert_eq!(metrics.lines().filter(|line| line.starts_with('{')).count(), 88 + 2 + 1, "{how}");
        assert_eq!(metrics.lines().count(), 91, "{how}");
        for file in ["s.onnx", "m", "r", "h"] {
            std::fs::remove_file(folder.path(file)).unwrap();
        }
    }
    for on_output in ["--json -", "--metrics -", "--html -"] {
        let (code, text) = run(&folder, &format!("{train} --save s.onnx {on_output} | true"));
        assert_eq!(code, 0, "{on_output}: {text}");
        assert!(folder.read("s.onnx") == right && !text.contains("error"), "{on_output}: {text}");
    }
}

#[test]
fn commands_that_print_end_quietly_where_nobody_reads() {
    let folder = Folder::new();
    for command in [
        "inspect net.onnx --batch 8 --text training",
        "inspect net.onnx --batch 8",
        "assign net.onnx --batch 8",
        "explain net.onnx --batch 8",
        "eval net.onnx --data digits",
        "bench net.onnx --batch 8 --steps 1",
        "zoo squeezenet --width 0.1 -o z.onnx",
        "compile net.onnx --batch 8 -o z.onnx",
        "profile net.onnx --data digits --batch 4 --batches 1 -o z.onnx",
        "compare net.onnx --methods fp32 --html z.onnx",
        "completions bash",
        "man",
        "--help",
        "--version",
    ] {
        for how in CLOSED {
            let (code, text) = run(&folder, &format!("{command} {how}"));
            assert!(code == 0 && !text.contains("panicked") && !text.contains("error:"), "{command} {how}: {text}");
            if command.contains("z.onnx") {
                std::fs::remove_file(folder.path("z.onnx")).unwrap();
            }
        }
    }
}

#[test]
fn a_full_standard_output_is_an_error() {
    let folder = Folder::new();
    for command in [
        "inspect net.onnx --batch 8",
        "assign net.onnx --batch 8 --json -",
        "eval net.onnx --data digits --quiet --json -",
        "train net.onnx --data digits --steps 1 --save z.onnx",
        "zoo squeezenet --width 0.1 -o z.onnx",
        "completions bash",
        "man",
        "--help",
        "--version",
        "train --help",
    ] {
        let (code, text) = run(&folder, &format!("{command} > /dev/full"));
        assert_eq!(code, 2, "{command}: {text}");
        assert!(text.contains("error: cannot write to standard output: No space left on device"), "{command}: {text}");
        // What was to be saved is.
        if command.contains("z.onnx") {
            std::fs::remove_file(folder.path("z.onnx")).unwrap();
        }
    }
}

#[test]
fn a_reader_that_goes_away_changes_no_status() {
    let folder = Folder::new();
    let compare = "compare net.onnx --data digits --batch 8 --steps 2 --lr 1e38 --methods fp32 --seeds 1";
    let train = "train net.onnx --data digits --batch 8 --steps 2 --lr 1e38 --method fp32";
    folder.write("broken.onnx", &crate::divergence::broken(3e38));
    for command in [compare, train, "eval broken.onnx --data digits"] {
        for options in ["", "--json -"] {
            for how in CLOSED.iter().filter(|how| **how != "2> /dev/full") {
                let (code, text) = run(&folder, &format!("{command} {options} {how}"));
                assert_eq!(code, 3, "{command} {options} {how}: {text}");
            }
        }
    }
    for how in ["2>&1 | true", "| true"] {
        assert_eq!(run(&folder, &format!("assign net.onnx --pin none=bf16 {how}")).0, 2, "{how}");
        assert_eq!(run(&folder, &format!("train net.onnx --data synthetic:999999999999 {how}")).0, 4, "{how}");
    }
}
