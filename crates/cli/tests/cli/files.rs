//! Networks as exporters leave them train as their authors mean: PyTorch's losses, from `tests/data/generate.py`.

use crate::folder::Folder;
use onnx_protobuf::{Message, ModelProto};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

const TRAIN: &str =
    "--data npz:examples.npz --batch 16 --method fp32 --steps 3 --no-shuffle --lr 0.1 --lr-schedule constant";

/// Trains a network of `tests/data` three steps, compares with PyTorch's losses, and returns what was said and the file saved.
#[track_caller]
fn train(name: &str) -> (String, ModelProto) {
    let folder = Folder::new();
    for file in ["examples.npz".to_string(), format!("{name}.onnx")] {
        std::fs::copy(data(&file), folder.path(&file)).unwrap();
    }
    let run = folder.succeed(&format!("train {name}.onnx {TRAIN} --metrics m --save out.onnx"));
    let text = String::from_utf8(folder.read("m")).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let losses: Vec<f64> = records.filter(|r| r["record"] == "step").map(|r| r["loss"].as_f64().unwrap()).collect();
    let all: Value = serde_json::from_slice(&std::fs::read(data("expected.json")).unwrap()).unwrap();
    let expected = &all[name];
    for (at, loss) in losses.iter().enumerate() {
        let right = expected["losses"][at].as_f64().unwrap();
        assert!((loss - right).abs() < 1e-5, "{name}, step {at}: {loss}, PyTorch has {right}");
    }
    assert_eq!(losses.len(), 3);
    let eval = "eval out.onnx --data npz:examples.npz --json e.json --quiet";
    folder.succeed(eval);
    let (after, right) = (folder.json("e.json")["loss_fp32"].as_f64().unwrap(), expected["after"].as_f64().unwrap());
    assert!((after - right).abs() < 1e-5, "{name}, after training: {after}, PyTorch has {right}");
    (run.stderr, ModelProto::parse_from_bytes(&folder.read("out.onnx")).unwrap())
}

fn parameters(model: &ModelProto) -> Vec<&str> {
    model.graph.initializer.iter().map(|t| t.name.as_str()).collect()
}

#[test]
fn parameters_that_an_exporter_merged_are_trained_separately() {
    for (name, separate) in [
        ("merged_old", ["c1.bias", "f.bias"]),
        ("merged_new", ["c1.bias", "f.bias"]),
        ("merged_plain", ["/c1/Conv.bias", "/f/Gemm.bias"]),
    ] {
        let (said, saved) = train(name);
        let names = format!("2 parameters are trained separately: {MERGED}: `{}`, `{}`;", separate[0], separate[1]);
        assert!(said.contains(&names), "{name}: {said}");
        assert!(separate.iter().all(|name| parameters(&saved).contains(name)), "{name}: {:?}", parameters(&saved));
    }
}

const MERGED: &str = "the exporter had merged them with others because their elements were equal";

#[test]
fn parameters_that_operators_share_stay_one_whatever_their_elements() {
    for name in ["shared_old", "shared_new"] {
        let (said, _) = train(name);
        let shared = "2 parameters are shared by several operators: `f.weight`, `f.bias`;";
        assert!(said.contains(shared) && !said.contains("separately"), "{name}: {said}");
    }
}

