//! Gradients of every operator, from its samples, against central differences in FP64.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_autodiff::gradients;
use bitbudget_ir::ops::Constant;
use bitbudget_ir::{Bindings, Graph, NodeId, Op, Sample, UnaryFunction, interpret};
use bitbudget_testkit::{spread, values};
use std::collections::BTreeMap;

/// Operators that occur in backward and update graphs only.
const WITHOUT_DERIVATIVE: &[&str] = &[
    "conv_grad_weight",
    "recurrent_grad",
    "batch_mean",
    "batch_variance",
    "batch_norm_grad_scale",
    "batch_norm_grad_input",
    "layer_norm_grad_scale",
    "layer_norm_grad_input",
    "running_average",
    "running_variance",
    "max_pool_indices",
    "max_pool_grad",
    "average_pool_grad",
    "relu_grad",
    "clip_grad",
    "leaky_relu_grad",
    "gelu_grad",
    "prelu_grad",
    "unary_grad",
    "pow_grad_base",
    "pow_grad_exponent",
    "extremum_grad",
    "reduce_extremum_grad",
    "softmax_grad",
    "log_softmax_grad",
    "nll_loss_grad",
    "all_finite",
    "sgd_velocity",
    "sgd_parameter",
    "adam_first_moment",
    "adam_second_moment",
    "adamw_parameter",
];

#[test]
fn every_operator_agrees_with_central_differences() {
    let mut checked = 0;
    for (name, samples) in Op::all_samples() {
        for sample in samples {
            let y = sample.graph.output("y").unwrap();
            let mut graph = sample.graph.clone();
            let dy = graph.source(Constant { name: "dy".into() }, graph.ty(y).clone());
            let parameters: Vec<NodeId> = graph.ids().filter(|&id| matches!(graph.op(id), Op::Parameter(_))).collect();
            let emitted = gradients(&mut graph, y, dy, &parameters);
            if WITHOUT_DERIVATIVE.contains(&name) {
                assert!(emitted.unwrap_err().to_string().contains("has no derivative"), "{name}");
                continue;
            }
            check(name, &sample, &graph, y, &parameters, &emitted.unwrap());
            checked += 1;
        }
    }
    assert!(checked > 40, "{checked} samples were checked");
}

/// Whether a node's derivative is zero wherever it has one, for some operands at least.
fn is_step(graph: &Graph, y: NodeId) -> bool {
    use UnaryFunction::{Ceil, Floor, Round, Sign};
    match graph.op(y) {
        Op::Unary(op) => matches!(op.function, Ceil | Floor | Round | Sign),
        Op::Convert(_) | Op::Compare(_) | Op::ArgMax(_) | Op::TopK(_) | Op::Dropout(_) => true,
        _ => false,
    }
}

/// Whether a node's gradient is defined as that of the identity.
fn is_straight_through(graph: &Graph, y: NodeId) -> bool {
    matches!(graph.op(y), Op::Unary(op) if op.function == UnaryFunction::RoundThrough)
}

fn check(name: &str, sample: &Sample, graph: &Graph, y: NodeId, parameters: &[NodeId], gradients: &[Option<NodeId>]) {
    let mut values = values(sample);
    let weights: Vec<f64> = (0..graph.ty(y).shape.elements(1)).map(|i| spread(7 * i + 3) - 0.4).collect();
    values.insert("dy".into(), weights.clone());
    let results = interpret(graph, &Bindings { batch: 1, values: values.clone() }).unwrap();
    let weighted = |values: &BTreeMap<String, Vec<f64>>| -> f64 {
        let results = interpret(&sample.graph, &Bindings { batch: 1, values: values.clone() }).unwrap();
        results[y.index()].data.iter().zip(&weights).map(|(y, w)| y * w).sum()
    };
    for (&parameter, gradient) in parameters.iter().zip(gradients) {
        match gradient {
            Some(gradient) => assert_eq!(graph.ty(*gradient).shape, graph.ty(parameter).shape, "{name}"),
            None => assert!(is_step(graph, y), "{name}: no gradient for {parameter}"),
        }
        let key = graph.node(parameter).name.clone();
        for i in 0..values[&key].len() {
            let step = 1e-5;
            let at = |delta: f64| {
                let mut moved = values.clone();
                moved.get_mut(&key).unwrap()[i] += delta;
                weighted(&moved)
            };
            let expected = match is_straight_through(graph, y) {
                true => weights[i],
                false => (at(step) - at(-step)) / (2.0 * step),
            };
            let actual = gradient.map_or(0.0, |gradient| results[gradient.index()].data[i]);
            let tolerance = 1e-6 * (1.0 + expected.abs());
            assert!((expected - actual).abs() < tolerance, "{name}: d{key}[{i}] = {actual}, expected {expected}");
        }
    }
}
