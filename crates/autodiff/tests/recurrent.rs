//! Recurrent layers and their gradients are PyTorch's: `data/recurrent.txt` is by `data/recurrent.py`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, its functions too")]

use bitbudget_autodiff::gradients;
use bitbudget_ir::ops::{Constant, Input, Parameter, Recurrent};
use bitbudget_ir::{ActivationFunction, Activations, Bindings, Cell, Direction, Graph, NodeId, Real};
use bitbudget_ir::{Shape, TensorType, interpret};
use std::collections::BTreeMap;

#[derive(Default)]
struct Case {
    name: String,
    words: Vec<String>,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f64>)>,
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in include_str!("data/recurrent.txt").lines() {
        let mut words = line.split(' ').map(String::from);
        let first = words.next().unwrap();
        if first == "case" {
            cases.push(Case { name: words.next().unwrap(), words: words.collect(), ..Case::default() });
            continue;
        }
        let shape = words.next().unwrap().split(',').map(|size| size.parse().unwrap()).collect();
        let numbers = words.map(|number| number.parse().unwrap()).collect();
        cases.last_mut().unwrap().tensors.insert(first, (shape, numbers));
    }
    cases
}

fn layer(case: &Case) -> Recurrent {
    let cell = Cell::ALL.into_iter().find(|cell| cell.name() == case.words[0]).unwrap();
    let direction = Direction::ALL.into_iter().find(|direction| direction.name() == case.words[1]).unwrap();
    let mut activations = Activations::standard(cell, direction);
    if case.words[2] == "relu" {
        activations.0.fill(ActivationFunction::Relu.into());
    }
    let has = |name: &str| case.tensors.contains_key(name);
    Recurrent {
        cell,
        direction,
        activations,
        clip: Real(0.0),
        linear_before_reset: cell == Cell::Gru,
        input_forget: false,
        bias: true,
        lengths: has("lengths"),
        initial: has("h"),
        peepholes: false,
    }
}

fn near(case: &str, what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{case}: {what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() < 1e-9 * (1.0 + expected.abs()),
            "{case}: {what}[{i}] = {found}, not {expected}"
        );
    }
}

#[test]
fn layers_and_their_gradients_are_those_of_pytorch() {
    let cases = cases();
    assert!(cases.len() >= 10);
    for case in &cases {
        let op = layer(case);
        let mut graph = Graph::new("layer");
        let mut sources: Vec<(&str, NodeId)> = Vec::new();
        for name in ["x", "w", "r", "b", "lengths", "h", "c"] {
            let Some((shape, _)) = case.tensors.get(name) else { continue };
            let id = match name {
                "lengths" => {
                    graph.source(Input { name: name.into(), target: false }, TensorType::i32(Shape::fixed(shape)))
                }
                _ => graph.source(Parameter { name: name.into() }, TensorType::f32(Shape::fixed(shape))),
            };
            sources.push((name, id));
        }
        let operands: Vec<NodeId> = sources.iter().map(|(_, id)| *id).collect();
        let y = graph.add(op.clone(), &operands).unwrap();
        let dy = graph.source(Constant { name: "dy".into() }, graph.ty(y).clone());
        let targets: Vec<(&str, NodeId)> = sources.into_iter().filter(|(name, _)| *name != "lengths").collect();
        let ids: Vec<NodeId> = targets.iter().map(|(_, id)| *id).collect();
        let found = gradients(&mut graph, y, dy, &ids).unwrap();
        let values = case.tensors.iter().map(|(name, (_, numbers))| (name.clone(), numbers.clone())).collect();
        let results = interpret(&graph, &Bindings { batch: 1, values }).unwrap();
        let states = &results[y.index()];
        let &[_, steps, directions, examples, hidden] = states.shape.as_slice() else { unreachable!() };
        let given = &case.tensors["y"].1;
        let lengths = case.tensors.get("lengths").map(|(_, lengths)| lengths.clone());
        for (at, expected) in given.iter().enumerate() {
            let (step, example) = (at / (directions * examples * hidden), at / hidden % examples);
            // PyTorch gives zeros past the length of an example, where its states stay here.
            if lengths.as_ref().is_none_or(|lengths| (step as f64) < lengths[example]) {
                near(&case.name, "y", &states.data[at..=at], &[*expected]);
            }
        }
        for (kind, name) in ["last", "last_cell"].into_iter().enumerate() {
            let Some((_, expected)) = case.tensors.get(name) else { continue };
            let last = |direction: usize| {
                let step = if op.direction.is_reversed()[direction] { 0 } else { steps - 1 };
                let start = ((kind * steps + step) * directions + direction) * examples * hidden;
                states.data[start..start + examples * hidden].to_vec()
            };
            near(&case.name, name, &(0..directions).flat_map(last).collect::<Vec<f64>>(), expected);
        }
        for ((name, _), gradient) in targets.iter().zip(found) {
            let found = &results[gradient.unwrap().index()].data;
            near(&case.name, &format!("d{name}"), found, &case.tensors[&format!("d{name}")].1);
        }
    }
}
