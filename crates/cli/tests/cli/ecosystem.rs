//! Outputs for other programs: TensorBoard's event files, annotated ONNX, GraphViz, completions, manual pages.

use crate::folder::Folder;
use onnx_protobuf::{Message, ModelProto, StringStringEntryProto};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// The output of a script of `tests/python`, as JSON; none where Python or a module that it needs is missing.
fn python(module: &str, script: &str, argument: &Path) -> Option<Value> {
    let has = Command::new("python3").args(["-c", &format!("import {module}")]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: python3 with `{module}` is not there");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(script);
    let output = Command::new("python3").arg(script).arg(argument).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn tensorboard_reads_what_training_writes() {
    let folder = Folder::new();
    let train = "train net.onnx --data digits --batch 64 --steps 4 --quiet --metrics steps.jsonl";
    folder.succeed(&format!("{train} --tensorboard logs/run"));
    let files: Vec<String> = std::fs::read_dir(folder.path("logs/run"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(files.len() == 1 && files[0].starts_with("events.out.tfevents."), "{files:?}");
    let Some(scalars) = python("tensorboard", "scalars.py", &folder.path("logs/run")) else { return };
    let text = String::from_utf8(folder.read("steps.jsonl")).unwrap();
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps: Vec<&Value> = records.iter().filter(|record| record["record"] == "step").collect();
    assert_eq!(steps.len(), 4);
    for (tag, field) in [("loss", "loss"), ("learning_rate", "learning_rate"), ("loss_scale", "loss_scale")] {
        let read = scalars[format!("train/{tag}")].as_array().unwrap();
        assert_eq!(read.len(), 4, "{tag}");
        for (read, step) in read.iter().zip(&steps) {
            assert_eq!(read[0], step["step"], "{tag}");
            assert_eq!(read[1].as_f64().unwrap() as f32, step[field].as_f64().unwrap() as f32, "{tag}");
        }
    }
    let low = scalars["precision/low_ratio"][0][1].as_f64().unwrap();
    assert!((0.5..0.7).contains(&low), "{low}");
    assert_eq!(scalars["precision/promotions"].as_array().unwrap().len(), 4);
    let epoch = records.iter().find(|record| record["record"] == "epoch").unwrap();
    for (tag, field) in
        [("train/accuracy", "train_accuracy"), ("test/loss", "test_loss"), ("test/accuracy", "test_accuracy")]
    {
        assert_eq!(scalars[tag][0][0], epoch["steps"], "{tag}");
        assert_eq!(scalars[tag][0][1].as_f64().unwrap() as f32, epoch[field].as_f64().unwrap() as f32, "{tag}");
    }
}

/// The value of a key.
fn of<'p>(pairs: &'p [StringStringEntryProto], key: &str) -> Option<&'p str> {
    pairs.iter().find(|pair| pair.key == key).map(|pair| pair.value.as_str())
}

#[test]
fn annotated_onnx_says_what_every_operator_got() {
    let folder = Folder::new();
    let options = "--batch 8 --budget 80% --pin conv1=bf16";
    folder.succeed(&format!("compile net.onnx {options} -o net.trainer --annotated-onnx annotated.onnx"));
    let annotated = ModelProto::parse_from_bytes(&folder.read("annotated.onnx")).unwrap();
    assert_eq!((annotated.ir_version, of(&annotated.metadata_props, "bitbudget.method")), (10, Some("ilp")));
    assert_eq!(of(&annotated.metadata_props, "bitbudget.batch"), Some("8"));
    let node = |name: &str| annotated.graph.node.iter().find(|node| node.name == name).unwrap();
    let conv = &node("conv1").metadata_props;
    assert_eq!(of(conv, "bitbudget.output"), Some("bf16, 16 bits"));
    assert!(of(conv, "bitbudget.output.why").unwrap().contains("It is pinned to bf16"), "{conv:?}");
    assert!(of(conv, "bitbudget.parameter.conv1.weight").is_some(), "{conv:?}");
    // Every operator says something, as the trainer file does.
    folder.succeed("compile net.trainer -o again.trainer --annotated-onnx again.onnx");
    let again = ModelProto::parse_from_bytes(&folder.read("again.onnx")).unwrap();
    for (node, other) in annotated.graph.node.iter().zip(&again.graph.node) {
        let computes = !["Reshape", "Flatten", "Identity", "Shape", "Concat"].contains(&node.op_type.as_str());
        assert!(!computes || of(&node.metadata_props, "bitbudget.output").is_some(), "{} {}", node.op_type, node.name);
        let output = of(&node.metadata_props, "bitbudget.output");
        assert_eq!(output, of(&other.metadata_props, "bitbudget.output"), "{}", node.name);
    }
    // It is the same network.
    let import = |name: &str| bitbudget::onnx::import(&folder.path(name)).unwrap().model;
    let (plain, copy) = (import("net.onnx"), import("annotated.onnx"));
    assert_eq!(plain.graph.to_string(), copy.graph.to_string());
    assert_eq!(plain.values, copy.values);
    let Some(read) = python("onnx", "metadata.py", &folder.path("annotated.onnx")) else { return };
    assert_eq!(read["model"]["bitbudget.method"], "ilp");
    assert_eq!(read["nodes"]["conv1"]["bitbudget.output"], "bf16, 16 bits");
}

#[test]
fn every_text_form_can_be_drawn() {
    let folder = Folder::new();
    for what in ["forward", "training", "program", "evaluation"] {
        let options = "--batch 8 --method operator";
        let drawn = folder.succeed(&format!("inspect net.onnx {options} --dot {what}")).stdout;
        assert!(drawn.starts_with("digraph \"") && drawn.ends_with("}\n"), "{drawn}");
        for colour in ["#9ecae1", "#fdd49e"] {
            assert!(drawn.contains(colour), "{what}: no {colour}");
        }
        // Every box of an arrow is there.
        let boxes: Vec<&str> =
            drawn.lines().filter_map(|line| line.trim().split_once(" [label=")).map(|l| l.0).collect();
        let arrows = drawn.lines().filter_map(|line| line.trim().trim_end_matches(';').split_once(" -> "));
        let mut count = 0;
        for (from, to) in arrows {
            assert!(boxes.contains(&from) && boxes.contains(&to), "{what}: {from} -> {to}");
            count += 1;
        }
        assert!(count > 50 && boxes.len() > 50, "{what}");
        let text = folder.succeed(&format!("inspect net.onnx {options} --text {what}")).stdout;
        let ids = text.lines().filter_map(|line| line.trim().split_once(" = ")).map(|line| line.0);
        if let "forward" | "training" = what {
            for id in ids.filter(|id| id.starts_with('%')) {
                assert!(boxes.contains(&format!("\"{id}\"").as_str()), "{what}: {id}");
            }
        }
        draw(&folder, what, &drawn, boxes.len(), count);
    }
    folder.refused("inspect net.onnx --dot training --json -", &["--dot", "--json"]);
}

/// Has GraphViz read and draw, where it is there; training graphs take it long, so it only counts their boxes and arrows.
fn draw(folder: &Folder, what: &str, drawn: &str, boxes: usize, arrows: usize) {
    if Command::new("dot").arg("-V").output().is_err() {
        eprintln!("skipped: GraphViz is not there");
        return;
    }
    folder.write("drawing.dot", drawn.as_bytes());
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).arg(folder.path("drawing.dot")).output().unwrap();
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let counted = run("gc", &[]);
    let counts: Vec<usize> = counted.split_whitespace().take(2).map(|count| count.parse().unwrap()).collect();
    assert_eq!(counts, [boxes, arrows], "{what}");
    if let "forward" | "evaluation" = what {
        assert!(run("dot", &["-Tsvg"]).contains("conv1"), "{what}");
    }
}

#[test]
fn shells_and_manuals_know_every_command() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let completions = folder.succeed(&format!("completions {shell}")).stdout;
        for word in ["train", "annotated-onnx", "completions"] {
            assert!(completions.contains(word), "{shell}: {word}");
        }
    }
    let page = folder.succeed("man").stdout;
    assert!(page.contains(".TH bitbudget 1") && page.contains("bitbudget\\-train(1)"), "{page}");
    assert!(folder.succeed("man train").stdout.contains("\\-\\-tensorboard"));
    folder.succeed("man -o pages/man1");
    let pages = std::fs::read_dir(folder.path("pages/man1")).unwrap().count();
    assert!(pages > 10, "{pages}");
    folder.refused("man nothing", &["no command `nothing`", "--help"]);
}
