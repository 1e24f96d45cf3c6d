//! The first tensor of a step that is not finite is that of the reference interpreter.
#![allow(clippy::unwrap_used, reason = "a failure in a test's own function fails the test")]

use bitbudget::{Cause, Decided, Options, Saturated, compile};
use bitbudget_exec::{Array, Executor, Inputs, Target, Values};
use bitbudget_formats::Format;
use bitbudget_ir::{Bindings, Graph, Model, Op, interpret};
use bitbudget_precision::{Formats, Method, Pin};
use bitbudget_testkit::numbers;
use std::collections::BTreeMap;

const NETWORK: &str = r#"graph "net" {
  %0 = input {name="x"} : f32[N,2,4,4]
  %1 = parameter {name="w"} : f32[4,2,3,3]
  %2 = conv(%0, %1) {strides=[1,1], pads_begin=[1,1], pads_end=[1,1], dilations=[1,1], groups=1} : f32[N,4,4,4] output "conv1"
  %3 = batch_mean(%2) : f32[4] "bn1.mean"
  %4 = batch_variance(%2, %3) : f32[4] "bn1.variance"
  %5 = parameter {name="scale"} : f32[4]
  %6 = parameter {name="bias"} : f32[4]
  %7 = state {name="mean"} : f32[4]
  %8 = state {name="var"} : f32[4]
  %9 = batch_normalize(%2, %3, %4, %5, %6) {epsilon=1e-5} : f32[N,4,4,4] output "bn1"
  %10 = running_average(%7, %3) {momentum=0.1} : f32[4]
  %11 = running_variance(%8, %4, %2) {momentum=0.1} : f32[4]
  %12 = relu(%9) : f32[N,4,4,4] output "relu1"
  %13 = exp(%12) : f32[N,4,4,4] output "exp1"
  %14 = sub(%13, %12) : f32[N,4,4,4] output "sub1"
  %15 = reshape(%14) {shape=<N,64>} : f32[N,64] output "flat"
  %16 = parameter {name="v"} : f32[5,64]
  %17 = matmul(%15, %16) {trans_a=false, trans_b=true} : f32[N,5] output "fc"
  return "scores" = %17
  update %7 <- %10
  update %8 <- %11
}"#;

const BATCH: usize = 3;

fn initial(graph: &Graph) -> BTreeMap<String, Vec<f32>> {
    let sources = graph.ids().filter(|&id| matches!(graph.op(id), Op::Parameter(_) | Op::State(_)));
    let value = |id| {
        let name = graph.op(id).source_name().unwrap().to_string();
        let values = numbers(graph.ty(id).shape.elements(BATCH), name.len());
        (name, values)
    };
    sources.map(value).collect()
}

#[test]
fn the_first_tensor_that_is_not_finite_is_named() {
    // What is set to which number, and the tensor that is the first to overflow then.
    let cases = [
        (None, "none"),
        (Some(("w", 1e30)), "batch_variance `bn1.variance`"),
        (Some(("x", f32::INFINITY)), "conv `conv1`"),
        (Some(("scale", 1e30)), "exp `exp1`"),
        (Some(("bias", 200.0)), "exp `exp1`"),
        (Some(("v", 3e38)), "matmul `fc`"),
    ];
    let graph: Graph = NETWORK.parse().unwrap();
    for (fault, expected) in cases {
        let mut values = initial(&graph);
        let mut examples = numbers(BATCH * 32, 11);
        if let Some((name, x)) = fault {
            let changed = if name == "x" { &mut examples } else { values.get_mut(name).unwrap() };
            changed.fill(x);
            changed[0] = -x;
        }
        let model = Model { graph: graph.clone(), values: values.clone() };
        let options = Options { batch: BATCH, method: Method::Fp32, ..Options::default() };
        let compiled = compile(model, &options).unwrap();
        let mut executor = Executor::new(Target::Cpu, 1).unwrap();
        let mut kept = Values::new(&compiled.train, &values, executor.device()).unwrap();
        let inputs = inputs(&examples);
        let before = kept.download().unwrap();
        let found = compiled.cause_in_step(&mut executor, &mut kept, &inputs).unwrap().map(|cause| cause.first);
        assert_eq!(kept.download().unwrap(), before, "nothing is updated");
        assert_eq!(found.as_ref().map_or("none", |found| found.computes.as_str()), expected, "{fault:?}");
        assert!(found.is_none_or(|found| !found.is_gradient && found.format == Format::FP32));

        values.insert("x".into(), examples);
        let bindings = Bindings { batch: BATCH, values };
        let results = interpret(&graph, &bindings).unwrap();
        let computed = graph.ids().filter(|&id| graph.op(id).source_name().is_none());
        let mut forward =
            computed.filter(|&id| !matches!(graph.op(id), Op::RunningAverage(_) | Op::RunningVariance(_)));
        let first = forward.find(|id| results[id.index()].data.iter().any(|x| !x.is_finite()));
        let name = first.map_or("none".into(), |id| format!("{} `{}`", graph.op(id).name(), graph.node(id).name));
        assert_eq!(name, expected, "{fault:?}");
    }
}

