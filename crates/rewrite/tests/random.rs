//! Alternatives of random graphs in random formats, and of long chains.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

mod common;

use bitbudget_formats::Format;
use bitbudget_ir::ops::*;
use bitbudget_ir::{Dim, Graph, Op, Precision, Real, Role, Shape, TensorType, TrainingId};
use bitbudget_rewrite::{Limits, Rules, alternatives, extract};
use proptest::prelude::*;
use std::time::Instant;

const FORMATS: [Format; 5] =
    [Format::FP32, Format::PAPER_HIGH, Format::PAPER_LOW_FORWARD, Format::PAPER_LOW_BACKWARD, Format::BF16];

fn shape(channels: usize, side: usize) -> Shape {
    Shape(vec![Dim::BATCH, Dim::fixed(channels), Dim::fixed(side), Dim::fixed(side)])
}

fn pool(k: usize) -> MaxPool {
    let (kernel, pads) = ([2 + k % 2; 2], [k % 2; 2]);
    MaxPool { kernel, strides: [2; 2], pads_begin: pads, pads_end: pads, dilations: [1; 2], ceil: false }
}

/// An operator by number, with an attribute by number; of two operands or one.
fn operator(kind: usize, k: usize) -> (Op, usize) {
    let bounds = [0.0, -0.25, 1.3].map(Real)[k % 3];
    let MaxPool { kernel, strides, pads_begin, pads_end, dilations, ceil } = pool(k);
    let half = (shape(2, 4), vec![0, [0, 2, 1, 0][k % 4], 0, 0], vec![1, [1, 1, 1, 2][k % 4], 1, 1]);
    let groups = Shape(vec![Dim::BATCH, Dim::fixed(2), Dim::fixed(2), Dim::fixed(4), Dim::fixed(4)]);
    match kind {
        0 => (Relu {}.into(), 1),
        1 => (Clip { min: bounds, max: Real(6.0) }.into(), 1),
        2 => (LeakyRelu { alpha: Real(0.1) }.into(), 1),
        3 => (ReluGrad {}.into(), 2),
        4 => (ClipGrad { min: bounds, max: Real(6.0) }.into(), 2),
        5 => (LeakyReluGrad { alpha: Real(0.1) }.into(), 2),
        6 => (Reshape { shape: [shape(4, 4), shape(16, 2), shape(64, 1), groups][k % 4].clone() }.into(), 1),
        7 => (Transpose { perm: [vec![0, 1, 2, 3], vec![0, 2, 1, 3], vec![0, 2, 1, 3, 4]][k % 3].clone() }.into(), 1),
        8 => (Slice { shape: half.0, begin: half.1, step: half.2 }.into(), 1),
        9 => (SliceScatter { shape: shape(4, 4), begin: half.1, step: half.2 }.into(), 1),
        10 => (Concat { axis: 1 }.into(), 1 + k % 3),
        11 => (Sum {}.into(), 1 + k % 3),
        12 => (pool(k).into(), 1),
        13 => (MaxPoolIndices { kernel, strides, pads_begin, pads_end, dilations, ceil }.into(), 1),
        14 => (MaxPoolGrad { kernel, strides, pads_begin, pads_end, dilations, ceil, input: shape(4, 4) }.into(), 2),
        15 => (Scale { by: Real([1.0, 2.0][k % 2]) }.into(), 1),
        _ => (Cast {}.into(), 1),
    }
}

