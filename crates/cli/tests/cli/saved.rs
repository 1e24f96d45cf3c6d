//! The files of a run: trained networks, trainer files, and their evaluation by `eval`.

use crate::folder::Folder;
use bitbudget::Compiled;
use bitbudget_train::checkpoint::{Checkpoint, Tensor};
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::{AttributeProto, Message, ModelProto, NodeProto, TensorProto};
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
    let saved = Checkpoint::load(&folder.path("out.safetensors")).unwrap();
    let model = bitbudget::onnx::import(&folder.path("out.onnx")).unwrap().model;
    let start = bitbudget::onnx::import(&folder.path("net.onnx")).unwrap().model;
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
        let run = "--data synthetic:32 --lr 0.01 --lr-schedule constant --no-shuffle --quiet";
        folder.succeed(&format!("train 0.trainer {run} --steps 6 --metrics whole --save whole.trainer"));
        folder.succeed(&format!("train 0.trainer {run} --steps 2 --metrics first --save half.trainer"));
        folder.succeed(&format!("train half.trainer {run} --steps 4 --metrics second --save both.trainer"));
        let both = [losses(&folder, "first"), losses(&folder, "second")].concat();
        assert_eq!(both, losses(&folder, "whole"), "{rule}");
        assert!(folder.read("both.trainer") == folder.read("whole.trainer"), "{rule}");
    }
}
/// The small network behind a detour that rewriting takes away: channels are added to, joined behind the input, and cut off
/// again, so that the loss reaches neither the constant `k` nor the parameter `p`.
fn detour() -> Vec<u8> {
    let mut model = ModelProto::parse_from_bytes(&crate::folder::network()).unwrap();
    let graph = model.graph.mut_or_insert_default();
    let floats = |name: &str, numbers: &[f32]| TensorProto {
        name: name.into(),
        dims: vec![3, 1, 1],
        data_type: 1,
        float_data: numbers.to_vec(),
        ..TensorProto::default()
    };
    let ints = |name: &str, number: i64| TensorProto {
        name: name.into(),
        dims: vec![1],
        data_type: 7,
        int64_data: vec![number],
        ..TensorProto::default()
    };
    let node = |op: &str, inputs: &[&str], output: &str| NodeProto {
        name: output.into(),
        op_type: op.into(),
        input: inputs.iter().map(ToString::to_string).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    };
    let attribute = |name: &str| AttributeProto { name: name.into(), ..AttributeProto::default() };
    graph.initializer.push(floats("p", &[1.5, -2.5, 3.5]));
    graph.initializer.extend([("begin", 0), ("end", 3), ("axis", 1)].map(|(name, number)| ints(name, number)));
    let mut constant = node("Constant", &[], "k");
    let value = AttributeProto { type_: AttributeType::TENSOR.into(), ..attribute("value") };
    constant.attribute.push(AttributeProto { t: Some(floats("", &[0.25, 0.5, 0.75])).into(), ..value });
    let input = graph.input[0].name.clone();
    let mut joined = node("Concat", &[&input, "added", "scaled"], "joined");
    joined.attribute.push(AttributeProto { type_: AttributeType::INT.into(), i: 1, ..attribute("axis") });
    graph
        .node
        .iter_mut()
        .flat_map(|node| &mut node.input)
        .filter(|name| **name == input)
        .for_each(|name| *name = "cut".into());
    let detour = [
        constant,
        node("Add", &[&input, "k"], "added"),
        node("Mul", &[&input, "p"], "scaled"),
        joined,
        node("Slice", &["joined", "begin", "end", "axis"], "cut"),
    ];
    graph.node.splice(0..0, detour);
    model.write_to_bytes().unwrap()
}

