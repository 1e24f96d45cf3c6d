//! `zoo`, `inspect` and the help.

use crate::folder::Folder;
use bitbudget::ir::{Graph, NodeId, Role};
use bitbudget::zoo::{Spec, build};

/// How a node is called; a file has no names for statistics, so those are called by what they compute.
fn name(graph: &Graph, id: NodeId) -> String {
    let operands = || -> Vec<String> { graph.operands(id).iter().map(|&o| name(graph, o)).collect() };
    match (graph.op(id).source_name(), graph.node(id).role) {
        (Some(source), _) => source.into(),
        (None, Role::Internal) => format!("{}{:?}", graph.op(id).name(), operands()),
        _ => graph.node(id).name.clone(),
    }
}

/// A graph whatever the order of its nodes: each with its operands by name, and the updates.
fn unordered(graph: &Graph) -> String {
    let name = |id| name(graph, id);
    let node = |id| {
        let operands: Vec<String> = graph.operands(id).iter().copied().map(name).collect();
        format!("{:?} {operands:?} {} {:?} {}", graph.op(id), graph.ty(id), graph.node(id).role, name(id))
    };
    let updates = graph.updates().iter().map(|&(state, value)| format!("{} <- {}", name(state), name(value)));
    let outputs = graph.outputs().iter().map(|(output, id)| format!("{output} = {}", name(*id)));
    let mut lines: Vec<String> = graph.ids().map(node).chain(updates).chain(outputs).collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// Compares texts line by line, so that a failure shows a line and not a graph.
#[track_caller]
fn same(ours: &str, expected: &str) {
    for (ours, expected) in std::iter::zip(ours.lines(), expected.lines()) {
        assert_eq!(ours, expected);
    }
    assert_eq!(ours.lines().count(), expected.lines().count());
}

const ALL: [&str; 13] = [
    "zoo",
    "inspect",
    "explain",
    "assign",
    "compile",
    "train",
    "eval",
    "bench",
    "report",
    "profile",
    "compare",
    "completions",
    "man",
];

#[test]
fn every_command_has_help_with_examples() {
    let folder = Folder::new();
    let top = folder.succeed("--help").stdout;
    for command in ALL {
        assert!(top.contains(command), "{top}");
        let help = folder.succeed(&format!("{command} --help")).stdout;
        assert!(help.contains("Usage: bitbudget"), "{help}");
        let (_, examples) = help.split_once("Examples:").unwrap();
        assert!(examples.contains(&format!("\n  bitbudget {command} ")), "{help}");
    }
    assert_eq!(folder.succeed("--version").stdout, format!("bitbudget {}\n", env!("CARGO_PKG_VERSION")));
}

/// Text for people fits a terminal of 100 columns, and has no colours where there is no terminal.
#[test]
fn text_fits_100_columns() {
    let folder = Folder::new();
    let data = "--data digits --batch 64";
    for command in [
        "inspect net.onnx --batch 64".to_string(),
        "assign net.onnx --batch 64 --budget 80% --solve-seconds 2".to_string(),
        "assign net.onnx --batch 64 --method operator".to_string(),
        "explain net.onnx --batch 64 --method fp32".to_string(),
        "bench net.onnx --batch 64 --steps 1".to_string(),
        format!("train net.onnx {data} --steps 2 --budget 80% --solve-seconds 2"),
        format!("compare net.onnx {data} --steps 2 --seeds 1 --budgets 10%,100% --methods demote,fp32"),
        "profile net.onnx --data digits --batch 4 --batches 1 -o p.json".to_string(),
    ] {
        let text = folder.succeed(&command).stdout;
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{command}: {} columns: {line}", line.chars().count());
        }
        assert!(text.lines().count() > 2 && !text.contains('\u{1b}'), "{command}: {text}");
    }
}

/// Notes, warnings and errors go on in the next line on a narrow terminal; in a log each has its own line.
#[test]
fn remarks_fit_a_narrow_terminal() {
    let folder = Folder::new();
    for (columns, arguments) in [
        ("40", "train net.onnx --data digits --batch 64 --steps 1"),
        ("40", "train net.onnx --data digits --batch 9999"),
        ("60", "assign net.onnx --pin Cnv*=bf16 --pin fire2.relu3=bf16"),
    ] {
        let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_bitbudget"));
        let command = command.current_dir(folder.path(".")).env("COLUMNS", columns);
        let output = command.args(arguments.split_whitespace()).output().unwrap();
        let narrow = String::from_utf8(output.stderr).unwrap();
        let words = |text: &str| text.split_whitespace().map(str::to_string).collect::<Vec<_>>();
        let plain = folder.run(arguments).stderr;
        // Speed differs from run to run.
        let but_speed =
            |text: &str| words(text).into_iter().filter(|word| word.parse::<u64>().is_err()).collect::<Vec<_>>();
        assert_eq!(but_speed(&narrow), but_speed(&plain));
        let widest = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest(&narrow) <= columns.parse().unwrap(), "{narrow}");
        assert!(widest(&plain) > 60, "{plain}");
    }
}