#[test]
fn rows_are_normalised_with_pytorchs_losses_and_weights() {
    let all: Value = serde_json::from_slice(&std::fs::read(data("expected.json")).unwrap()).unwrap();
    for name in ["row_norm_old", "row_norm_new"] {
        let (_, saved) = train(name);
        let normalised = saved.graph.node.iter().filter(|node| node.op_type == "LayerNormalization").count();
        assert_eq!(normalised, 3, "{name}");
        // The third one has a scale that is not a parameter, though the newer exporter merged it with one.
        let expected = all[name]["weights"].as_object().unwrap();
        let trained = saved.graph.initializer.iter().filter(|tensor| tensor.data_type == 1).count();
        assert_eq!(trained, expected.len(), "{name}: {:?}", parameters(&saved));
        for (parameter, weights) in expected {
            let tensor = saved.graph.initializer.iter().find(|t| t.name == *parameter);
            let tensor = tensor.unwrap_or_else(|| panic!("{name}: no {parameter}: {:?}", parameters(&saved)));
            let (bytes, weights) = (tensor.raw_data.as_chunks::<4>().0, weights.as_array().unwrap());
            assert_eq!(bytes.len(), weights.len(), "{name}: {parameter}");
            for (bytes, weight) in bytes.iter().zip(weights) {
                let (ours, theirs) = (f64::from(f32::from_le_bytes(*bytes)), weight.as_f64().unwrap());
                assert!((ours - theirs).abs() < 1e-5, "{name}: {parameter}: {ours}, PyTorch has {theirs}");
            }
        }
    }
}

#[test]
fn running_statistics_in_arithmetic_are_not_trained() {
    for (name, statistics) in [
        ("frozen_old", "`norm.running_mean`, `norm.running_var`"),
        ("frozen_new", "`norm.running_mean`, `norm.running_var`"),
        ("frozen_plain", "`p`, `q`"),
        ("normalised_old", "`mean`, `std`"),
        ("normalised_new", "`mean`, `std`"),
    ] {
        let (said, saved) = train(name);
        let note =
            "2 statistics are used in plain arithmetic (frozen batch normalisation, or normalisation of the input)";
        assert!(said.contains(&format!("note: {note}: {statistics};")), "{name}: {said}");
        let trained = parameters(&saved);
        assert!(
            !trained.iter().any(|name| name.contains("running") || ["p", "q", "mean", "std"].contains(name)),
            "{trained:?}"
        );
    }
}

#[test]
fn frozen_batch_normalisation_without_parameters_is_not_trained() {
    for (name, tensors) in [("frozen_layer_raw", "`1.weight`, `1.bias`"), ("frozen_layer_folded", "`mul`, `sub`")] {
        let (said, saved) = train(name);
        let note = "note: 2 initializers belong to frozen batch normalisation, which has no parameters in PyTorch";
        assert!(said.contains(&format!("{note}: {tensors};")) && !said.contains("lost"), "{name}: {said}");
        let frozen = ["1.weight", "1.bias", "1.running_mean", "1.running_var", "mul", "sub"];
        assert!(!parameters(&saved).iter().any(|name| frozen.contains(name)), "{name}: {:?}", parameters(&saved));
    }
}

#[test]
fn buffers_and_scales_of_layers_without_parameters_are_not_trained() {
    for name in ["buffers_raw", "buffers_folded"] {
        let (said, _) = train(name);
        let note = "note: 3 initializers are buffers, not parameters, in PyTorch: `channel`, `position`, `equal`;";
        assert!(said.contains(note), "{name}: {said}");
    }
    let (said, _) = train("no_scale");
    assert!(!said.contains("BatchNorm") && !said.contains("initializer"), "{said}");
}

#[test]
fn what_exporters_did_to_batch_normalisation_is_said() {
    let folder = Folder::new();
    let lost = |names: &str| {
        vec![format!(
            "warning: batch normalisation was lost: the exporter or an optimizer folded it into the weights of {names};"
        )]
    };
    let folded = |names: &str| {
        vec![format!(
            "warning: 2 initializers seem to contain the statistics of frozen batch normalisation, folded by the \
             exporter: {names};"
        )]
    };
    let mode = |name: &str| {
        let event = "1 BatchNormalization is in evaluation mode while others are in training mode";
        vec![format!("warning: {event}: `{name}`;")]
    };
    for (name, warnings) in [
        ("folded_linear", lost("2 operators: `node_Conv_31`, `node_Gemm_32`")),
        ("folded_old", lost("1 operator: `/3/Conv`")),
        ("frozen_folded", folded("`view`, `sub`")),
        ("frozen_layer_old", folded("`onnx::Mul_38`, `onnx::Add_40`")),
        ("modes_old", mode("/4/BatchNormalization")),
        ("modes_new", mode("node__native_batch_norm_legit_no_training__0")),
    ] {
        std::fs::copy(data(&format!("{name}.onnx")), folder.path("net.onnx")).unwrap();
        let said = folder.succeed("inspect net.onnx --batch 4 --method fp32").stderr;
        // That the batch size of the export was replaced is told too.
        let lines: Vec<&str> = said.lines().filter(|line| !line.contains("has the batch size of")).collect();
        let fits = lines.len() == warnings.len() && lines.iter().zip(&warnings).all(|(line, w)| line.starts_with(w));
        assert!(fits, "{name}: {said}");
    }
}

