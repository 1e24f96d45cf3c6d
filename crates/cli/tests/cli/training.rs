//! `train`: metrics, determinism, and what each option changes.

use crate::folder::Folder;
use npyz::WriterBuilder;
use serde_json::Value;

/// The records of a kind in a metrics file.
fn records(folder: &Folder, file: &str, kind: &str) -> Vec<Value> {
    let text = String::from_utf8(folder.read(file)).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.filter(|r| r["record"] == kind).collect()
}

fn column(folder: &Folder, file: &str, key: &str) -> Vec<Value> {
    records(folder, file, "step").iter().map(|r| r[key].clone()).collect()
}

fn numbers(folder: &Folder, file: &str, key: &str) -> Vec<f64> {
    column(folder, file, key).iter().map(|v| v.as_f64().unwrap()).collect()
}

const TRAIN: &str = "train net.onnx --batch 8 --data synthetic:40 --lr 0.05";

#[test]
fn metrics_have_a_line_per_step_and_epoch() {
    let folder = Folder::new();
    let run = folder.succeed(&format!("{TRAIN} --epochs 2 --metrics m --json r.json"));
    let steps = records(&folder, "m", "step");
    assert_eq!(steps.len(), 10);
    for (at, record) in steps.iter().enumerate() {
        assert_eq!(record["step"].as_u64(), Some(at as u64));
        assert_eq!(record["epoch"].as_u64(), Some(at as u64 / 5));
        assert!(record["loss"].as_f64().unwrap() > 0.0);
        assert!(record["loss_scale"].as_f64().unwrap() >= 1.0);
        assert!(record["learning_rate"].is_f64() && record["skipped"].is_boolean() && record["promoted"].is_array());
    }
    assert_eq!(records(&folder, "m", "epoch").len(), 2);
    let [end] = &records(&folder, "m", "final")[..] else { unreachable!("one final record") };
    let mut end = end.clone();
    end.as_object_mut().unwrap().remove("record");
    let mut record = folder.json("r.json");
    assert!(record.as_object_mut().unwrap().remove("memory").is_some());
    assert_eq!(record, end);
    for key in ["train_loss", "train_accuracy", "test_loss", "test_accuracy", "test_accuracy_fp32", "seconds"] {
        assert!(record[key].is_f64(), "{key}");
    }
    assert_eq!((record["steps"].as_u64(), record["promotions"].is_array()), (Some(10), true));
    let losses = numbers(&folder, "m", "loss");
    assert_eq!(record["train_loss"].as_f64().unwrap(), losses[5..].iter().sum::<f64>() / 5.0);
    assert!(run.stdout.contains("10 steps in") && run.stderr.contains("epoch 2: train loss"), "{}", run.stderr);
}

#[test]
fn quiet_prints_nothing_and_json_only_json() {
    let folder = Folder::new();
    let quiet = folder.succeed(&format!("{TRAIN} --steps 2 --quiet"));
    assert_eq!((quiet.stdout, quiet.stderr), (String::new(), String::new()));
    let json = folder.succeed(&format!("{TRAIN} --steps 2 --json -"));
    assert_eq!(serde_json::from_str::<Value>(&json.stdout).unwrap()["steps"].as_u64(), Some(2));
    let both = folder.succeed(&format!("{TRAIN} --steps 2 --json - --quiet"));
    assert!(serde_json::from_str::<Value>(&both.stdout).is_ok());
    assert_eq!(both.stderr, "");
    assert_eq!(folder.files(), ["net.onnx"]);
}

