//! Whole training graphs: roles, accumulation, updates, evaluation, against differences. Their texts stand in `tests/filetests/plans`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_autodiff::{Optimizer, Updates, check_batch, closing_softmax, evaluation, training, training_with};
use bitbudget_ir::{Bindings, Graph, Loss, Op, Role, interpret, verify};
use bitbudget_testkit::NETWORK;
use std::collections::BTreeMap;

fn forward() -> Graph {
    NETWORK.parse().unwrap()
}

fn bindings(graph: &Graph, batch: usize) -> Bindings<f64> {
    let mut values = BTreeMap::new();
    for id in graph.ids() {
        if let Some(name) = graph.op(id).source_name() {
            let value = |i: usize| match name {
                "loss_scale" => 8.0,
                "inverse_loss_scale" => 0.125,
                "learning_rate" => 0.1,
                "first_bias" => 0.1,
                "second_bias" => 0.001,
                "labels" => (i % 3) as f64,
                "var" => 1.5,
                name if name.contains('.') => 0.0,
                _ => ((i * 7 + name.len() * 3) as f64 * 0.618).fract() - 0.3,
            };
            values.insert(name.to_string(), (0..graph.ty(id).shape.elements(batch)).map(value).collect());
        }
    }
    Bindings { batch, values }
}

#[test]
fn masters_move_against_the_gradient_of_the_loss() {
    for optimizer in [Optimizer::sgd(), Optimizer::adamw()] {
        let graph = training(&forward(), &optimizer).unwrap();
        verify(&graph).unwrap();
        let bound = bindings(&graph, 4);
        let results = interpret(&graph, &bound).unwrap();
        let loss_at =
            |bound: &Bindings<f64>| interpret(&graph, bound).unwrap()[graph.output("loss").unwrap().index()].scalar();
        for name in ["w", "scale", "bias", "v"] {
            let (target, value) = *graph.updates().iter().find(|(target, _)| graph.node(*target).name == name).unwrap();
            for i in 0..bound.values[name].len() {
                let moved = |delta: f64| {
                    let mut bound = bound.clone();
                    bound.values.get_mut(name).unwrap()[i] += delta;
                    loss_at(&bound)
                };
                let gradient = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                let old = results[target.index()].data[i];
                let expected = match optimizer {
                    Optimizer::Sgd { weight_decay, .. } => old - 0.1 * (gradient + weight_decay * old),
                    Optimizer::AdamW { weight_decay, epsilon, .. } => {
                        old * (1.0 - 0.1 * weight_decay) - 0.1 * gradient / (gradient.abs() + epsilon)
                    }
                };
                let new = results[value.index()].data[i];
                assert!((new - expected).abs() < 1e-5, "{name}[{i}]: {new}, expected {expected}");
            }
        }
    }
}

#[test]
fn gradients_that_are_not_finite_leave_everything_as_it_was() {
    let graph = training(&forward(), &Optimizer::sgd()).unwrap();
    let mut bound = bindings(&graph, 4);
    bound.values.insert("loss_scale".into(), vec![f64::INFINITY]);
    let results = interpret(&graph, &bound).unwrap();
    assert_eq!(results[graph.output("finite").unwrap().index()].scalar(), 0.0);
    for &(target, value) in graph.updates() {
        if !["mean", "var"].contains(&graph.node(target).name.as_str()) {
            assert_eq!(results[target.index()].data, results[value.index()].data);
        }
    }
}

#[test]
fn contributions_are_separate_tensors_and_their_sum_is_internal() {
    let graph = training(&forward(), &Optimizer::sgd()).unwrap();
    let relu = graph.ids().find(|&id| graph.node(id).name == "relu").unwrap();
    let parts: Vec<_> = graph.ids().filter(|&id| graph.node(id).role == Role::OutputGradient { of: relu }).collect();
    assert_eq!(parts.len(), 2);
    let sum = graph.readers(parts[0]);
    assert_eq!(graph.op(sum[0]).name(), "sum");
    assert_eq!(graph.node(sum[0]).role, Role::Internal);
    assert_eq!(graph.operands(sum[0]).len(), 2);
}

#[test]
fn evaluation_uses_running_statistics() {
    let graph = training(&forward(), &Optimizer::sgd()).unwrap();
    let evaluation = evaluation(&graph).unwrap();
    verify(&evaluation).unwrap();
    for id in evaluation.ids() {
        assert_eq!(evaluation.op(id), graph.op(evaluation.origin(id).unwrap().node()));
    }
}

/// A graph of `x [N,3,1,1]`, scores of 4 classes, and what follows them.
fn ending(lines: &[&str]) -> Graph {
    let scores = "%0 = input {name=\"x\"} : f32[N,3]\n%1 = parameter {name=\"w\"} : f32[4,3]\n\
                  %2 = matmul(%0, %1) {trans_a=false, trans_b=true} : f32[N,4] \"fc\"";
    format!("graph \"g\" {{\n{scores}\n{}\n}}", lines.join("\n")).parse().unwrap()
}