#[test]
fn a_network_that_ends_in_a_softmax_is_trained_on_what_is_before_it_and_keeps_it() {
    for (name, operator) in [("ends_in_softmax", "Softmax"), ("ends_in_log_softmax", "LogSoftmax")] {
        let (said, saved) = train(name);
        let note = format!("note: the network ends in {operator} (`/end/{operator}`): cross-entropy applies its own");
        assert!(said.contains(&note), "{name}: {said}");
        assert!(saved.graph.node.iter().any(|node| node.op_type == operator), "{name}");
    }
}

#[test]
fn every_name_is_there_with_verbose_and_nothing_with_quiet() {
    let folder = Folder::new();
    std::fs::copy(data("merged_plain.onnx"), folder.path("merged.onnx")).unwrap();
    let fp32 = "--method fp32";
    for (command, options) in [
        ("inspect", fp32),
        ("assign", fp32),
        ("explain", fp32),
        ("bench --steps 1", fp32),
        ("compile -o out.trainer", fp32),
        ("report --json report.json", fp32),
        ("train --data synthetic:8 --steps 1", fp32),
        ("eval --data synthetic:8", fp32),
        ("profile --data synthetic:8 -o profile.json", ""),
        ("compare --methods fp32", ""),
    ] {
        let run = folder.succeed(&format!("{command} merged.onnx --batch 4 {options} --verbose"));
        assert!(run.stderr.contains("note: 2 parameters are trained separately"), "{command}: {}", run.stderr);
    }
    assert_eq!(folder.succeed("assign merged.onnx --batch 4 --method fp32 --quiet").stderr, "");
}

#[cfg(unix)]
#[test]
fn links_to_external_data_are_followed_where_that_is_allowed() {
    let folder = Folder::new();
    let mut model = ModelProto::parse_from_bytes(&std::fs::read(data("merged_plain.onnx")).unwrap()).unwrap();
    let weight = model.graph.as_mut().unwrap().initializer.iter_mut().find(|t| t.name == "o.weight").unwrap();
    let bytes = std::mem::take(&mut weight.raw_data);
    weight.data_location = onnx_protobuf::tensor_proto::DataLocation::EXTERNAL.into();
    let (key, value) = ("location".to_string(), "model.onnx_data".to_string());
    weight.external_data = vec![onnx_protobuf::StringStringEntryProto { key, value, ..Default::default() }];
    // As a cache of downloads lays them out.
    for place in ["cache/blobs", "cache/snapshots/1", "elsewhere"] {
        std::fs::create_dir_all(folder.path(place)).unwrap();
    }
    folder.write("cache/blobs/0a", &model.write_to_bytes().unwrap());
    folder.write("cache/blobs/1b", &bytes);
    let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, folder.path(at)).unwrap();
    link("../../blobs/0a", "cache/snapshots/1/model.onnx");
    link("../../blobs/1b", "cache/snapshots/1/model.onnx_data");
    folder.succeed("assign cache/snapshots/1/model.onnx --batch 4 --method fp32");
    // A model that is no link itself may not reach there, unless its user says so.
    folder.write("elsewhere/model.onnx", &model.write_to_bytes().unwrap());
    link("../cache/blobs/1b", "elsewhere/model.onnx_data");
    let blobs = folder.path("cache/blobs").canonicalize().unwrap();
    let advice = format!("allow that folder with --allow-external {}", blobs.display());
    let words = ["`o.weight`: its external data `model.onnx_data` is a link to", "1b, outside", advice.as_str()];
    folder.refused("assign elsewhere/model.onnx --batch 4", &words);
    folder.succeed("assign elsewhere/model.onnx --batch 4 --method fp32 --allow-external cache/blobs");
    folder.refused("assign elsewhere/model.onnx --batch 4 --allow-external cache/snapshots", &["outside"]);
}

