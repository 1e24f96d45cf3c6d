//! Networks with attention by hand (`tests/differential/written.py`): losses and gradients beside PyTorch, and checks of random
//! networks.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own function fails the test")]

use bitbudget::{Options, compile};
use bitbudget_exec::{Array, Executor, Inputs, Target, Values};
use bitbudget_ir::{DType, NodeId, Op, Role};
use bitbudget_precision::Method;
use bitbudget_program::{BufferId, Instruction};
use bitbudget_tests::arrays;
use bitbudget_tests::differential::{Case, Outcome, check, names, train};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn written() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("differential/written")
}

fn cases() -> Vec<Case> {
    let names = names(&written()).unwrap();
    assert_eq!(names.len(), 4);
    names.iter().map(|name| Case::read(&written(), name).unwrap()).collect()
}

fn norm(x: impl Iterator<Item = f32>) -> f64 {
    x.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

/// The loss of the first batch in FP32, and its gradients by parameter.
fn first_step(case: &Case) -> (f32, BTreeMap<String, Vec<f32>>) {
    let model = bitbudget_onnx::import_bytes(&case.onnx, None).unwrap().model;
    // Without rewriting, buffers have the ids of the training graph; the bits are the same with it.
    let options = Options { batch: case.batch, method: Method::Fp32, rewrite: None, ..Options::default() };
    let compiled = compile(model, &options).unwrap();
    let mut executor = Executor::new(Target::Cpu, 2).unwrap();
    let mut values = Values::new(&compiled.train, &compiled.values, executor.device()).unwrap();
    let data = arrays(&written().join(format!("{}.npz", case.name))).unwrap();
    let labels: Vec<i32> = data["y"].1.iter().take(case.batch).map(|&label| label as i32).collect();
    let inputs = compiled.train.inputs().map(|input| match input.dtype {
        DType::F32 => {
            let elements: usize = input.shape.iter().product();
            (input.name.as_str(), Array::f32(&input.shape, &data["x"].1[..elements]))
        }
        DType::I32 | DType::Bool | DType::Index8 => (input.name.as_str(), Array::integers(&input.shape, &labels)),
    });
    let inputs = Inputs { loss_scale: 1.0, learning_rate: 0.1, ..Inputs::new(inputs) };
    let mut gradients = BTreeMap::new();
    let mut observe = |id: BufferId, numbers: &[f32]| {
        let node = compiled.training.ids().nth(id.index()).map(|id| compiled.training.node(id));
        if let Some(Role::ParameterGradient { of }) = node.map(|node| node.role) {
            gradients.insert(compiled.training.node(of).name.clone(), numbers.to_vec());
        }
    };
    let outcome = executor.run_observed(&compiled.train, &mut values, &inputs, &mut observe).unwrap();
    (outcome.outputs["loss"][0], gradients)
}

#[test]
fn losses_and_gradients_are_those_of_pytorch() {
    for case in cases() {
        let (loss, gradients) = first_step(&case);
        let (expected, _) = case.losses[0];
        assert!((f64::from(loss) - expected).abs() < 1e-5 * expected, "{}: {loss} against {expected}", case.name);
        let data = arrays(&written().join(format!("{}.npz", case.name))).unwrap();
        let table: BTreeMap<&str, &Vec<f32>> =
            data.iter().filter_map(|(name, (_, x))| Some((name.strip_prefix("gradient/")?, x))).collect();
        assert_eq!(gradients.keys().map(String::as_str).collect::<Vec<_>>(), table.keys().copied().collect::<Vec<_>>());
        // A bias of the keys changes no weight of attention: its gradient is zero but for rounding.
        let largest = table.values().map(|x| norm(x.iter().copied())).fold(0.0, f64::max);
        for (name, expected) in table {
            let off = norm(gradients[name].iter().zip(expected).map(|(a, b)| a - b));
            let tolerance = 1e-4 * norm(expected.iter().copied()) + 1e-6 * largest;
            assert!(off <= tolerance, "{}: the gradient of {name} is off by {off:.1e}", case.name);
        }
    }
}

/// A masked score is as large as the mask, whatever the format: only the scores' own overflows promote.
#[test]
fn masks_are_not_counted_as_overflows() {
    let case = cases().into_iter().find(|case| case.name == "attention-least").unwrap();
    let model = bitbudget_onnx::import_bytes(&case.onnx, None).unwrap().model;
    let options = Options { batch: case.batch, method: Method::UniformLow, ..Options::default() };
    let compiled = compile(model, &options).unwrap();
    let graph = &compiled.training;
    let parts = compiled.train.instructions.iter().flat_map(|instruction| match instruction {
        Instruction::Compute { parts, .. } => parts.as_slice(),
        _ => &[],
    });
    let counted: Vec<u32> = parts.filter_map(|part| part.rounding?.counted).collect();
    let is_masked = |id: &NodeId| {
        matches!(graph.op(*id), Op::Add(_))
            && graph.operands(*id).iter().any(|&x| matches!(graph.op(x), Op::Constant(_)))
    };
    let masked: Vec<NodeId> = graph.ids().filter(is_masked).collect();
    assert_eq!(masked.len(), 1);
    for id in masked {
        assert!(!counted.contains(&id.0));
        assert!(graph.operands(id).iter().any(|scores| counted.contains(&scores.0)));
    }
}

/// Three steps come to PyTorch's losses in FP32, and train in low formats to the same losses with rewriting and without, with one
/// thread and two.
#[test]
fn steps_are_those_of_pytorch_and_of_every_way_to_compute_them() {
    for case in cases() {
        let model = bitbudget_onnx::import_bytes(&case.onnx, None).unwrap().model;
        let run = |method, rewrite, threads| {
            let options = Options { batch: case.batch, method, rewrite, ..Options::default() };
            train(&case, &model, &options, threads).unwrap().losses
        };
        let losses = run(Method::Fp32, Options::default().rewrite, 1);
        for (loss, (expected, tolerance)) in losses.iter().zip(&case.losses) {
            assert!((loss - expected).abs() <= *tolerance, "{}: {loss} against {expected}", case.name);
        }
        let low = run(Method::UniformLow, Options::default().rewrite, 1);
        assert!(low.iter().all(|loss| loss.is_finite()), "{}: {low:?}", case.name);
        assert_eq!(low, run(Method::UniformLow, None, 2), "{}", case.name);
    }
}

/// Methods, budgets, recomputation, evaluation, files: on the smallest of them.
#[test]
fn all_checks_of_random_networks_hold() {
    let case = Case::read(&written(), "attention-queries").unwrap();
    for finding in check(&case, None) {
        let refused = matches!(finding.check.as_str(), "import" | "compile");
        let is_fine = match &finding.outcome {
            Outcome::Agreed => true,
            Outcome::Refused(_) => !refused,
            Outcome::Failed(_) => false,
        };
        assert!(is_fine, "{finding:?}");
    }
}
