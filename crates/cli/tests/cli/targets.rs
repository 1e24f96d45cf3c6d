//! Plans for another kind of machine, which needs not be there.

use crate::folder::Folder;

#[test]
fn a_trainer_for_cuda_is_planned_without_a_device() {
    let folder = Folder::new();
    let compile = "compile net.onnx --batch 8 --budget 70% --solve-seconds 1 --target cuda -o g.trainer";
    folder.succeed(compile);
    let shown = folder.succeed("inspect g.trainer --json r.json").stdout;
    assert!(shown.contains("at the peak of a training step on a CUDA device, instruction "), "{shown}");
    let memory = &folder.json("r.json")["memory"];
    assert_eq!(memory["target"], "cuda");
    let bytes = |of: &serde_json::Value| of.as_u64().unwrap();
    let parts = memory["breakdown"].as_object().unwrap().values().map(bytes).sum::<u64>();
    assert_eq!(parts, bytes(&memory["predicted"]));
    assert!(parts <= bytes(&memory["budget"]), "{memory}");
    assert!(folder.succeed("inspect g.trainer --text program").stdout.contains(" cuda {"));

    // It runs here too, in another plan.
    folder.succeed("train g.trainer --data digits --steps 1 --threads 1 --json t.json");
    assert_eq!(folder.json("t.json")["memory"]["target"], "cpu");
}

#[test]
fn a_budget_that_does_not_hold_on_another_machine_is_refused() {
    let folder = Folder::new();
    let options = "net.onnx --batch 8 --method fp32 --threads 1";
    folder.succeed(&format!("assign {options} --json a.json"));
    let budget = folder.json("a.json")["memory"]["predicted"].as_u64().unwrap();
    folder.succeed(&format!("compile {options} --budget {budget}B -o c.trainer"));
    let words = ["on cuda a training step takes ", "compile the network again with `--target cuda`"];
    folder.refused("inspect c.trainer --target cuda", &words);
}
