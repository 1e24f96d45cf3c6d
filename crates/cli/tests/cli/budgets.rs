//! Messages about memory budgets: their form, budgets that nothing fits, and the memory of the search itself.

use crate::folder::Folder;
use assert_cmd::Command;
use bitbudget::ir::{Graph, Model, Op};
use bitbudget_testkit::{NETWORK, numbers};

const ASSIGN: &str = "assign net.onnx --batch 8 --solve-seconds 1";

#[test]
fn budgets_that_are_none_are_refused_with_what_would_be_one() {
    let folder = Folder::new();
    let cases: &[(&str, &[&str])] = &[
        ("40", &["a unit is missing: 40% or 40MiB?"]),
        ("0.4", &["a unit is missing: 40% or 0.4MiB?"]),
        ("0", &["must be above 0"]),
        ("0%", &["must be above 0"]),
        ("-40%", &["must be above 0"]),
        ("NaN%", &["not a size", "300MiB", "40%"]),
        ("much", &["not a size", "300MiB", "40%"]),
        ("2G", &["unknown unit `G`", "GB", "GiB"]),
        ("2000%", &["too large", "1000% of FP32's peak"]),
        ("99999999999GiB", &["too large"]),
        ("0.1B", &["too small; a budget is at least 1B"]),
        ("0.0001%", &["too small; a budget is at least 1B, or 0.01% of FP32's peak"]),
    ];
    for (budget, words) in cases {
        for option in ["assign net.onnx --budget", "inspect net.onnx --budget", "compare net.onnx --budgets"] {
            folder.refused(&format!("{option}={budget}"), words);
        }
        folder.refused(&format!("compare net.onnx --budgets=40%,{budget}"), words);
    }
    folder.refused("assign net.onnx --budget 60% --max-slowdown 10", &["the unit is missing: 10%?"]);
    // In assignment files too, as texts and as numbers.
    folder.succeed(&format!("{ASSIGN} --budget 90% -o plan.toml"));
    let text = String::from_utf8(folder.read("plan.toml")).unwrap();
    for limit in ["\"40\"", "40"] {
        folder.write("edited.toml", text.replace("\"90%\"", limit).as_bytes());
        folder.refused("assign net.onnx --from edited.toml", &["edited.toml", "a unit is missing: 40% or 40MiB?"]);
    }
}

/// A network that is searched in a moment.
fn small() -> Vec<u8> {
    let graph: Graph = NETWORK.parse().unwrap();
    let kept = graph.ids().filter(|&id| matches!(graph.op(id), Op::Parameter(_) | Op::State(_)));
    let value = |id| numbers(graph.ty(id).shape.elements(1), 3).iter().map(|x| x + 1.0).collect();
    let values = kept.map(|id| (graph.node(id).name.clone(), value(id))).collect();
    bitbudget::onnx::export_bytes(&Model { graph, values }).unwrap()
}

#[test]
fn what_is_needed_is_told_apart_from_the_budget_and_is_enough() {
    let folder = Folder::new();
    folder.write("small.onnx", &small());
    // What is said is counted, so that it is the same each time, if the clock does not end it.
    let assign = "assign small.onnx --batch 64 --solve-seconds 5";
    let run = folder.run(&format!("{assign} --budget 1B"));
    assert_eq!(run.code, Some(2));
    assert!(
        run.stderr.contains("no assignment fits 1 B (less than 0.001% of FP32's peak): the smallest "),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("Masters and optimizer state alone take "), "{}", run.stderr);
    let needed = |text: &str| {
        let (_, rest) = text.split_once(" needs ").unwrap();
        let words: Vec<&str> = rest.split_whitespace().collect();
        (format!("{}{}", words[0].replace(',', ""), words[1]), words[2].trim_matches(['(', ')', ';', '.']).to_string())
    };
    let (size, share) = needed(&run.stderr);
    assert!(size.ends_with("KiB") && share.ends_with('%'), "{size} {share}");
    folder.succeed(&format!("{assign} --budget {size} --quiet"));
    folder.succeed(&format!("{assign} --budget {share} --quiet"));
    // A little below, it says the same.
    let kibibytes: f64 = size.trim_end_matches("KiB").parse().unwrap();
    let bytes = (kibibytes * 1024.0) as usize - 200;
    let near = folder.run(&format!("{assign} --budget {bytes}B"));
    assert!(near.stderr.contains("no assignment "), "{}", near.stderr);
    assert_eq!(near.code, Some(2));
    assert_eq!(needed(&near.stderr).0, size, "{}", near.stderr);
    let (budget, _) = near.stderr.split_once(" fits ").unwrap().1.split_once(" (").unwrap();
    assert_ne!(budget.replace(' ', ""), size, "{}", near.stderr);
}

#[test]
fn peaks_of_very_small_networks_are_those_of_kernels_and_rewriting_does_not_raise_them() {
    let folder = Folder::new();
    folder.write("small.onnx", &small());
    let peak = |options: &str| {
        folder.succeed(&format!("assign small.onnx --batch 2 {options} --quiet --json a.json"));
        folder.json("a.json")["memory"]["predicted"].as_u64().unwrap()
    };
    let refused = folder.run("assign small.onnx --batch 2 --budget 1B --solve-seconds 5").stderr;
    assert!(refused.contains(", kernels' workspace and "), "{refused}");
    let (_, stated) = refused.split_once(" needs ").unwrap();
    let kibibytes: f64 = stated.split_once(" KiB").unwrap().0.replace(',', "").parse().unwrap();
    for method in ["fp32", "uniform-high", "uniform-low", "operator", "amp", "demote --low-ratio 1"] {
        let rewritten = peak(&format!("--method {method}"));
        assert!(rewritten <= peak(&format!("--method {method} --no-rewrite")), "{method}");
        // What is stated is rounded up.
        assert!(rewritten as f64 / 1024.0 > kibibytes - 0.1, "{method}: {rewritten} B, {kibibytes} KiB stated");
        folder.succeed(&format!("explain small.onnx --batch 2 --method {method} --json e.json"));
        assert_eq!(folder.json("e.json")["peak"].as_u64(), Some(rewritten), "{method}");
    }
}

