//! `bench`, and what every command says of memory.

use crate::folder::Folder;
use serde_json::Value;

/// Bytes under a key.
fn bytes(record: &Value, key: &str) -> f64 {
    record["memory"][key].as_f64().unwrap()
}

fn breakdown(record: &Value) -> f64 {
    let parts = record["memory"]["breakdown"].as_object().unwrap();
    let names: Vec<&str> = parts.keys().map(String::as_str).collect();
    let expected = ["gradients", "masters", "optimizer_state", "packed_parameters", "saved_activations", "workspace"];
    assert_eq!(names, expected);
    parts.values().map(|v| v.as_f64().unwrap()).sum()
}

#[test]
fn a_bench_has_times_losses_and_memory() {
    let folder = Folder::new();
    for (options, low) in [("--method fp32", 0.0), ("--low-ratio 1.0", 1.0), ("--method operator", 0.1)] {
        let run = folder.succeed(&format!("bench net.onnx --batch 16 --steps 3 --threads 2 {options} --json b.json"));
        let record = folder.json("b.json");
        let seconds = |key: &str| record["step_seconds"][key].as_f64().unwrap();
        assert!(0.0 < seconds("min") && seconds("min") <= seconds("median") && seconds("median") <= seconds("max"));
        let images = record["images_per_second"].as_f64().unwrap();
        assert!((images * seconds("median") - 16.0).abs() < 1e-6);
        let losses = record["losses"].as_array().unwrap();
        assert!(losses.len() == 4 && losses.iter().all(|l| l.as_f64().unwrap() > 0.0));
        assert!(record["low_ratio"].as_f64().unwrap() >= low);
        assert_eq!((record["threads"].as_u64(), record["batch"].as_u64()), (Some(2), Some(16)));

        let [predicted, allocated] = ["predicted", "allocated"].map(|key| bytes(&record, key));
        assert!((predicted - allocated).abs() <= 0.01 * allocated, "{predicted} predicted, {allocated} allocated");
        assert_eq!(breakdown(&record), predicted);
        let kept = record["memory"]["breakdown"]["masters"].as_f64().unwrap()
            + record["memory"]["breakdown"]["optimizer_state"].as_f64().unwrap();
        assert_eq!(bytes(&record, "allocated_without_masters_and_state"), allocated - kept);

        let kinds = record["instructions"].as_array().unwrap();
        let shares: f64 = kinds.iter().map(|kind| kind["share"].as_f64().unwrap()).sum();
        assert!((shares - 1.0).abs() < 1e-6);
        assert!(kinds.iter().any(|kind| kind["kind"] == "conv_grad_weight 3x3" && kind["gflops"].as_f64() > Some(0.0)));
        assert!(record["ceilings"]["gflops_fp32"].as_f64() > Some(0.0));
        for word in ["examples/s", "peak memory: ", "predicted", "allocated", "resident", "saved activations"] {
            assert!(run.stdout.contains(word), "no `{word}` in {}", run.stdout);
        }
    }
}

/// Requests that no machine can serve are refused by an estimate.
#[test]
fn options_that_ask_for_too_much_memory_are_errors() {
    let folder = Folder::new();
    folder.succeed("zoo squeezenet --width 0.1 --input 3x8192x8192 -o large.onnx");
    let network = "of memory are available; take a network with a smaller input";
    for (command, words) in [
        // 5/4 of so many examples, each of 3 x 16 x 16 numbers of 4 bytes and a label.
        (
            "train net.onnx --data synthetic:99999999999999",
            ["generating synthetic:99999999999999", " takes up to 349700.8 TiB"],
        ),
        ("eval net.onnx --data synthetic:9223372036854775807", ["generating synthetic:", "take fewer examples"]),
        ("bench net.onnx --data synthetic:18446744073709551615", ["generating synthetic:", "take fewer examples"]),
        (
            "compare net.onnx --methods fp32 --state s --data synthetic:999999999999",
            ["generating synthetic:", "take fewer examples"],
        ),
        ("profile net.onnx -o p --data synthetic:999999999999", ["generating synthetic:", "take fewer examples"]),
        (
            "profile net.onnx -o p --data digits --batches 18446744073709551615",
            ["drawing 18,446,744,073,709,551,615 batches of 16", "--batches"],
        ),
        (
            "train large.onnx --data digits --batch 1",
            ["into the shape [3, 8192, 8192] of the network's input", network],
        ),
        ("eval large.onnx --data digits", ["into the shape [3, 8192, 8192] of the network's input", network]),
    ] {
        folder.too_large(command, &words);
    }
    for command in ["train net.onnx --data digits", "assign net.onnx", "bench net.onnx"] {
        for batch in ["999999999999", "18446744073709551615"] {
            folder.refused(&format!("{command} --batch {batch}"), &["is too large at batch", "use a smaller batch"]);
        }
    }
}

