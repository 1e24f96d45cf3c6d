//! Values that a trainer keeps from step to step: each has a name of its own, and the trainer file holds all.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget::{Compiled, Options, compile};
use bitbudget_autodiff::Optimizer;
use bitbudget_exec::{Array, Executor, Inputs, Target, Values};
use bitbudget_ir::{DType, Graph, Model, Op};
use bitbudget_precision::Method;
use bitbudget_testkit::{NETWORK, numbers};

const BATCH: usize = 6;

const OPTIMIZERS: [Optimizer; 3] = [
    Optimizer::Sgd { momentum: 0.9, weight_decay: 5e-4 },
    Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 },
    Optimizer::AdamW { betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.01 },
];

/// The small network under other names of its sources, with the same values.
fn model(renamed: &[(&str, &str)]) -> Model {
    let rename = |text: String, (from, to): &(&str, &str)| {
        text.replace(&format!("{{name=\"{from}\"}}"), &format!("{{name=\"{to}\"}}"))
    };
    // A parameter that nothing reads has a value, too.
    let text = NETWORK.replace("  return", "  %20 = parameter {name=\"unread\"} : f32[5,12]\n  return");
    let graph: Graph = renamed.iter().fold(text, rename).parse().unwrap();
    let mut values = std::collections::BTreeMap::new();
    for (i, id) in graph.ids().enumerate() {
        if let Op::Parameter(_) | Op::State(_) = graph.op(id) {
            let name = graph.op(id).source_name().unwrap().to_string();
            values.insert(name, numbers(graph.ty(id).shape.elements(1), i).iter().map(|x| x + 1.0).collect());
        }
    }
    Model { graph, values }
}

fn compiled(model: Model, optimizer: Optimizer, method: Method) -> Compiled {
    compile(model, &Options { batch: BATCH, method, optimizer, ..Options::default() }).unwrap()
}

/// Trains for some steps and returns the losses' bits.
fn train(compiled: &mut Compiled, steps: std::ops::Range<usize>) -> Vec<u32> {
    let mut executor = Executor::new(Target::Cpu, 1).unwrap();
    let mut values = Values::new(&compiled.train, &compiled.values, executor.device()).unwrap();
    values.progress = compiled.progress;
    let labels: Vec<i32> = (0..BATCH as i32).map(|i| i % 5).collect();
    let step = |i: usize| {
        let examples = numbers(BATCH * 32, 100 + i);
        let (loss_scale, learning_rate) = (16.0, 0.05);
        let inputs = compiled.train.inputs().map(|input| match input.dtype {
            DType::F32 => (input.name.as_str(), Array::f32(&input.shape, &examples)),
            DType::I32 | DType::Bool | DType::Index8 => (input.name.as_str(), Array::integers(&input.shape, &labels)),
        });
        let inputs = Inputs { loss_scale, learning_rate, ..Inputs::new(inputs) };
        let step = executor.run(&compiled.train, &mut values, &inputs).unwrap();
        assert_eq!(step.outputs["finite"], [1.0]);
        values.progress.updates += 1;
        step.outputs["loss"][0].to_bits()
    };
    let losses = steps.map(step).collect();
    (compiled.values, compiled.progress) = (values.download().unwrap(), values.progress);
    losses
}

/// The bits of the network's own values, in the graph's order.
fn bits(compiled: &Compiled) -> Vec<u32> {
    let graph = &compiled.forward;
    let names = graph.ids().filter_map(|id| graph.op(id).source_name());
    names.filter_map(|name| compiled.values.get(name)).flatten().map(|x| x.to_bits()).collect()
}

#[test]
fn states_never_share_a_name_with_a_value_of_the_network() {
    let names = [
        [("v", "w.velocity"), ("side", "w.velocity.2"), ("bias", "learning_rate"), ("scale", "labels")],
        [("v", "w.first_moment"), ("side", "w.second_moment"), ("bias", "loss_scale"), ("scale", "finite")],
        [("unread", "w.velocity"), ("mean", "v.velocity"), ("var", "v.first_moment"), ("bias", "labels.2")],
        [("unread", "w.second_moment"), ("w", "v.velocity.velocity"), ("side", "v.velocity"), ("bias", "first_bias")],
    ];
    for optimizer in OPTIMIZERS {
        let mut plain = compiled(model(&[]), optimizer, Method::Fp32);
        let losses = train(&mut plain, 0..3);
        for renamed in &names {
            let mut other = compiled(model(renamed), optimizer, Method::Fp32);
            bitbudget_ir::verify(&other.training).unwrap();
            assert_eq!(train(&mut other, 0..3), losses, "{optimizer:?} {renamed:?}");
            assert_eq!(bits(&other), bits(&plain), "{optimizer:?} {renamed:?}");
            assert_eq!(bits(&Compiled::decode(&other.encode()).unwrap()), bits(&plain), "{optimizer:?} {renamed:?}");
        }
    }
}

#[test]
fn training_through_a_trainer_file_is_training_without_one() {
    for optimizer in OPTIMIZERS {
        for method in [Method::Fp32, Method::UniformHigh] {
            let mut whole = compiled(model(&[]), optimizer, method);
            let mut half = whole.clone();
            let losses = train(&mut whole, 0..6);
            let first = train(&mut half, 0..2);
            let mut half = Compiled::decode(&half.encode()).unwrap();
            assert_eq!(half.progress.updates, 2);
            assert_eq!([first, train(&mut half, 2..6)].concat(), losses, "{optimizer:?} {method}");
            assert_eq!(half.encode(), whole.encode(), "{optimizer:?} {method}");
        }
    }
}