/// Scores with a mask of minus infinity, and an exponential behind them.
const MASKED: &str = r#"graph "net" {
  %0 = input {name="x"} : f32[N,2,4,4]
  %1 = reshape(%0) {shape=<N,32>} : f32[N,32]
  %2 = parameter {name="w"} : f32[4,32]
  %3 = matmul(%1, %2) {trans_a=false, trans_b=true} : f32[N,4] output "fc1"
  %4 = constant {name="mask"} : f32[1,4]
  %5 = add(%3, %4) : f32[N,4] output "masked"
  %6 = softmax(%5) : f32[N,4] output "shares"
  %7 = parameter {name="v"} : f32[5,4]
  %8 = matmul(%6, %7) {trans_a=false, trans_b=true} : f32[N,5] output "fc2"
  %9 = exp(%8) : f32[N,5] output "exp1"
  return "scores" = %9
}"#;

#[test]
fn masks_are_not_the_cause() {
    let graph: Graph = MASKED.parse().unwrap();
    let low = f32::NEG_INFINITY;
    for (mask, v, expected) in [
        ([0.0, low, 0.0, low], 1.0, "none"),
        ([0.0, low, 0.0, low], 200.0, "exp `exp1`"),
        // All scores of a row are masked: its shares are no numbers.
        ([low; 4], 1.0, "softmax `shares`"),
        ([0.0, low, 0.0, f32::INFINITY], 1.0, "add `masked`"),
    ] {
        let mut values = initial(&graph);
        values.insert("mask".into(), mask.to_vec());
        values.get_mut("v").unwrap().fill(v);
        let model = Model { graph: graph.clone(), values: values.clone() };
        let options = Options { batch: BATCH, method: Method::Fp32, ..Options::default() };
        let compiled = compile(model, &options).unwrap();
        let mut executor = Executor::new(Target::Cpu, 1).unwrap();
        let mut kept = Values::new(&compiled.train, &values, executor.device()).unwrap();
        let examples = numbers(BATCH * 32, 11);
        let found = compiled.cause_in_step(&mut executor, &mut kept, &inputs(&examples)).unwrap();
        assert_eq!(found.as_ref().map_or("none", |found| found.first.computes.as_str()), expected, "{mask:?} {v}");
    }
}

#[test]
fn a_gradient_that_overflows_its_format_is_named_in_every_method() {
    let graph: Graph = NETWORK.parse().unwrap();
    let values = initial(&graph);
    for method in [Method::Demote, Method::UniformLow, Method::UniformHigh, Method::Operator, Method::Amp] {
        let options = Options { batch: BATCH, method, low_ratio: 1.0, ..Options::default() };
        let compiled = compile(Model { graph: graph.clone(), values: values.clone() }, &options).unwrap();
        let mut executor = Executor::new(Target::Cpu, 1).unwrap();
        let mut kept = Values::new(&compiled.train, &values, executor.device()).unwrap();
        let examples = numbers(BATCH * 32, 11);
        let mut first = |loss_scale| {
            let inputs = Inputs { loss_scale, ..inputs(&examples) };
            compiled.cause_in_step(&mut executor, &mut kept, &inputs).unwrap().map(|cause| cause.first)
        };
        assert_eq!(first(1.0), None, "{method}");
        let found = first(1e38).unwrap();
        assert!(found.is_gradient, "{method}: {found:?}");
        assert!(method == Method::Amp || found.computes.starts_with("nll_loss_grad"), "{method}: {found:?}");
        assert!(method == Method::Amp || found.format != Format::FP32, "{method}: {found:?}");
    }
}

/// A batch of the network with labels.
fn inputs(examples: &[f32]) -> Inputs<'_> {
    let (x, labels) = (Array::f32(&[BATCH, 2, 4, 4], examples), Array::integers(&[BATCH], &[0, 4, 2]));
    Inputs::new([("x", x), ("labels", labels)])
}

/// The logarithm of what is left of `fc1` over the largest number of a narrow format.
const LOGARITHM: &str = r#"graph "net" {
  %0 = input {name="x"} : f32[N,2]
  %1 = parameter {name="w"} : f32[2,2]
  %2 = matmul(%0, %1) {trans_a=false, trans_b=true} : f32[N,2] output "fc1"
  %3 = constant {name="c"} : f32[2]
  %4 = sub(%2, %3) : f32[N,2] output "rest"
  %5 = log(%4) : f32[N,2] output "log"
  %6 = parameter {name="v"} : f32[3,2]
  %7 = matmul(%5, %6) {trans_a=false, trans_b=true} : f32[N,3] output "fc2"
  return "scores" = %7
}"#;

