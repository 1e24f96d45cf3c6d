//! Whole training steps.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use super::{Executor, Target};
use crate::{Array, Inputs, Step, Values};
use bitbudget_autodiff::{Optimizer, Updates, training, training_with};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId, Op, Role};
use bitbudget_program::Program;
use bitbudget_schedule::Storage;
use bitbudget_testkit::{lowered, numbers};
use std::collections::BTreeMap;

const NETWORK: &str = r#"graph "net" {
  %0 = input {name="x"} : f32[N,2,4,4]
  %1 = parameter {name="w"} : f32[4,2,3,3]
  %2 = conv(%0, %1) {strides=[1,1], pads_begin=[1,1], pads_end=[1,1], dilations=[1,1], groups=1} : f32[N,4,4,4] output
  %3 = batch_mean(%2) : f32[4]
  %4 = batch_variance(%2, %3) : f32[4]
  %5 = parameter {name="scale"} : f32[4]
  %6 = parameter {name="bias"} : f32[4]
  %7 = state {name="mean"} : f32[4]
  %8 = state {name="var"} : f32[4]
  %9 = batch_normalize(%2, %3, %4, %5, %6) {epsilon=1e-5} : f32[N,4,4,4] output
  %10 = running_average(%7, %3) {momentum=0.1} : f32[4]
  %11 = running_variance(%8, %4, %2) {momentum=0.1} : f32[4]
  %12 = relu(%9) : f32[N,4,4,4] output
  %13 = parameter {name="depthwise"} : f32[4,1,3,3]
  %14 = conv(%12, %13) {strides=[2,2], pads_begin=[1,1], pads_end=[0,1], dilations=[1,1], groups=4} : f32[N,4,2,2] output
  %15 = max_pool(%12) {kernel=[2,2], strides=[2,2], pads_begin=[0,0], pads_end=[0,0], dilations=[1,1], ceil=false} : f32[N,4,2,2] output
  %16 = add(%14, %15) : f32[N,4,2,2] output
  %17 = reshape(%16) {shape=<N,16>} : f32[N,16] output
  %18 = parameter {name="v"} : f32[5,16]
  %19 = matmul(%17, %18) {trans_a=false, trans_b=true} : f32[N,5] output
  return "scores" = %19
  update %7 <- %10
  update %8 <- %11
}"#;

const BATCH: usize = 3;

fn program(graph: &Graph, formats: &[Format]) -> Program {
    stored_as(graph, formats, Storage::Packed)
}

pub(super) fn stored_as(graph: &Graph, formats: &[Format], storage: Storage) -> Program {
    let graph = graph.stored_in(formats);
    lowered(&graph, BATCH, storage).unwrap()
}

/// A batch of the network with labels.
fn inputs(examples: &[f32]) -> Inputs<'_> {
    let (x, labels) = (Array::f32(&[BATCH, 2, 4, 4], examples), Array::integers(&[BATCH], &[0, 4, 2]));
    Inputs::new([("x", x), ("labels", labels)])
}

/// Three steps from the same start: the results of each, and what is kept after them.
fn train(graph: &Graph, program: &Program) -> (Vec<Step>, BTreeMap<String, Vec<f32>>) {
    let mut executor = Executor::new(Target::Cpu, 1).unwrap();
    let mut initial = BTreeMap::new();
    for id in graph.ids() {
        if let Op::Parameter(op) = graph.op(id) {
            initial.insert(op.name.clone(), numbers(graph.ty(id).shape.elements(BATCH), op.name.len()));
        }
    }
    let mut values = Values::new(program, &initial, executor.device()).unwrap();
    let mut step = |i: usize| {
        let examples = numbers(BATCH * 32, 11 + i);
        let (loss_scale, learning_rate) = (16.0, 0.05);
        let inputs = Inputs { loss_scale, learning_rate, ..inputs(&examples) };
        values.progress.updates = i as u32;
        executor.run(program, &mut values, &inputs).unwrap()
    };
    let steps = (0..3).map(&mut step).collect();
    (steps, values.download().unwrap())
}