#[test]
fn counts_of_one_are_singular() {
    let folder = Folder::new();
    let shown = folder.succeed("train net.onnx --data digits --batch 8 --steps 1 --method fp32").stdout;
    assert!(shown.contains("\n1 step in ") && shown.contains(", 0 tensors promoted"), "{shown}");
    folder.succeed("zoo squeezenet --width 0.1 --classes 1 -o one.onnx");
    let shown = folder.succeed("inspect one.onnx --batch 8").stdout;
    assert!(shown.contains(" 1 class, "), "{shown}");
    let shown = folder.succeed("bench net.onnx --batch 8 --steps 1 --threads 1").stdout;
    assert!(shown.contains(", 1 thread\n") && shown.contains(" over 1 step; "), "{shown}");
    let shown = folder.succeed("profile net.onnx --data digits --batch 4 --batches 1 --threads 1 -o p.json").stdout;
    assert!(shown.contains(" over 1 batch of 4 ") && shown.contains(" with 1 thread\n"), "{shown}");
    let compare = "compare net.onnx --batch 8 --methods fp32 --threads 1 --quiet --csv c.csv";
    let shown = folder.succeed(compare).stdout;
    assert!(!shown.contains("1 threads"), "{shown}");
}

/// Without rounding there is one result, not the same twice.
#[test]
fn an_evaluation_in_fp32_has_one_result() {
    let folder = Folder::new();
    let both = |shown: &str| shown.matches(" loss ").count();
    let shown = folder.succeed("eval net.onnx --data digits --json e.json").stdout;
    assert!(both(&shown) == 1 && shown.starts_with("359 examples of digits: fp32 loss "), "{shown}");
    let record = folder.json("e.json");
    assert_eq!((&record["loss"], &record["accuracy"]), (&record["loss_fp32"], &record["accuracy_fp32"]));
    for options in ["--method uniform-low", "--method fp32 --pin Conv*=1-4-3"] {
        let shown = folder.succeed(&format!("eval net.onnx --data digits {options}")).stdout;
        assert!(both(&shown) == 2 && shown.contains("; fp32 loss "), "{shown}");
    }
    let shown = folder.succeed("train net.onnx --data digits --batch 8 --steps 1 --method fp32").stdout;
    assert!(
        !shown.contains("when evaluated in fp32") && shown.contains("\nfp32 at batch 8: all tensors fp32\n"),
        "{shown}"
    );
    let shown = folder.succeed("train net.onnx --data digits --batch 8 --steps 1").stdout;
    assert!(shown.contains("when evaluated in fp32"), "{shown}");
}

/// Help, and what is wrong with the arguments, break between words where `COLUMNS` says.
#[test]
fn text_about_arguments_fits_the_columns() {
    let folder = Folder::new();
    let commands = [
        "--help",
        "train --help",
        "assign -h",
        "train net.onnx",
        "trian net.onnx",
        "zoo squeezenet",
        "assign net.onnx --budget 0x10MiB",
        "assign net.onnx --high fp7",
        "assign net.onnx --assignment plan.toml --method demote",
        "inspect net.onnx --text backward",
    ];
    for arguments in commands {
        let shown = |columns: &str| {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bitbudget"));
            command.current_dir(folder.path(".")).env("COLUMNS", columns).args(arguments.split(' '));
            let output = command.output().unwrap();
            String::from_utf8(if output.status.success() { output.stdout } else { output.stderr }).unwrap()
        };
        for columns in [40, 60, 100] {
            let text = shown(&columns.to_string());
            // A word may be longer than the line.
            let is_fitting = |line: &&str| line.chars().count() <= columns || !line.trim_start().contains(' ');
            let long: Vec<&str> = text.lines().filter(|line| !is_fitting(line)).collect();
            assert!(long.is_empty(), "{arguments} in {columns} columns: {long:#?}");
            let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(words(&text), words(&shown("100")), "{arguments}");
        }
        assert_eq!(shown("1000"), shown("100"), "{arguments}");
    }
}

#[test]
fn quiet_commands_say_nothing() {
    let folder = Folder::new();
    for command in [
        "assign net.onnx --batch 8 -o plan.toml",
        "compile net.onnx --batch 8 -o net.trainer",
        "train net.onnx --data digits --steps 1 --save trained.onnx",
        "eval trained.onnx --data digits --json e.json",
        "bench net.onnx --batch 8 --steps 1 --json b.json",
        "profile net.onnx --data digits --batch 4 --batches 1 -o p.json",
        "compare net.onnx --methods fp32 --json c.json",
    ] {
        let run = folder.succeed(&format!("{command} --quiet"));
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""), "{command}");
    }
}