/// Values that rewriting removed from the training step are saved all the same, in every form, and as without rewriting.
#[test]
fn what_rewriting_removed_is_saved() {
    let folder = Folder::new();
    folder.write("detour.onnx", &detour());
    let program = folder.succeed("inspect detour.onnx --batch 8 --text program").stdout;
    assert!(!program.contains("\"k\""), "the detour is there: {program}");
    for (method, options) in [
        ("fp32", ""),
        ("demote", ""),
        ("uniform-low", "--promotion 1e-6"),
        ("uniform-low", "--optimizer adamw --promotion off"),
    ] {
        let train =
            format!("train detour.onnx --data digits --batch 32 --steps 12 --lr 0.2 --method {method} {options}");
        folder.succeed(&format!("{train} --quiet --save a.onnx --json r.json"));
        folder.succeed(&format!("{train} --quiet --save a.trainer"));
        folder.succeed(&format!("{train} --quiet --save a.safetensors"));
        folder.succeed(&format!("{train} --quiet --save plain.onnx --no-rewrite"));
        assert!(folder.read("a.onnx") == folder.read("plain.onnx"), "{method} {options}");
        let promoted = folder.json("r.json")["promotions"].as_array().unwrap().len();
        assert!(promoted > 0 || !options.contains("1e-6"), "{method} {options}");
        let model = bitbudget::onnx::import(&folder.path("a.onnx")).unwrap().model;
        let trainer = Compiled::decode(&folder.read("a.trainer")).unwrap();
        let tensors = Checkpoint::load(&folder.path("a.safetensors")).unwrap().tensors;
        assert_eq!(trainer.values["k"], [0.25, 0.5, 0.75]);
        assert_eq!(tensors["k"], Tensor { shape: vec![3, 1, 1], values: trainer.values["k"].clone() });
        assert_eq!(tensors["p"].shape, [3, 1, 1]);
        assert_eq!(tensors["p"].values, trainer.values["p"]);
        for (name, values) in &model.values {
            assert_eq!(trainer.values.get(name), Some(values), "{method} {options}: {name}");
        }
        folder.succeed("train a.trainer --data digits --steps 1 --quiet --save again.onnx");
        folder.succeed("eval a.onnx --data digits --json e.json --quiet");
        assert_eq!(folder.json("e.json")["accuracy_fp32"], folder.json("r.json")["test_accuracy_fp32"]);
    }
}

/// A parameter that the loss does not reach decays, as with PyTorch 2 (SGD of learning rate 0.1, momentum 0.9, decay 5e-4, five
/// steps with a gradient of zeros).
#[test]
fn an_unreached_parameter_is_saved_as_it_decayed() {
    let folder = Folder::new();
    folder.write("detour.onnx", &detour());
    let train =
        "train detour.onnx --data digits --batch 32 --steps 5 --lr 0.1 --lr-schedule constant --method fp32 --quiet";
    for more in ["", "--no-rewrite"] {
        folder.succeed(&format!("{train} {more} --save a.safetensors"));
        let p = Checkpoint::load(&folder.path("a.safetensors")).unwrap().tensors["p"].values.clone();
        for (p, right) in std::iter::zip(p, [1.499_014_4, -2.498_357, 3.497_7]) {
            assert!((p - right).abs() < 1e-6, "{p}, not {right}");
        }
    }
}

/// safetensors keep a name for themselves, and numbers of the training loop have names, which initializers may have.
#[test]
fn reserved_names_are_saved() {
    let folder = Folder::new();
    for name in ["__metadata__", "learning_rate", "loss_scale", "labels"] {
        let mut model = ModelProto::parse_from_bytes(&crate::folder::network()).unwrap();
        let graph = model.graph.mut_or_insert_default();
        let first = graph.initializer[0].name.clone();
        let shape: Vec<usize> = graph.initializer[0].dims.iter().map(|&d| d as usize).collect();
        graph.initializer[0].name = name.into();
        let inputs = graph.node.iter_mut().flat_map(|node| &mut node.input);
        inputs.filter(|input| **input == first).for_each(|input| *input = name.into());
        folder.write("named.onnx", &model.write_to_bytes().unwrap());
        let train = "train named.onnx --data digits --batch 32 --steps 1 --quiet";
        folder.succeed(&format!("{train} --save a.safetensors"));
        folder.succeed(&format!("{train} --save a.trainer"));
        let tensors = Checkpoint::load(&folder.path("a.safetensors")).unwrap().tensors;
        let trainer = Compiled::decode(&folder.read("a.trainer")).unwrap();
        assert_eq!(tensors[name].values, trainer.values[name], "{name}");
        assert_eq!(tensors[name].shape, shape, "{name}");
    }
}