#[test]
fn batch_normalisation_of_one_value_per_channel_is_not_trained_but_evaluated() {
    let folder = Folder::new();
    use bitbudget::ir::{Dim, Graph, Model, Real, Shape, TensorType, ops};
    let mut graph = Graph::new("small");
    let vector = || TensorType::f32(Shape::fixed(&[3]));
    let x = graph.source(ops::Input { name: "x".into(), target: false }, TensorType::f32([Dim::BATCH, Dim::fixed(3)]));
    let parameter = |graph: &mut Graph, name: &str| graph.source(ops::Parameter { name: name.into() }, vector());
    let (scale, bias) = (parameter(&mut graph, "scale"), parameter(&mut graph, "bias"));
    let state = |graph: &mut Graph, name: &str| graph.source(ops::State { name: name.into() }, vector());
    let (mean, variance) = (state(&mut graph, "m"), state(&mut graph, "v"));
    let now = graph.add_named(ops::BatchMean {}, &[x], "mean").unwrap();
    let spread = graph.add_named(ops::BatchVariance {}, &[x, now], "variance").unwrap();
    let y =
        graph.add_named(ops::BatchNormalize { epsilon: Real(1e-5) }, &[x, now, spread, scale, bias], "norm").unwrap();
    let momentum = Real(0.1);
    let next_mean = graph.add_named(ops::RunningAverage { momentum }, &[mean, now], "next_mean").unwrap();
    let next = graph.add_named(ops::RunningVariance { momentum }, &[variance, spread, x], "next_variance").unwrap();
    graph.add_update(mean, next_mean);
    graph.add_update(variance, next);
    graph.set_output("y", y);
    let values = [("scale", 1.0), ("bias", 0.0), ("m", 0.0), ("v", 1.0)];
    let values = values.map(|(name, value)| (name.to_string(), vec![value; 3])).into();
    folder.write("norm.onnx", &bitbudget::onnx::export_bytes(&Model { graph, values }).unwrap());
    // PyTorch: "Expected more than 1 value per channel when training".
    for command in ["train", "bench", "profile -o p.json"] {
        let words = ["`norm`", "one value per channel with a batch of 1", "a batch of 2 or more"];
        folder.refused(&format!("{command} norm.onnx --data synthetic:8 --batch 1"), &words);
    }
    folder.refused("compile norm.onnx --batch 1 -o out.trainer", &["one value per channel"]);
    folder.succeed("eval norm.onnx --data synthetic:8 --batch 1");
    folder.succeed("train norm.onnx --data synthetic:8 --batch 2 --steps 1 --method fp32");
}

#[test]
fn a_kind_of_warning_is_one_line_with_three_names() {
    let folder = Folder::new();
    std::fs::copy(data("densenet.onnx"), folder.path("densenet.onnx")).unwrap();
    let command = "inspect densenet.onnx --batch 2 --method fp32";
    let said = folder.succeed(command).stderr;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 4, "{said}");
    assert!(lines.iter().all(|line| line.len() < 600), "{said}");
    let named = |line: &str| line.matches('`').count() / 2;
    assert!(lines.iter().all(|line| named(line) <= 3), "{said}");
    assert!(
        said.contains("warning: batch normalisation was lost: the exporter or an optimizer folded it into the weights of 5 operators"),
        "{said}"
    );
    let copies = "note: 12 running statistics are stored once in the file but used by several operators: `features.";
    assert!(said.contains(copies) && said.contains("; each BatchNormalization gets a copy and updates it\n"), "{said}");
    let all = folder.succeed(&format!("{command} --verbose")).stderr;
    let count = |line: &str| line.split(' ').find_map(|word| word.parse::<usize>().ok()).unwrap();
    assert!(all.lines().count() == 4 && all.lines().all(|line| named(line) == count(line)), "{all}");
}