#[test]
fn a_closing_softmax_is_left_out_of_training() {
    let plain = training(&ending(&["return \"y\" = %2"]), &Optimizer::sgd()).unwrap();
    let softmax = "%3 = softmax(%2) : f32[N,4] \"end\"";
    for lines in [
        &[softmax, "return \"y\" = %3"][..],
        &["%3 = log_softmax(%2) : f32[N,4] \"end\"", "return \"y\" = %3"],
        &[softmax, "%4 = log(%3) : f32[N,4]", "return \"y\" = %4"],
        &[
            softmax,
            "%4 = reshape(%3) {shape=<N,1,1,4>} : f32[N,1,1,4]",
            "%5 = transpose(%4) {perm=[0,3,2,1]} : f32[N,4,1,1]",
            "return \"y\" = %5",
        ],
    ] {
        let graph = ending(lines);
        assert_eq!(
            closing_softmax(&graph, None).map(|closing| graph.node(closing.function).name.as_str()),
            Some("end")
        );
        assert_eq!(training(&graph, &Optimizer::sgd()).unwrap().to_string(), plain.to_string());
    }
    // Over parts of the scores, or with something after it, it is a layer like any other.
    for lines in [
        &[
            "%3 = reshape(%2) {shape=<N,2,2>} : f32[N,2,2]",
            "%4 = softmax(%3) : f32[N,2,2]",
            "%5 = reshape(%4) {shape=<N,4>} : f32[N,4]",
            "return \"y\" = %5",
        ][..],
        &[softmax, "%4 = scale(%3) {by=2.0} : f32[N,4]", "return \"y\" = %4"],
    ] {
        let graph = ending(lines);
        assert_eq!(closing_softmax(&graph, None), None);
        assert_ne!(training(&graph, &Optimizer::sgd()).unwrap().to_string(), plain.to_string());
    }
}

#[test]
fn one_value_per_channel_is_no_batch() {
    let spatial = training(&forward(), &Optimizer::sgd()).unwrap();
    assert!(check_batch(&spatial, 1).is_ok());
}

/// A graph of `x [N,2,3,3]`, scores of 2 classes for each pixel, and what follows them.
fn segmentation(lines: &[&str]) -> Graph {
    let scores = "%0 = input {name=\"x\"} : f32[N,2,3,3]\n%1 = parameter {name=\"w\"} : f32[2,1,1]\n\
                  %2 = mul(%0, %1) : f32[N,2,3,3] \"last\"";
    format!("graph \"g\" {{\n{scores}\n{}\n}}", lines.join("\n")).parse().unwrap()
}

#[test]
fn a_closing_softmax_over_channels_is_left_out_of_training() {
    let plain = training(&segmentation(&["return \"y\" = %2"]), &Optimizer::sgd()).unwrap();
    let (there, softmax) =
        ("%3 = transpose(%2) {perm=[0,2,3,1]} : f32[N,3,3,2]", "%4 = softmax(%3) : f32[N,3,3,2] \"end\"");
    let back = "%5 = transpose(%4) {perm=[0,3,1,2]} : f32[N,2,3,3]";
    let graph = segmentation(&[there, softmax, back, "return \"y\" = %5"]);
    assert_eq!(closing_softmax(&graph, None).unwrap().class_axis, Some(1));
    assert_eq!(closing_softmax(&graph, Some(2)), None);
    assert_eq!(training(&graph, &Optimizer::sgd()).unwrap().to_string(), plain.to_string());

    let loss = |lines: &[&str], axis: Option<usize>, labels: &[f64]| {
        let loss = Loss::CrossEntropy { smoothing: 0.0, weights: Vec::new(), axis };
        let graph = training_with(&segmentation(lines), &Optimizer::sgd(), Updates::Always, &loss).unwrap();
        verify(&graph).unwrap();
        assert!(graph.ids().all(|id| !matches!(graph.op(id), Op::Softmax(_) | Op::Clip(_))));
        let mut values: BTreeMap<String, Vec<f64>> = [("x", (0..36).map(|i| f64::from(i % 7) - 3.0).collect())]
            .map(|(name, values): (&str, Vec<f64>)| (name.to_string(), values))
            .into();
        values.insert("w".into(), vec![1.0, 2.0]);
        values.insert("w.velocity".into(), vec![0.0, 0.0]);
        values.insert("labels".into(), labels.to_vec());
        for scalar in ["loss_scale", "inverse_loss_scale", "learning_rate"] {
            values.insert(scalar.into(), vec![1.0]);
        }
        let results = interpret(&graph, &Bindings { batch: 2, values }).unwrap();
        results[graph.output("loss").unwrap().index()].data[0]
    };
    let labels: Vec<f64> = (0..18).map(|i| f64::from(i * i % 5 % 2)).collect();
    let expected = loss(&["return \"y\" = %2"], None, &labels);
    // The classes last, limits, and a logarithm behind it.
    for (lines, axis) in [
        (&[there, softmax, "return \"y\" = %4"][..], None),
        (&[there, softmax, "return \"y\" = %4"], Some(3)),
        (&[there, softmax, "%5 = clip(%4) {min=1e-7, max=1.0} : f32[N,3,3,2]", "return \"y\" = %5"], None),
        (
            &[
                there,
                softmax,
                back,
                "%6 = clip(%5) {min=1e-7, max=1.0} : f32[N,2,3,3]",
                "%7 = log(%6) : f32[N,2,3,3]",
                "return \"y\" = %7",
            ],
            None,
        ),
    ] {
        assert_eq!(loss(lines, axis, &labels), expected, "{lines:?}");
    }
    // Images turned about their diagonal, and so are their labels.
    let turned = "%5 = transpose(%4) {perm=[0,3,2,1]} : f32[N,2,3,3]";
    let labels: Vec<f64> = (0..18).map(|i| labels[i / 9 * 9 + i % 3 * 3 + i / 3 % 3]).collect();
    let found = loss(&[there, softmax, turned, "return \"y\" = %5"], None, &labels);
    assert!((found - expected).abs() < 1e-12, "{found} {expected}");
}