#[test]
fn a_seed_determines_every_bit_whatever_the_threads() {
    let folder = Folder::new();
    for (name, options) in [
        ("a", "--seed 1 --threads 1"),
        ("b", "--seed 1 --threads 2"),
        ("c", "--seed 1 --threads 3"),
        ("d", "--seed 2 --threads 1"),
    ] {
        let options = format!("{options} --data digits --batch 8 --augment --steps 6 --quiet");
        // A trainer file holds the program for its threads too.
        folder.succeed(&format!("train net.onnx {options} --metrics {name} --save {name}.onnx"));
    }
    for other in ["b", "c"] {
        assert_eq!(column(&folder, "a", "loss"), column(&folder, other, "loss"));
        assert!(folder.read("a.onnx") == folder.read(&format!("{other}.onnx")));
    }
    assert_ne!(column(&folder, "a", "loss"), column(&folder, "d", "loss"));
    assert!(folder.read("a.onnx") != folder.read("d.onnx"));
}

/// Steps of batches of 4, each with its own brightness, as an npz file of the given leading dimensions.
fn write_steps(folder: &Folder, name: &str, lead: &[u64], order: [usize; 3]) {
    let (batch, image) = (4, 768);
    let mut archive = npyz::npz::NpzWriter::create(folder.path(name)).unwrap();
    let pixel = |step: usize, i: usize| (step as f32 + 1.0) * ((i * 7919 + step * 31) % 97) as f32 / 97.0;
    let x = order.iter().flat_map(|&step| (0..batch * image).map(move |i| pixel(step, i)));
    let y = order.iter().flat_map(|&step| (0..batch).map(move |i| ((step * 3 + i) % 10) as i64));
    let shape = [lead, &[3, 16, 16]].concat();
    let mut writer = archive.array("x", Default::default()).unwrap().default_dtype().shape(&shape).begin_nd().unwrap();
    writer.extend(x).unwrap();
    writer.finish().unwrap();
    let mut writer = archive.array("y", Default::default()).unwrap().default_dtype().shape(lead).begin_nd().unwrap();
    writer.extend(y).unwrap();
    writer.finish().unwrap();
}

#[test]
fn batches_come_in_order_without_shuffling() {
    let folder = Folder::new();
    write_steps(&folder, "steps.npz", &[3, 4], [0, 1, 2]);
    write_steps(&folder, "flat.npz", &[12], [0, 1, 2]);
    write_steps(&folder, "swapped.npz", &[3, 4], [0, 2, 1]);
    // At a learning rate of 0 a loss tells which batch it is of.
    let train = "train net.onnx --batch 4 --lr 0 --method fp32 --steps 3 --quiet";
    let losses = |data: &str, options: &str| {
        folder.succeed(&format!("{train} --data npz:{data}.npz {options} --metrics m"));
        numbers(&folder, "m", "loss")
    };
    let ordered = losses("steps", "--no-shuffle");
    assert!(ordered[0] != ordered[1] && ordered[1] != ordered[2] && ordered[0] != ordered[2]);
    assert_eq!(losses("flat", "--no-shuffle"), ordered);
    assert_eq!(losses("swapped", "--no-shuffle"), [ordered[0], ordered[2], ordered[1]]);
    assert_ne!(losses("steps", ""), ordered);
}

#[test]
fn tensors_that_overflow_are_promoted() {
    let folder = Folder::new();
    let train = "train net.onnx --batch 8 --data digits --steps 12 --lr 0.5 --lr-schedule constant --quiet";
    folder
        .succeed(&format!("{train} --method uniform-low --promotion 1e-6 --metrics m --json r.json --save o.trainer"));
    let promoted: Vec<Value> =
        records(&folder, "m", "step").iter().flat_map(|r| r["promoted"].as_array().unwrap().clone()).collect();
    assert!(!promoted.is_empty());
    for promotion in &promoted {
        assert!(promotion["overflow"].as_f64().unwrap() >= 1e-6 && promotion["peak"].as_u64().unwrap() > 0);
        assert!(promotion["from"] == "1-4-3" && promotion["to"] == "1-6-9");
    }
    assert_eq!(*folder.json("r.json")["promotions"].as_array().unwrap(), promoted);
    let mut names: Vec<&str> = promoted.iter().map(|p| p["tensor"].as_str().unwrap()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), promoted.len(), "no tensor is promoted twice");
    // The saved trainer keeps what was promoted high.
    let ratio = |file: &str| {
        let run = folder.succeed(&format!("assign {file} --json -"));
        serde_json::from_str::<Value>(&run.stdout).unwrap()["low_ratio"]["elements"].as_f64().unwrap()
    };
    folder.succeed("compile net.onnx --batch 8 --method uniform-low -o low.trainer");
    assert!(ratio("o.trainer") < ratio("low.trainer"));

    folder.succeed(&format!("{train} --method uniform-low --promotion off --metrics m --json r.json"));
    assert_eq!(folder.json("r.json")["promotions"], serde_json::json!([]));
}