/// With less memory than a step takes, a command says so before it begins.
#[cfg(target_os = "linux")]
#[test]
fn a_step_that_memory_is_too_small_for_is_an_error() {
    let folder = Folder::new();
    let data = "--data synthetic:20000 --threads 1";
    for command in [
        format!("train net.onnx --batch 20000 --method fp32 --steps 1 {data}"),
        format!("bench net.onnx --batch 20000 --method fp32 --steps 1 {data}"),
        format!("profile net.onnx --batch 20000 --batches 1 -o p.json {data}"),
    ] {
        let script = format!("ulimit -v 1000000; exec {} {command}", env!("CARGO_BIN_EXE_bitbudget"));
        let output = std::process::Command::new("sh").current_dir(folder.path(".")).args(["-c", &script]).output();
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{command}: {text}");
        assert!(text.contains("error: a step at batch 20000 takes up to "), "{command}: {text}");
        assert!(text.contains("take a smaller batch, or raise the limit (`ulimit -v`"), "{command}: {text}");
    }
}

#[test]
fn packing_saves_what_a_simulation_takes() {
    let folder = Folder::new();
    let peak = |options: &str| {
        folder.succeed(&format!("bench net.onnx --steps 1 {options} --json b.json"));
        let record = folder.json("b.json");
        (bytes(&record, "allocated_without_masters_and_state"), record["losses"].clone())
    };
    let (packed, losses) = peak("--batch 16 --low-ratio 1.0");
    let (simulated, simulated_losses) = peak("--batch 16 --low-ratio 1.0 --simulated");
    assert_eq!(losses, simulated_losses);
    assert!(packed < 0.6 * simulated, "{packed} of {simulated}");
    // Gradients that need not wait for the last one are gone sooner.
    let (early, _) = peak("--batch 1 --method fp32 --loss-scale none");
    let (waiting, _) = peak("--batch 1 --method fp32");
    assert!(early < waiting, "{early} of {waiting}");
}

#[test]
fn a_run_without_a_loss_scale_is_one_with_scale_1() {
    let folder = Folder::new();
    let train = "train net.onnx --batch 8 --data synthetic:40 --lr 0.05 --steps 6 --method fp32 --quiet";
    folder.succeed(&format!("{train} --loss-scale none --save a.safetensors"));
    folder.succeed(&format!("{train} --loss-scale 1 --save b.safetensors"));
    assert_eq!(folder.read("a.safetensors"), folder.read("b.safetensors"));
}

#[test]
fn training_says_what_it_took() {
    let folder = Folder::new();
    let train = "train net.onnx --batch 16 --data digits --steps 3";
    let run = folder.succeed(&format!("{train} --low-ratio 0.5 --json r.json"));
    assert!(run.stdout.contains("peak memory: "), "{}", run.stdout);
    let record = folder.json("r.json");
    let [predicted, allocated] = ["predicted", "allocated"].map(|key| bytes(&record, key));
    assert!((predicted - allocated).abs() <= 0.01 * allocated, "{predicted} predicted, {allocated} allocated");
}

#[test]
fn assign_and_inspect_state_the_peak() {
    let folder = Folder::new();
    let mut peaks = Vec::new();
    let saved = |record: &Value| record["memory"]["breakdown"]["saved_activations"].as_f64().unwrap();
    for command in ["assign", "inspect"] {
        let shown = folder.succeed(&format!("{command} net.onnx --batch 32 --json r.json"));
        assert!(shown.stdout.contains("at the peak of a training step, instruction "), "{}", shown.stdout);
        for part in ["masters", "optimizer state", "packed parameters", "saved activations", "gradients", "workspace"] {
            assert!(shown.stdout.contains(part), "{}", shown.stdout);
        }
        let record = folder.json("r.json");
        assert_eq!(breakdown(&record), bytes(&record, "predicted"));
        let at = &record["memory"]["peak_at"];
        assert!(at["instruction"].as_u64() < at["instructions"].as_u64() && at["computes"].is_string());
        peaks.push(bytes(&record, "predicted"));
    }
    assert_eq!(peaks[0], peaks[1]);
    // Rewritten, a small batch may have another form, which keeps other tensors.
    let [half, whole] = [16, 32].map(|batch| {
        let record = folder.succeed(&format!("assign net.onnx --batch {batch} --no-rewrite --json -")).stdout;
        saved(&serde_json::from_str(&record).unwrap())
    });
    assert!((2.0 * half - whole).abs() < 0.1 * whole, "{half} of {whole}");
}
