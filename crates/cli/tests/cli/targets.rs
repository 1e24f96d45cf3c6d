//! Plans for another kind of machine, which needs not be there.

use crate::folder::Folder;

/// A trainer for CUDA devices, under a budget that the scratch memory of a CPU's threads alone would take.
const COMPILE: &str = "compile net.onnx --batch 8 --budget 70% --solve-seconds 1 --target cuda -o cuda.trainer";

#[test]
fn a_trainer_for_cuda_is_planned_without_a_device() {
    let folder = Folder::new();
    folder.succeed(COMPILE);
    let shown = folder.succeed("inspect cuda.trainer --json r.json").stdout;
    assert!(shown.contains("at the peak of a training step on a CUDA device, instruction "), "{shown}");
    let memory = &folder.json("r.json")["memory"];
    assert_eq!(memory["target"], "cuda");
    let bytes = |of: &serde_json::Value| of.as_u64().unwrap();
    let parts = memory["breakdown"].as_object().unwrap().values().map(bytes).sum::<u64>();
    assert_eq!(parts, bytes(&memory["predicted"]));
    assert!(parts <= bytes(&memory["budget"]), "{memory}");
    assert!(folder.succeed("inspect cuda.trainer --text program").stdout.contains(" cuda {"));
}

#[test]
fn the_kernels_of_a_step_are_printed_as_one_file() {
    let folder = Folder::new();
    folder.succeed("compile net.onnx --batch 8 -o cpu.trainer");
    let source = folder.succeed("inspect net.onnx --batch 8 --cuda-source").stdout;
    for words in ["KERNEL(product_", "struct window {", "CONSTANT struct format saturating_1_4_3"] {
        assert!(source.contains(words), "{words}: {source}");
    }
    assert!(!source.contains("#include \""), "headers stand in the file");
    assert_eq!(source, folder.succeed("inspect cpu.trainer --cuda-source").stdout);
    folder.refused("inspect net.onnx --cuda-source --target cpu", &["--cuda-source is of --target cuda, not cpu"]);
}

#[test]
fn the_least_time_on_a_card_is_the_sum_of_its_instructions() {
    let folder = Folder::new();
    let shown = folder.succeed("inspect net.onnx --batch 8 --roofline H100 --json r.json").stdout;
    assert!(shown.starts_with("at least ") && shown.contains(" ms a step on h100, "), "{shown}");
    let record = folder.json("r.json");
    let number = |of: &serde_json::Value, name: &str| of[name].as_f64().unwrap();
    let mut all = number(&record, "launching_seconds");
    for kind in record["instructions"].as_array().unwrap() {
        let terms = ["bytes_seconds", "products_seconds", "slots_seconds"].map(|name| number(kind, name));
        let seconds = number(kind, "seconds");
        assert!(terms.iter().all(|&term| term <= seconds * 1.000001) && seconds <= terms.iter().sum(), "{kind}");
        all += seconds;
    }
    assert!((all / number(&record, "seconds") - 1.0).abs() < 1e-6, "{record}");
    folder.refused("inspect net.onnx --roofline gtx", &["known cards are a100, h100, h200, rtx4090"]);
}

#[test]
fn a_trainer_for_cuda_runs_on_the_cpu_in_another_plan() {
    let folder = Folder::new();
    folder.succeed("compile net.onnx --batch 8 --target cuda -o cuda.trainer");
    folder.succeed("compile net.onnx --batch 8 -o cpu.trainer");
    let trained = |name: &str| {
        folder.succeed(&format!("train {name}.trainer --data digits --steps 2 --json t.json --save w.safetensors"));
        assert_eq!(folder.json("t.json")["memory"]["target"], "cpu");
        folder.read("w.safetensors")
    };
    assert_eq!(trained("cuda"), trained("cpu"));
}

#[test]
fn a_budget_that_does_not_hold_on_another_machine_is_refused() {
    let folder = Folder::new();
    folder.succeed(COMPILE);
    let words = ["on cpu a training step takes ", "compile the network again with `--target cpu`"];
    for command in ["inspect cuda.trainer --target cpu", "train cuda.trainer --data digits --steps 1"] {
        folder.refused(&format!("{command} --threads 1"), &words);
    }
}
