//! Losses against PyTorch, whose numbers `data/losses.py` wrote, and their gradients against differences.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_autodiff::{Optimizer, Updates, class_weights, evaluation, training_with};
use bitbudget_ir::{Bindings, Graph, Loss, Role, interpret, verify};
use std::collections::BTreeMap;

fn numbers(text: &str) -> Vec<f64> {
    text.split(',').map(|number| number.parse().unwrap()).collect()
}

fn loss(name: &str, options: &str) -> Loss {
    let mut loss: Loss = name.parse().unwrap();
    for (key, value) in options.split(';').filter_map(|option| option.split_once('=')) {
        match (&mut loss, key) {
            (Loss::CrossEntropy { smoothing, .. }, "smoothing") => *smoothing = value.parse().unwrap(),
            (Loss::CrossEntropy { weights, .. }, "weights") => {
                *weights = numbers(value).into_iter().map(|weight| weight as f32).collect();
            }
            (Loss::Huber { delta }, "delta") => *delta = value.parse().unwrap(),
            _ => panic!("{name} {options}"),
        }
    }
    loss
}

/// A network whose result is its input times a parameter.
fn network(shape: &[usize]) -> Graph {
    let dims: Vec<String> = shape[1..].iter().map(usize::to_string).collect();
    let ty = format!("f32[N,{}]", dims.join(",")).replace(",]", "]");
    let lines = format!(
        "%0 = input {{name=\"x\"}} : {ty}\n%1 = parameter {{name=\"w\"}} : f32[1]\n%2 = mul(%0, %1) : {ty} output \"result\"\n\
         return \"y\" = %2"
    );
    format!("graph \"g\" {{\n{lines}\n}}").parse().unwrap()
}

struct Case {
    graph: Graph,
    bound: Bindings<f64>,
}

impl Case {
    fn new(loss: &Loss, shape: &[usize], x: &[f64], targets: &[f64]) -> Case {
        let graph = training_with(&network(shape), &Optimizer::sgd(), Updates::Always, loss).unwrap();
        verify(&graph).unwrap();
        let mut values: BTreeMap<String, Vec<f64>> = [("x", x), ("labels", targets), ("targets", targets)]
            .map(|(name, values)| (name.to_string(), values.to_vec()))
            .into();
        for (name, value) in [
            ("w", 1.0),
            ("loss_scale", 8.0),
            ("inverse_loss_scale", 0.125),
            ("learning_rate", 0.1),
            ("w.velocity", 0.0),
        ] {
            values.insert(name.into(), vec![value]);
        }
        if let (Some(name), Loss::CrossEntropy { weights, .. }) = (class_weights(&graph), loss) {
            values.insert(name.into(), weights.iter().map(|&weight| f64::from(weight)).collect());
        }
        Case { graph, bound: Bindings { batch: shape[0], values } }
    }

    fn loss(&self) -> f64 {
        let results = interpret(&self.graph, &self.bound).unwrap();
        results[self.graph.output("loss").unwrap().index()].scalar()
    }

    /// The gradient of the network's result: the sum of what its readers contribute.
    fn gradient(&self) -> Vec<f64> {
        let graph = &self.graph;
        let result = graph.ids().find(|&id| graph.node(id).name == "result").unwrap();
        let results = interpret(graph, &self.bound).unwrap();
        let mut sum = vec![0.0; results[result.index()].data.len()];
        let contributes = |role, ty: &bitbudget_ir::TensorType| {
            role == Role::OutputGradient { of: result } && *ty == *graph.ty(result)
        };
        for id in graph.ids().filter(|&id| contributes(graph.node(id).role, graph.ty(id))) {
            sum.iter_mut().zip(&results[id.index()].data).for_each(|(sum, x)| *sum += x / 8.0);
        }
        sum
    }
}