/// The graph of operators on earlier nodes, where their types fit, with formats as an assignment has them.
fn random(steps: &[[usize; 5]]) -> (Graph, Vec<Format>) {
    let mut graph = Graph::new("random");
    let x = graph.source(Input { name: "x".into(), target: false }, TensorType::f32(shape(4, 4)));
    let w = graph.source(Parameter { name: "w".into() }, TensorType::f32(shape(2, 4)));
    let g = graph.source(Input { name: "g".into(), target: false }, TensorType::f32(shape(4, 4)));
    let scale = graph.source(Scalar { kind: bitbudget_ir::ScalarKind::LossScale }, TensorType::scalar());
    let dy = graph.add(Mul {}, &[g, scale]).unwrap();
    graph.set_role(dy, Role::OutputGradient { of: x });
    let mut formats = vec![Format::FP32; graph.len()];
    let mut nodes = vec![x, w, dy];
    for &[kind, k, format, first, more] in steps {
        let (op, count) = operator(kind, k);
        let mut start = vec![nodes[first % nodes.len()]];
        start.extend((1..count).map(|i| nodes[(more + i) % nodes.len()]));
        let Ok(id) = graph.add(op, &start) else { continue };
        let role = match format / FORMATS.len() % 3 {
            0 => Role::Internal,
            1 => Role::Output,
            _ => Role::OutputGradient { of: x },
        };
        let relabels = graph.op(id).precision() == Precision::Relabel;
        let is_number = graph.ty(id).dtype == bitbudget_ir::DType::F32;
        formats.push(match role {
            _ if relabels => formats[start[0].index()],
            Role::Internal => Format::FP32,
            _ if !is_number => Format::FP32,
            _ => FORMATS[format % FORMATS.len()],
        });
        graph.set_role(id, role);
        nodes.push(id);
    }
    for (at, &id) in
        nodes.iter().enumerate().skip(3).filter(|(at, id)| !graph.has_readers(**id) || at % 5 == 0).collect::<Vec<_>>()
    {
        graph.set_output(format!("y{at}"), id);
    }
    (graph, formats)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn alternatives_of_random_graphs_give_the_same_bits(
        steps in proptest::collection::vec((0usize..17, 0usize..12, 0usize..15, 0usize..40, 0usize..40), 1..40),
        seed in 0usize..100, special in any::<bool>()
    ) {
        let steps: Vec<[usize; 5]> = steps.into_iter().map(|(a, b, c, d, e)| [a, b, c, d, e]).collect();
        let (graph, formats) = random(&steps);
        common::check(&graph.stored_in(&formats), seed, special);
    }
}

/// A chain of rectifiers and other things with its gradient, of about `nodes` nodes.
fn chain(nodes: usize) -> Graph {
    let mut graph = Graph::new("chain");
    let ty = TensorType::f32(vec![Dim::BATCH, Dim::fixed(8)]);
    let x = graph.source(Input { name: "x".into(), target: false }, ty);
    let mut last = x;
    for at in 0..nodes / 2 {
        last = match at % 4 {
            0 => graph.add(Tanh {}, &[last]).unwrap(),
            1 => graph.add(Relu {}, &[last]).unwrap(),
            2 => graph.add(Reshape { shape: vec![Dim::BATCH, Dim::fixed(2), Dim::fixed(4)].into() }, &[last]).unwrap(),
            _ => graph.add(Reshape { shape: vec![Dim::BATCH, Dim::fixed(8)].into() }, &[last]).unwrap(),
        };
    }
    let scale = graph.source(Scalar { kind: bitbudget_ir::ScalarKind::LossScale }, TensorType::scalar());
    let shape = graph.ty(last).shape.clone();
    let dy = graph.add(Broadcast { shape }, &[scale]).unwrap();
    let dx = bitbudget_autodiff::gradients(&mut graph, last, dy, &[x]).unwrap()[0].unwrap();
    graph.set_output("dx", dx);
    graph
}

#[test]
fn long_chains_take_time_in_proportion() {
    let mut per_node = Vec::new();
    for nodes in [2_500, 5_000, 10_000, 20_000] {
        let graph = chain(nodes);
        let start = Instant::now();
        let found = alternatives(&graph, Rules::Exact, &Limits::default());
        let saturated = start.elapsed();
        let rewritten = extract(&graph, &found).unwrap();
        let terms: usize = found.classes.iter().map(|class| class.terms.len()).sum();
        println!(
            "{} nodes: {terms} terms, {saturated:.0?} and {:.0?}, {} left",
            graph.len(),
            start.elapsed() - saturated,
            rewritten.len()
        );
        assert_eq!(found.note, None);
        per_node.push(terms as f64 / graph.len() as f64);
    }
    assert!(per_node.iter().all(|terms| (terms - per_node[0]).abs() < 0.1), "{per_node:?}");
}

#[test]
fn limits_are_kept_and_said() {
    let graph = chain(200);
    let some = alternatives(&graph, Rules::Exact, &Limits { terms: graph.len() + 10, ..Limits::default() });
    assert!(some.note.as_ref().unwrap().starts_with("stopped at"), "{:?}", some.note);
    let none = alternatives(&graph, Rules::Exact, &Limits { visits: 0, ..Limits::default() });
    assert!(none.note.as_ref().unwrap().starts_with("stopped after"), "{:?}", none.note);
    // What was found by then is as good as any.
    for found in [some, none] {
        let rewritten = extract(&graph, &found).unwrap();
        bitbudget_ir::verify(&rewritten).unwrap();
        let last = rewritten.output("dx").unwrap();
        assert_eq!(
            rewritten.origin(last),
            found.of.iter().position(|&c| c == found.roots[0]).map(|at| TrainingId(at as u32))
        );
    }
}