#[test]
fn packed_steps_are_those_of_rounded_fp32_numbers() {
    for optimizer in [Optimizer::sgd(), Optimizer::adamw()] {
        let graph = training(&NETWORK.parse().unwrap(), &optimizer).unwrap();
        let table = [
            vec![Format::PAPER_LOW_FORWARD],
            vec![Format::PAPER_HIGH],
            vec![Format::PAPER_LOW_BACKWARD, Format::PAPER_HIGH, Format::FP32, Format::E4M3],
            vec![Format::BF16, Format::FP16, Format::E5M2],
        ];
        for formats in table {
            let format = |id: NodeId| match graph.node(id).role {
                Role::Internal => Format::FP32,
                _ => formats[id.index() % formats.len()],
            };
            let formats: Vec<Format> = graph.ids().map(format).collect();
            let [packed, simulated] =
                [Storage::Packed, Storage::Simulated].map(|storage| stored_as(&graph, &formats, storage));
            assert!(packed.arena < simulated.arena);
            let (steps, kept) = train(&graph, &packed);
            let (expected_steps, expected) = train(&graph, &simulated);
            for (step, wanted) in steps.iter().zip(&expected_steps) {
                assert_eq!((&step.outputs, &step.overflows), (&wanted.outputs, &wanted.overflows));
            }
            assert_eq!(kept, expected);
        }
    }
}

#[test]
fn a_step_ends_where_its_loss_is_not_finite_and_updates_nothing() {
    // Without a check of gradients an update follows each of them at once.
    let graph =
        training_with(&NETWORK.parse().unwrap(), &Optimizer::sgd(), Updates::Always, &bitbudget_ir::Loss::default())
            .unwrap();
    let program = program(&graph, &vec![Format::FP32; graph.len()]);
    let values = |id: NodeId| match graph.op(id) {
        Op::Parameter(op) => Some((op.name.clone(), numbers(graph.ty(id).shape.elements(BATCH), op.name.len()))),
        _ => None,
    };
    let initial: BTreeMap<String, Vec<f32>> = graph.ids().filter_map(values).collect();
    {
        let mut executor = Executor::new(Target::Cpu, 1).unwrap();
        let mut kept = Values::new(&program, &initial, executor.device()).unwrap();
        let loaded = executor.load(&program).unwrap();
        let mut run = |x: f32| {
            let mut examples = numbers(BATCH * 32, 11);
            examples[40] = x;
            let inputs = Inputs { learning_rate: 0.05, ..inputs(&examples) };
            let step = loaded.step_while_finite(&mut executor, &mut kept, &inputs, "loss").unwrap();
            (step, kept.download().unwrap(), executor.first_not_finite(&program, &kept).unwrap())
        };
        let (step, before, found) = run(0.5);
        assert!(step.outputs.contains_key("logits") && step.outputs["loss"][0].is_finite() && found.is_none());
        assert_ne!(before["w"], initial["w"]);
        for x in [f32::NAN, f32::INFINITY] {
            let (step, after, found) = run(x);
            assert_eq!(step.outputs.keys().collect::<Vec<_>>(), ["loss"]);
            assert!(step.outputs["loss"][0].is_nan());
            for name in ["w", "v", "scale", "w.velocity"] {
                assert_eq!(after[name], before[name], "{name}");
            }
            // The statistics are averaged in the forward pass.
            assert!(matches!(found, Some("mean" | "var")), "{found:?}");
        }
    }
}

#[test]
fn numbers_that_are_kept_are_found_where_they_are_not_finite() {
    let graph = training(&NETWORK.parse().unwrap(), &Optimizer::adamw()).unwrap();
    let program = program(&graph, &vec![Format::FP32; graph.len()]);
    {
        let executor = Executor::new(Target::Cpu, 1).unwrap();
        for (name, at, x) in [("v", 79, f32::INFINITY), ("w.second_moment", 0, f32::NAN), ("var", 3, f32::NEG_INFINITY)]
        {
            let elements = |name: &str| program.buffers.iter().find(|b| b.name == name).map(|b| b.elements());
            let mut value = vec![1e38; elements(name).unwrap()];
            let found = |value: &[f32]| {
                let initial = [(name.to_string(), value.to_vec())].into();
                let kept = Values::new(&program, &initial, executor.device()).unwrap();
                executor.first_not_finite(&program, &kept).unwrap()
            };
            assert_eq!(found(&value), None, "{name}");
            value[at] = x;
            assert_eq!(found(&value), Some(name));
        }
    }
}