#[test]
fn only_what_is_allowed_is_compared() {
    let folder = Folder::new();
    let compared = folder.succeed(&format!("{ASSIGN} --budget 90%")).stdout;
    assert!(compared.contains("demote on this budget: low ratio"), "{compared}");
    let other = folder.succeed(&format!("{ASSIGN} --budget 96% --formats fp32 --backward-formats fp32")).stdout;
    assert!(other.contains("demote is not compared: it rounds to formats that were not allowed"), "{other}");
    assert!(!other.contains("0.0000"), "{other}");
}

#[test]
fn the_help_says_what_methods_do_with_input_and_loss() {
    let folder = Folder::new();
    let formats = |method: &str| {
        let low = if ["demote", "demote-smallest", "random"].contains(&method) { "--low-ratio 1" } else { "" };
        let plan = folder.succeed(&format!("assign net.onnx --batch 8 --method {method} {low} -o -")).stdout;
        ["input = ", "log_softmax = ", "nll_loss = "].map(|name| {
            let line = plan.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_once("forward = \"").unwrap().1.split('"').next().unwrap().to_string()
        })
    };
    for (method, format) in [
        ("fp32", "fp32"),
        ("operator", "1-6-9"),
        ("amp", "1-6-9"),
        ("uniform-high", "1-6-9"),
        ("uniform-low", "1-4-3"),
        ("demote", "1-4-3"),
        ("demote-smallest", "1-4-3"),
        ("random", "1-4-3"),
        ("ilp --budget 90% --solve-seconds 1", "fp32"),
    ] {
        assert_eq!(formats(method), [format; 3], "{method}");
    }
    let help = folder.succeed("assign --help").stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "fp32 keeps them in FP32, and ilp too, unless nothing but another method's assignment fits the budget.",
        "operator and amp keep them high.",
        "uniform-high makes them high, uniform-low low, and demote, demote-smallest and random lower the input with the first group",
    ] {
        assert!(help.contains(words), "{help}");
    }
}

#[test]
fn the_first_help_says_what_the_program_is_for() {
    let folder = Folder::new();
    let help = folder.succeed("--help").stdout;
    assert!(help.starts_with("Train a neural network in less memory"), "{help}");
    assert!(help.contains("bitbudget train net.onnx --data digits") && help.contains("Examples:"), "{help}");
}

#[test]
fn tables_and_text_break_between_words_in_narrow_terminals() {
    let folder = Folder::new();
    let at = |columns: u16, arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bitbudget"));
        let output = command.current_dir(folder.path(".")).env("COLUMNS", columns.to_string());
        let output = output.args(arguments.split_whitespace()).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for arguments in [
        "assign net.onnx --batch 8",
        "inspect net.onnx --batch 8",
        "explain net.onnx --batch 8 --method fp32",
        "compare net.onnx --batch 8 --methods demote,fp32 --budgets 60% --quiet --csv c.csv",
        "compare net.onnx --batch 8 --methods demote,fp32 --budgets 60%",
    ] {
        let wide = at(100, arguments);
        for columns in [20, 40, 60] {
            let narrow = at(columns, arguments);
            let words: Vec<&str> = narrow.split_whitespace().map(|word| word.trim_end_matches(':')).collect();
            for word in wide.split_whitespace() {
                assert!(words.contains(&word.trim_end_matches(':')), "{arguments} at {columns}: no {word} in {narrow}");
            }
            let longest = words.iter().map(|word| word.len()).max().unwrap_or(0);
            let widest = narrow.lines().map(|line| line.trim_end().len()).max().unwrap_or(0);
            assert!(widest <= usize::from(columns).max(longest + 3), "{arguments} at {columns}: {narrow}");
        }
    }
    // Times differ from run to run, so words are not compared.
    let bench = at(40, "bench net.onnx --batch 8 --steps 1 --method fp32");
    assert!(bench.contains("saved activations") && bench.lines().all(|line| line.trim_end().len() <= 40), "{bench}");
}

/// Under each limit of addresses, a command ends with success or with a message, and never by a signal.
#[cfg(target_os = "linux")]
#[test]
fn too_little_memory_is_an_error() {
    let folder = Folder::new();
    let mut ends = Vec::new();
    let limits = (24..80).step_by(8).chain((80..=880).step_by(80));
    for mebibytes in limits {
        let binary = env!("CARGO_BIN_EXE_bitbudget");
        let script = format!("ulimit -v {}; exec {binary} {ASSIGN} --budget 90% --quiet", mebibytes * 1024);
        let output = Command::new("sh").current_dir(folder.path(".")).args(["-c", &script]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0) => {}
            Some(4) => assert!(
                stderr.starts_with("error: ") && stderr.contains("memory") && stderr.contains("ulimit -v"),
                "{mebibytes} MiB: {stderr}"
            ),
            other => panic!("{mebibytes} MiB: {other:?} {stderr}"),
        }
        ends.push(output.status.code());
    }
    assert_eq!((ends.first(), ends.last()), (Some(&Some(4)), Some(&Some(0))));
    assert!(ends.is_sorted_by(|a, b| a >= b), "{ends:?}");
}