#[test]
fn files_whose_batch_normalisation_or_parameters_make_no_sense_are_refused() {
    let folder = Folder::new();
    std::fs::copy(data("no_running_statistics.onnx"), folder.path("none.onnx")).unwrap();
    let words = ["/1/BatchNormalization", "running_mean is computed from the batch", "track_running_stats=True"];
    folder.refused("train none.onnx --data synthetic:8 --batch 4", &words);
    let with = |name: &str, number: f32| {
        let mut model = ModelProto::parse_from_bytes(&folder.read("net.onnx")).unwrap();
        let tensor = model.graph.as_mut().unwrap().initializer.iter_mut().find(|t| t.name == name).unwrap();
        tensor.raw_data[4..8].copy_from_slice(&number.to_le_bytes());
        folder.write("odd.onnx", &model.write_to_bytes().unwrap());
    };
    for (name, number, words) in [
        ("bn1.running_var", f32::INFINITY, ["running_var `bn1.running_var` is inf at element 1", "reset"]),
        ("bn1.running_var", -1.0, ["running_var `bn1.running_var` is -1 at element 1", "reset"]),
        ("bn1.running_mean", f32::NAN, ["running_mean `bn1.running_mean` is NaN at element 1", "reset"]),
        ("conv1.weight", f32::NAN, ["initializer `conv1.weight` is not a number (NaN) at element 1", "export"]),
    ] {
        with(name, number);
        folder.refused("train odd.onnx --data digits --batch 4", &words);
    }
}

#[test]
fn parameters_without_dimensions_are_trained_to_pytorchs_values() {
    let all: Value = serde_json::from_slice(&std::fs::read(data("expected.json")).unwrap()).unwrap();
    // The newer exporter merged the two scales and a number when it optimized.
    for (name, second) in [("scalars_old", "s1.by"), ("scalars_raw", "s1.by"), ("scalars_new", "s1.by")] {
        let (said, saved) = train(name);
        assert!(!said.contains("warning"), "{name}: {said}");
        for (scalar, theirs) in all[name]["scalars"].as_object().unwrap() {
            let is_it =
                |stored: &str| stored == scalar || (scalar == second && stored.ends_with(".by") && stored != "s0.by");
            let tensor = saved.graph.initializer.iter().find(|t| is_it(&t.name));
            let tensor = tensor.unwrap_or_else(|| panic!("{name}: no {scalar}: {:?}", parameters(&saved)));
            assert_eq!(tensor.dims, [] as [i64; 0], "{name}: {scalar}");
            let ours = f64::from(f32::from_le_bytes(tensor.raw_data.as_slice().try_into().unwrap()));
            let theirs = theirs.as_f64().unwrap();
            assert!((ours - theirs).abs() < 1e-5, "{name}: {scalar}: {ours}, PyTorch has {theirs}");
        }
    }
}

#[test]
fn statistics_that_are_used_twice_get_a_copy_whatever_the_exporter_calls_them() {
    for name in ["twice_old", "twice_raw"] {
        let (said, saved) = train(name);
        assert!(
            said.contains("2 running statistics are stored once in the file but used by several operators"),
            "{said}"
        );
        assert!(!said.contains("buffer"), "{name}: {said}");
        let statistics = parameters(&saved).into_iter().filter(|name| name.contains("running_")).count();
        assert_eq!(statistics, 4, "{name}: {:?}", parameters(&saved));
    }
}