/// A terminal shows colours unless `NO_COLOR` is set; `script` gives a command one.
#[test]
fn colours_are_for_terminals_only() {
    let folder = Folder::new();
    let shown = |no_color: &str| {
        let command = format!(
            "{} inspect none.onnx; {0} zoo resnet-18 --width 0.1 -o z.onnx; {0} inspect net.onnx",
            env!("CARGO_BIN_EXE_bitbudget")
        );
        let mut script = std::process::Command::new("script");
        script.current_dir(folder.path(".")).args(["-qec", &command, "/dev/null"]).env("TERM", "xterm-256color");
        if no_color.is_empty() {
            script.env_remove("NO_COLOR")
        } else {
            script.env("NO_COLOR", no_color)
        };
        let output = script.env_remove("CLICOLOR").output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (Some(coloured), Some(plain)) = (shown(""), shown("1")) else {
        eprintln!("skipped: `script` is not there");
        return;
    };
    assert!(coloured.contains("\u{1b}[") && coloured.contains("error:"), "{coloured}");
    assert!(plain.contains("error: cannot read none.onnx") && !plain.contains('\u{1b}'), "{plain}");
    for text in [coloured, plain] {
        assert!(text.contains("operator") && text.contains("saved activations"), "{text}");
    }
}

#[test]
fn zoo_files_import_as_the_same_networks() {
    let folder = Folder::new();
    for name in ["squeezenet", "shufflenet-v2", "mobilenet-v2", "resnet-18"] {
        let run =
            folder.succeed(&format!("zoo {name} --width 0.1 --classes 7 --input 3x32x32 --seed 5 -o {name}.onnx"));
        let imported = bitbudget::onnx::import(&folder.path(&format!("{name}.onnx"))).unwrap();
        let spec = Spec {
            network: name.parse().unwrap(),
            width: 0.1,
            classes: 7,
            input: [3, 32, 32],
            seed: 5,
            ..Spec::default()
        };
        let built = build(&spec).unwrap();
        same(&unordered(&imported.model.graph), &unordered(&built.graph));
        assert!(imported.model.values == built.values, "{name}");
        assert_eq!(imported.warnings, [], "{name}");
        let text = folder.succeed(&format!("inspect {name}.onnx --text forward")).stdout;
        same(&unordered(&text.parse().unwrap()), &unordered(&built.graph));
        assert!(run.stdout.starts_with(&format!("{name}.onnx: {name} of width 0.1, ")), "{}", run.stdout);
    }
}

#[test]
fn training_graphs_and_programs_print() {
    let folder = Folder::new();
    folder.succeed("compile net.onnx --batch 8 --method operator -o net.trainer");
    for what in ["forward", "training", "program", "evaluation"] {
        let text = folder.succeed(&format!("inspect net.onnx --batch 8 --method operator --text {what}")).stdout;
        let of_trainer = folder.succeed(&format!("inspect net.trainer --text {what}")).stdout;
        same(&text, &of_trainer);
        if let "forward" | "training" = what {
            let graph: Graph = text.parse().unwrap();
            bitbudget::ir::verify(&graph).unwrap();
            same(&graph.to_string(), &text);
            assert_eq!(what == "training", text.contains("sgd_parameter"));
        } else {
            assert_eq!(what == "program", text.contains("sgd_parameter"), "{what}");
            assert!(text.contains("log_softmax"), "{what}");
        }
    }
}

#[test]
fn the_overview_counts_the_network() {
    let folder = Folder::new();
    let printed = folder.succeed("inspect net.onnx --batch 8 --json overview.json").stdout;
    let overview = folder.json("overview.json");
    let json = folder.succeed("inspect net.onnx --batch 8 --json -");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json.stdout).unwrap(), overview);
    assert_eq!(overview["input"], serde_json::json!([3, 16, 16]));
    assert_eq!((overview["classes"].as_u64(), overview["batch"].as_u64()), (Some(10), Some(8)));

    let graph = bitbudget::onnx::import(&folder.path("net.onnx")).unwrap().model.graph;
    let parameters = graph.ids().filter(|&id| graph.op(id).name() == "parameter");
    let elements: usize = parameters.map(|id| graph.ty(id).shape.elements(1)).sum();
    assert_eq!(overview["parameters"].as_u64(), Some(elements as u64));
    let convolutions = graph.ids().filter(|&id| graph.op(id).name() == "conv").count();
    assert_eq!(overview["operators"]["conv"]["count"].as_u64(), Some(convolutions as u64));
    // A backward pass does about twice the work of the forward pass.
    let flops = |key: &str| overview[key].as_f64().unwrap();
    let ratio = flops("training_flops") / flops("forward_flops");
    assert!((2.5..3.5).contains(&ratio), "{ratio}");
    for word in ["input [3, 16, 16]", "10 classes", "conv ", "batch 8", "36,482 parameters"] {
        assert!(printed.contains(word), "{word}: {printed}");
    }
    assert_eq!(elements, 36_482);
}
