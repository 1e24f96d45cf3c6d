//! What a run leaves behind: trained networks, trainer files, and what `eval` says of them.

use crate::folder::Folder;
use serde_json::Value;

/// The losses of a metrics file, bit for bit as written.
fn losses(folder: &Folder, file: &str) -> Vec<String> {
    let text = String::from_utf8(folder.read(file)).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.filter(|r| r["record"] == "step").map(|r| r["loss"].to_string()).collect()
}

#[test]
fn a_trainer_file_trains_as_its_network_does() {
    let folder = Folder::new();
    for options in
        ["--low-ratio 0.7", "--method operator", "--method random --seed 4", "--high bf16 --low-forward e4m3"]
    {
        for optimizer in ["", "--momentum 0.5 --weight-decay 0", "--optimizer adamw --weight-decay 0.1"] {
            let run = "--data synthetic:64 --steps 6 --lr 0.01 --quiet";
            let seed = if options.contains("seed") { "--seed 4" } else { "" };
            folder.succeed(&format!("compile net.onnx --batch 8 {options} {optimizer} -o net.trainer"));
            folder.succeed(&format!("train net.onnx --batch 8 {options} {optimizer} {run} --metrics a --save a.onnx"));
            folder.succeed(&format!("train net.trainer {seed} {run} --metrics b --save b.onnx"));
            assert_eq!(losses(&folder, "a"), losses(&folder, "b"), "{options} {optimizer}");
            assert_eq!(losses(&folder, "a").len(), 6);
            assert!(folder.read("a.onnx") == folder.read("b.onnx"), "{options} {optimizer}");
        }
    }
}

#[test]
fn eval_gives_the_accuracy_that_training_ended_with() {
    let folder = Folder::new();
    for (method, ending) in [("fp32", "onnx"), ("demote", "trainer"), ("demote", "onnx")] {
        folder.succeed(&format!(
            "train net.onnx --batch 32 --method {method} --data digits --steps 30 --lr 0.05 --json r.json --save out.{ending}"
        ));
        let record = folder.json("r.json");
        folder.succeed(&format!("eval out.{ending} --data digits --json e.json"));
        let eval = folder.json("e.json");
        assert_eq!(eval["examples"].as_u64(), Some(359));
        assert_eq!(eval["accuracy_fp32"], record["test_accuracy_fp32"], "{method} {ending}");
        if ending == "trainer" {
            assert_eq!(eval["method"], "demote");
            assert_eq!((&eval["accuracy"], &eval["loss"]), (&record["test_accuracy"], &record["test_loss"]));
        } else {
            assert_eq!((&eval["method"], &eval["accuracy"]), (&"fp32".into(), &record["test_accuracy_fp32"]));
            assert_eq!(eval["loss"], eval["loss_fp32"]);
            // In the formats and at the batch of the training: its own accuracy.
            let again = format!("eval out.onnx --data digits --batch 32 --method {method} --json -");
            let eval: Value = serde_json::from_str(&folder.succeed(&again).stdout).unwrap();
            assert_eq!(eval["accuracy"], record["test_accuracy"], "{method}");
        }
    }
}

#[test]
fn safetensors_hold_every_kept_tensor() {
    let folder = Folder::new();
    let train = "train net.onnx --batch 8 --data synthetic:32 --steps 2 --quiet";
    folder.succeed(&format!("{train} --save out.safetensors"));
    folder.succeed(&format!("{train} --save out.onnx"));
    let saved = bitbudget_train::checkpoint::Checkpoint::load(&folder.path("out.safetensors")).unwrap();
    let model = bitbudget_onnx::import(&folder.path("out.onnx")).unwrap().model;
    let start = bitbudget_onnx::import(&folder.path("net.onnx")).unwrap().model;
    for (name, values) in &model.values {
        assert_eq!(&saved.tensors[name].values, values, "{name}");
        assert_eq!(saved.tensors[name].shape.iter().product::<usize>(), values.len(), "{name}");
    }
    // Momentum is kept as well, and training has changed every weight.
    assert!(saved.tensors.len() > model.values.len());
    let changed = model.values.iter().filter(|(name, values)| start.values[*name] != **values).count();
    assert_eq!(changed, model.values.len());
}

#[test]
fn training_goes_on_from_what_was_saved() {
    let folder = Folder::new();
    let options = "--data digits --lr 0.05 --quiet --steps 40";
    folder.succeed(&format!("train net.onnx --batch 32 {options} --metrics a --save half.trainer"));
    folder.succeed(&format!("train half.trainer {options} --metrics b"));
    let mean = |losses: &[String]| losses.iter().map(|l| l.parse::<f64>().unwrap()).sum::<f64>() / losses.len() as f64;
    let (first, second) = (losses(&folder, "a"), losses(&folder, "b"));
    assert!(mean(&second[..10]) < 0.75 * mean(&first[..10]), "{first:?} {second:?}");
}

#[test]
fn a_saved_trainer_holds_all_that_the_next_step_reads() {
    let folder = Folder::new();
    let help = folder.succeed("train --help").stdout;
    let (_, rest) = help.split_once("--optimizer <RULE>").unwrap();
    let (rest, _) = rest.split_once("--momentum").unwrap();
    let rules = rest.lines().filter_map(|line| line.trim().strip_prefix("- ")?.split(':').next());
    let rules: Vec<&str> = rules.collect();
    assert_eq!(rules, ["sgd", "adamw"]);
    for rule in rules {
        // One batch holds all examples, so that every step sees the same.
        folder.succeed(&format!("compile net.onnx --batch 32 --optimizer {rule} -o 0.trainer"));
        let run = "--data synthetic:32 --lr 0.01 --no-shuffle --quiet";
        folder.succeed(&format!("train 0.trainer {run} --steps 6 --metrics whole --save whole.trainer"));
        folder.succeed(&format!("train 0.trainer {run} --steps 2 --metrics first --save half.trainer"));
        folder.succeed(&format!("train half.trainer {run} --steps 4 --metrics second --save both.trainer"));
        let both = [losses(&folder, "first"), losses(&folder, "second")].concat();
        assert_eq!(both, losses(&folder, "whole"), "{rule}");
        assert!(folder.read("both.trainer") == folder.read("whole.trainer"), "{rule}");
    }
}