#[test]
fn losses_and_gradients_are_those_of_pytorch() {
    let mut cases = 0;
    for line in include_str!("data/losses.txt").lines() {
        let [name, options, shape, x, targets, expected, gradient] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let shape: Vec<usize> = numbers(shape).into_iter().map(|size| size as usize).collect();
        let case = Case::new(&loss(name, options), &shape, &numbers(x), &numbers(targets));
        let (found, expected) = (case.loss(), expected.parse::<f64>().unwrap());
        assert!((found - expected).abs() <= 1e-12 * expected.abs(), "{name} {options} {shape:?}: {found}, {expected}");
        let found = case.gradient();
        for (i, (found, expected)) in found.iter().zip(numbers(gradient)).enumerate() {
            assert!((found - expected).abs() < 1e-12, "{name} {options} {shape:?}: {found}, not {expected} at {i}");
        }
        cases += 1;
    }
    assert!(cases >= 20);
}

#[test]
fn gradients_agree_with_differences() {
    let x = [0.5, -1.25, 2.0, 0.25, -0.75, 1.5];
    for name in ["cross-entropy", "bce", "mse", "l1", "huber"] {
        let mut loss: Loss = name.parse().unwrap();
        if let Loss::CrossEntropy { smoothing, weights, .. } = &mut loss {
            (*smoothing, *weights) = (0.125, vec![0.5, 2.0]);
        }
        let targets = if name == "cross-entropy" { vec![1.0, 0.0, -1.0] } else { vec![0.0, 1.0, 0.0, 1.0, 0.75, 0.0] };
        let case = Case::new(&loss, &[3, 2], &x, &targets);
        for (i, found) in case.gradient().into_iter().enumerate() {
            let at = |delta: f64| {
                let mut moved = x;
                moved[i] += delta;
                Case::new(&loss, &[3, 2], &moved, &targets).loss()
            };
            let expected = (at(1e-6) - at(-1e-6)) / 2e-6;
            assert!((found - expected).abs() < 1e-8, "{name}: {found}, not {expected} at {i}");
        }
    }
}

/// `[N, classes, steps]` with the classes in dimension 1 is `[N, steps, classes]` with them at the end.
#[test]
fn the_dimension_of_the_classes_may_be_given() {
    let x: Vec<f64> = (0..2 * 3 * 2).map(|i| f64::from(i * i % 7) - 2.5).collect();
    let turned: Vec<f64> =
        (0..2).flat_map(|n| (0..2).flat_map(move |t| (0..3).map(move |c| 6 * n + 2 * c + t))).map(|i| x[i]).collect();
    let labels = [2.0, 0.0, 1.0, 1.0];
    let given = |axis| Loss::CrossEntropy { smoothing: 0.125, weights: Vec::new(), axis };
    let loss = Case::new(&given(Some(1)), &[2, 3, 2], &x, &labels).loss();
    assert_eq!(loss, Case::new(&given(None), &[2, 2, 3], &turned, &labels).loss());
    for wrong in [0, 3] {
        let result = training_with(&network(&[2, 3, 2]), &Optimizer::sgd(), Updates::Always, &given(Some(wrong)));
        let error = result.unwrap_err().to_string();
        assert!(error.contains(&format!("dimension {wrong} of the network's output")), "{error}");
        assert!(error.contains("--class-axis 1"), "{error}");
    }
}

#[test]
fn evaluations_give_what_the_loss_is_computed_of() {
    for (name, outputs) in [
        ("cross-entropy", &["logits", "log_probabilities"][..]),
        ("bce", &["logits"]),
        ("mse", &["predictions"]),
        ("l1", &["predictions"]),
        ("huber", &["predictions"]),
    ] {
        let graph =
            training_with(&network(&[1, 3]), &Optimizer::sgd(), Updates::Always, &name.parse().unwrap()).unwrap();
        let evaluation = evaluation(&graph).unwrap();
        assert!(evaluation.outputs().iter().map(|(name, _)| name.as_str()).eq(outputs.iter().copied()), "{name}");
        assert!(evaluation.ids().all(|id| !evaluation.node(id).is_target()), "{name}");
    }
}

