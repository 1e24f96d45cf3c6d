//! Profiles: what the file holds, what it depends on, what is refused.

use crate::folder::Folder;
use bitbudget::Compiled;
use bitbudget::Format;
use bitbudget::ir::{Graph, NodeId};
use bitbudget::{Kind, Profile};

fn read(folder: &Folder, name: &str) -> Profile {
    Profile::read(&folder.read(name)).unwrap()
}

fn imported(path: &std::path::Path) -> Graph {
    bitbudget::onnx::import(path).unwrap().model.graph
}

#[test]
fn a_profile_has_every_tensor_in_every_format() {
    let folder = Folder::new();
    let model = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/squeezenet-0.25.onnx"));
    std::fs::copy(model, folder.path("squeezenet.onnx")).unwrap();
    let shown = folder.succeed("profile squeezenet.onnx --data digits --batch 4 --batches 2 -o p.json").stdout;
    let profile = read(&folder, "p.json");
    profile.check(&imported(model)).unwrap();
    assert!(profile.check(&imported(&folder.path("net.onnx"))).is_err());
    assert_eq!((profile.settings.batch, profile.settings.batches, profile.settings.data.as_str()), (4, 2, "digits"));
    let names: Vec<String> = profile.settings.formats.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["fp32", "bf16", "1-6-9", "1-4-3", "1-5-2"]);
    // As many tensors as an assignment has, of the same sizes.
    folder.succeed("assign squeezenet.onnx --batch 4 --json a.json");
    let elements: u64 = profile.tensors.iter().map(|t| t.elements).sum();
    assert_eq!(elements, folder.json("a.json")["elements"].as_u64().unwrap());
    for tensor in &profile.tensors {
        assert!(tensor.min <= tensor.max && tensor.mean_abs >= 0.0, "{}", tensor.name);
        assert_eq!(tensor.cost(Format::FP32), Some(0.0));
        let [high, low] = [Format::PAPER_HIGH, Format::PAPER_LOW_BACKWARD].map(|f| tensor.cost(f).unwrap());
        assert!(high <= low, "{} {}: {high} {low}", tensor.kind, tensor.name);
    }
    // The gradient of the input is never computed, but rounding the input has its price.
    let input = &profile.tensors.iter().find(|t| t.kind == Kind::Output).unwrap();
    assert!(input.cost(Format::PAPER_LOW_FORWARD).unwrap() > 0.0);
    let gradient = profile.tensor(Kind::OutputGradient, NodeId(input.node)).unwrap();
    assert_eq!((gradient.min, gradient.max, gradient.worst()), (0.0, 0.0, 0.0));
    assert!(profile.seconds.step > profile.seconds.forward.iter().map(|n| n.seconds).sum());
    // The most sensitive tensor comes first.
    let worst = profile.tensors.iter().max_by(|a, b| a.worst().total_cmp(&b.worst())).unwrap();
    let row = shown.lines().skip_while(|line| !line.contains("elements")).nth(1).unwrap();
    assert!(row.contains(&worst.name) && row.contains(&format!("{:.1e}", worst.worst())), "{shown}");
}

#[test]
fn a_seed_determines_a_profile_whatever_the_threads() {
    let folder = Folder::new();
    let run = "profile net.onnx --data synthetic:64 --batch 8 --batches 3 --formats bf16,e4m3";
    for (options, file) in [("--threads 1", "a"), ("--threads 3", "b"), ("--seed 1", "c")] {
        folder.succeed(&format!("{run} {options} -o {file}"));
    }
    let [a, b, c] = ["a", "b", "c"].map(|file| read(&folder, file));
    assert_eq!((&a.tensors, &a.settings, &a.network), (&b.tensors, &b.settings, &b.network));
    assert_ne!(a.tensors, c.tensors);
    // On standard output nothing but the profile; more batches than an epoch has go on with the next.
    let text = folder.succeed("profile net.onnx --data synthetic:64 --batch 32 --batches 3 --formats bf16 -o -").stdout;
    assert_eq!(Profile::read(text.as_bytes()).unwrap().settings.batches, 3);
}

#[test]
fn a_trainer_file_is_profiled_as_its_network() {
    let folder = Folder::new();
    folder.succeed("compile net.onnx --batch 8 --low-ratio 1.0 -o net.trainer");
    for (model, file) in [("net.onnx", "a"), ("net.trainer", "b")] {
        folder.succeed(&format!("profile {model} --data digits --batch 4 --batches 1 -o {file}"));
    }
    let (a, b) = (read(&folder, "a"), read(&folder, "b"));
    assert_eq!((&a.tensors, &a.network), (&b.tensors, &b.network));
    a.check(&Compiled::decode(&folder.read("net.trainer")).unwrap().forward).unwrap();
}

#[test]
fn what_has_no_meaning_is_refused_and_nothing_written() {
    let folder = Folder::new();
    let cases: &[(&str, &[&str])] = &[
        ("--batch 0", &["batch"]),
        ("--batch 1439", &["batch of at most 1438"]),
        ("--batches 0", &["--batches", "at least 1"]),
        ("--lr 0", &["learning rate is 0", "above 0"]),
        ("--lr NaN", &["--lr", "not a number"]),
        ("--loss-scale -1", &["--loss-scale", "at least 0"]),
        ("--loss-scale 1e38", &["loss scale is 1e38", "up to 2^126"]),
        ("--formats fp7", &["unknown format `fp7`"]),
        ("--formats bf16,fp16,bf16", &["bf16 is named twice"]),
        ("--threads 2000", &["--threads"]),
    ];
    for (options, words) in cases {
        folder.refused(&format!("profile net.onnx --data digits -o p.json {options}"), words);
    }
    let words = ["gradient of output", "not finite", "after a step at learning rate 1e38; use a smaller one (--lr)"];
    folder.diverges("profile net.onnx --data digits -o p.json --lr 1e38", &words);
    folder.refused("profile net.onnx --data digits", &["--out <FILE.json>"]);
    folder.refused("profile net.onnx --data digits -o no/such/p.json", &["no folder"]);
    folder.refused("profile none.onnx --data digits -o p.json", &["none.onnx"]);
}
