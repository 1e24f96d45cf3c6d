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
        for word in ["images/s", "peak memory: ", "predicted", "allocated", "resident", "saved activations"] {
            assert!(run.stdout.contains(word), "no `{word}` in {}", run.stdout);
        }
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