/// The network's own loss: its targets are inputs that no parameter meets, and what compares with them is not rounded.
#[test]
fn a_loss_of_the_network_is_the_mean_of_an_output() {
    let graph = |end: &str| -> Graph {
        let lines = "%0 = input {name=\"x\"} : f32[N,3]\n%1 = parameter {name=\"w\"} : f32[2,3]\n\
                     %2 = matmul(%0, %1) {trans_a=false, trans_b=true} : f32[N,2] output \"fc\"\n\
                     %3 = input {name=\"goal\"} : f32[N,2]\n%4 = sub(%2, %3) : f32[N,2] output \"difference\"\n\
                     %5 = mul(%4, %4) : f32[N,2] output \"square\"";
        format!("graph \"g\" {{\n{lines}\n{end}\n}}").parse().unwrap()
    };
    let whole =
        "%6 = reduce_mean(%5) {axes=[0,1]} : f32[] output \"mean\"\nreturn \"scores\" = %2\nreturn \"loss\" = %6";
    let each = "%6 = reduce_mean(%5) {axes=[1]} : f32[N] output \"mean\"\nreturn \"loss\" = %6";
    let values = |name: &str| match name {
        "x" => vec![1.0, 2.0, 3.0, -1.0, 0.5, 0.25],
        "w" => vec![0.5, -0.25, 1.0, 2.0, 0.125, -0.5],
        "goal" => vec![1.0, -1.0, 0.0, 0.5],
        "loss_scale" | "inverse_loss_scale" => vec![1.0],
        "learning_rate" => vec![1.0],
        _ => vec![0.0; 6],
    };
    let optimizer = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
    let mut found = Vec::new();
    for end in [whole, each] {
        let loss = Loss::Output { name: "loss".into() };
        let training = training_with(&graph(end), &optimizer, Updates::Always, &loss).unwrap();
        let targets: Vec<_> = training.ids().filter(|&id| training.node(id).is_target()).collect();
        assert_eq!(targets.iter().map(|&id| training.op(id).source_name().unwrap()).collect::<Vec<_>>(), ["goal"]);
        let role =
            |name: &str| training.ids().find(|&id| training.node(id).name == name).map(|id| training.node(id).role);
        assert_eq!((role("fc"), role("difference")), (Some(Role::Output), Some(Role::Internal)));
        let sources = training.ids().filter_map(|id| training.op(id).source_name());
        let bound = Bindings { batch: 2, values: sources.map(|name| (name.to_string(), values(name))).collect() };
        let results = interpret(&training, &bound).unwrap();
        let (_, stepped) = training.updates().iter().find(|(target, _)| training.node(*target).name == "w").unwrap();
        found.push((results[training.output("loss").unwrap().index()].scalar(), results[stepped.index()].data.clone()));
        assert_eq!(evaluation(&training).unwrap().outputs().len(), 1);
    }
    assert_eq!(found[0], found[1]);
    let missing = Loss::Output { name: "los".into() };
    let error = training_with(&graph(whole), &optimizer, Updates::Always, &missing).unwrap_err().to_string();
    assert!(error.contains("no output `los`") && error.contains("`scores`, `loss`"), "{error}");
}

#[test]
fn wrong_numbers_of_a_loss_are_refused() {
    let refused = |loss: &Loss| {
        training_with(&network(&[1, 3]), &Optimizer::sgd(), Updates::Always, loss).unwrap_err().to_string()
    };
    let weights = Loss::CrossEntropy { smoothing: 0.0, weights: vec![1.0; 4], axis: None };
    assert!(refused(&weights).contains("4 class weights were given, but the network has 3 classes"));
    assert!(refused(&Loss::Huber { delta: -1.0 }).contains("Huber delta of -1 is not a number above 0"));
}

#[test]
fn whole_numbers_are_no_output_to_train() {
    let lines = "%0 = input {name=\"x\"} : f32[N,3]\n%1 = parameter {name=\"w\"} : f32[2,3]\n\
                 %2 = matmul(%0, %1) {trans_a=false, trans_b=true} : f32[N,2] output \"fc\"\n\
                 %3 = convert(%2) {from=\"f32\", to=\"i32\"} : i32[N,2]\nreturn \"y\" = %3";
    let graph: Graph = format!("graph \"g\" {{\n{lines}\n}}").parse().unwrap();
    for name in ["cross-entropy", "bce", "mse", "l1", "huber"] {
        let loss: Loss = name.parse().unwrap();
        let error = training_with(&graph, &Optimizer::sgd(), Updates::Always, &loss).unwrap_err().to_string();
        assert!(error.contains("whole numbers or truth values, which have no gradient; choose"), "{error}");
    }
}