#[test]
fn a_tensor_that_saturates_is_to_blame_where_it_makes_others_not_finite() {
    let graph: Graph = LOGARITHM.parse().unwrap();
    let narrow: Format = "1-2-3".parse().unwrap();
    let values = |c: f32| -> BTreeMap<String, Vec<f32>> {
        let all = [("w", vec![10.0, 0.0, 0.0, -10.0]), ("c", vec![c; 2]), ("v", vec![0.5, 0.25, 0.5, 1.0, -1.0, 2.0])];
        all.into_iter().map(|(name, values)| (name.to_string(), values)).collect()
    };
    let cause = |c: f32, examples: &[f32], in_evaluation: bool| {
        let pins = vec![Pin { pattern: "fc1".into(), formats: Some("1-2-3/fp32".parse().unwrap()) }];
        let options = Options { batch: 2, method: Method::Fp32, pins, ..Options::default() };
        let compiled = compile(Model { graph: graph.clone(), values: values(c) }, &options).unwrap();
        let mut executor = Executor::new(Target::Cpu, 1).unwrap();
        let mut kept = Values::new(&compiled.train, &values(c), executor.device()).unwrap();
        let inputs = Inputs::new([("x", Array::f32(&[2, 2], examples)), ("labels", Array::integers(&[2], &[0, 2]))]);
        match in_evaluation {
            true => compiled.cause_in_evaluation(&mut executor, &mut kept, &inputs, false).unwrap(),
            false => compiled.cause_in_step(&mut executor, &mut kept, &inputs).unwrap(),
        }
    };
    let examples = [2.0, -2.5, 1.5, -1.25];
    for in_evaluation in [false, true] {
        // 20, 25, 15 and 12.5 are clamped to the end of the format, over which nothing is left.
        let Cause { first, saturated, is_saturation } = cause(narrow.max_finite(), &examples, in_evaluation).unwrap();
        let expected = Saturated {
            name: "fc1".into(),
            format: narrow,
            decided: Decided::Pin,
            largest: 25.0,
            share: 1.0,
            wider: Format::PAPER_HIGH,
            others: Vec::new(),
        };
        assert_eq!((saturated, is_saturation), (Some(expected), true));
        assert_eq!(first.computes, "log `log`");
        // Nothing is left of smaller numbers either, in any format: then the first tensor is to blame.
        let Cause { first, is_saturation, .. } = cause(30.0, &examples, in_evaluation).unwrap();
        assert_eq!((first.name.as_str(), is_saturation), ("log", false));
        assert_eq!(cause(narrow.max_finite() - 1.0, &examples, in_evaluation), None);
    }
}

/// The logarithm of what is left of numbers that nothing computes: the network's input, and a parameter.
const SOURCES: &str = r#"graph "net" {
  %0 = input {name="x"} : f32[N,2]
  %1 = parameter {name="w"} : f32[2,2]
  %2 = matmul(%0, %1) {trans_a=false, trans_b=true} : f32[N,2] output "fc1"
  %3 = constant {name="c"} : f32[2]
  %4 = sub(%2, %3) : f32[N,2] output "rest"
  %5 = log(%4) : f32[N,2] output "log"
  return "scores" = %5
}"#;

#[test]
fn inputs_and_parameters_that_saturate_have_their_largest_numbers() {
    let graph: Graph = SOURCES.parse().unwrap();
    let narrow: Format = "1-4-3".parse().unwrap();
    let end = narrow.max_finite();
    // Clamped to the end of the format, 4 ends and 2 ends are too little; without, a hundred of each are left.
    for (x, w, name, largest) in [(400.0 * end, 1.0, "x", 400.0 * end), (1.0, 300.0 * end, "w", 300.0 * end)] {
        let values: BTreeMap<String, Vec<f32>> =
            [("w", vec![w, 0.0, 0.0, w]), ("c", vec![200.0 * end; 2])].map(|(n, v)| (n.to_string(), v)).into();
        let formats = Formats { low_forward: narrow, low_backward: Format::FP32, ..Formats::PAPER };
        let pins =
            ["fc1", "rest", "log"].map(|name| Pin { pattern: name.into(), formats: Some("fp32".parse().unwrap()) });
        let options =
            Options { batch: 1, method: Method::UniformLow, formats, pins: pins.into(), ..Options::default() };
        let compiled = compile(Model { graph: graph.clone(), values: values.clone() }, &options).unwrap();
        let mut executor = Executor::new(Target::Cpu, 1).unwrap();
        let mut kept = Values::new(&compiled.train, &values, executor.device()).unwrap();
        let examples = [x, x];
        let inputs = Inputs::new([("x", Array::f32(&[1, 2], &examples)), ("labels", Array::integers(&[1], &[0]))]);
        let cause = compiled.cause_in_step(&mut executor, &mut kept, &inputs).unwrap().unwrap();
        let saturated = cause.saturated.unwrap();
        assert_eq!((saturated.name.as_str(), saturated.format, saturated.largest), (name, narrow, largest));
        assert_eq!((saturated.decided, saturated.wider, cause.is_saturation), (Decided::Low, Format::PAPER_HIGH, true));
    }
}