#[test]
fn the_loss_scale_is_dynamic_or_fixed() {
    let folder = Folder::new();
    folder.succeed(&format!("{TRAIN} --epochs 3 --metrics m --quiet"));
    let scales = numbers(&folder, "m", "loss_scale");
    let skipped: Vec<bool> = column(&folder, "m", "skipped").iter().map(|s| s.as_bool().unwrap()).collect();
    assert_eq!(scales[0], 65536.0);
    // Five steps are an epoch, but the scale does not double before 390 steps.
    for at in 1..scales.len() {
        assert_eq!(scales[at] / scales[at - 1], if skipped[at - 1] { 0.5 } else { 1.0 }, "{scales:?}");
    }
    folder.succeed(&format!("{TRAIN} --epochs 2 --loss-scale 1024 --metrics m --quiet"));
    assert!(numbers(&folder, "m", "loss_scale").iter().all(|&s| s == 1024.0));
    // A power of two changes nothing in FP32.
    for scale in ["1", "1024"] {
        folder.succeed(&format!("{TRAIN} --steps 4 --method fp32 --loss-scale {scale} --metrics {scale} --quiet"));
    }
    let (one, other) = (numbers(&folder, "1", "loss"), numbers(&folder, "1024", "loss"));
    assert!(std::iter::zip(&one, &other).all(|(a, b)| (a - b).abs() <= 1e-5 * a), "{one:?} {other:?}");
}

#[test]
fn learning_rates_follow_their_schedule() {
    let folder = Folder::new();
    let rates = |schedule: &str| {
        folder.succeed(&format!("{TRAIN} --steps 8 --lr-schedule {schedule} --metrics m --quiet"));
        numbers(&folder, "m", "learning_rate")
    };
    let close = |ours: &[f64], expected: &[f64]| {
        assert_eq!(ours.len(), expected.len());
        assert!(std::iter::zip(ours, expected).all(|(a, b)| (a - b).abs() < 1e-8), "{ours:?} {expected:?}");
    };
    close(&rates("constant"), &[0.05; 8]);
    close(&rates("step"), &[0.05, 0.05, 0.05, 0.05, 0.005, 0.005, 0.0005, 0.0005]);
    let cosine: Vec<f64> = (0..8).map(|s| 0.025 * (1.0 + (std::f64::consts::PI * f64::from(s) / 8.0).cos())).collect();
    close(&rates("cosine"), &cosine);
}

#[test]
fn options_change_the_run() {
    let folder = Folder::new();
    let losses = |options: &str| {
        folder.succeed(&format!("{TRAIN} --steps 5 {options} --metrics m --quiet"));
        column(&folder, "m", "loss")
    };
    let plain = losses("");
    assert_eq!(plain, losses("--optimizer sgd --momentum 0.9 --weight-decay 5e-4 --low-ratio 0.5 --method demote"));
    let options = ["--optimizer adamw", "--augment", "--momentum 0", "--low-ratio 1", "--method fp32", "--seed 9"];
    for option in options {
        assert_ne!(losses(option), plain, "{option}");
    }
    assert_ne!(losses("--weight-decay 0.5"), plain);
}
