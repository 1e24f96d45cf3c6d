//! A first training step with every tensor rounded as assigned, against the authors' simulation (`../shared/oracle/training`).

#![expect(clippy::unwrap_used, reason = "a failure in a test's own function fails the test")]

use bitbudget_autodiff::{Optimizer, training};
use bitbudget_formats::{Format, Overflow, Rounder};
use bitbudget_ir::{Array, Graph, NodeId, Op, Role, ScalarKind};
use bitbudget_precision::{Formats, Method, assign};
use bitbudget_zoo::{Network, Spec, build};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

const BATCH: usize = 16;
const LOSS_SCALE: f32 = 1024.0;

/// The arrays of an archive; `None` if the file is absent.
fn arrays(file: &str) -> Option<BTreeMap<String, Vec<f32>>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracle/training").join(file);
    let Ok(opened) = File::open(&path) else {
        eprintln!("skipped: {} is absent", path.display());
        return None;
    };
    let mut archive = zip::ZipArchive::new(opened).unwrap();
    let mut found = BTreeMap::new();
    for i in 0..archive.len() {
        let mut member = archive.by_index(i).unwrap();
        let name = member.name().trim_end_matches(".npy").to_string();
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).unwrap();
        let read = || npyz::NpyFile::new(&bytes[..]).unwrap();
        let values = read().into_vec::<f32>();
        let values = values.unwrap_or_else(|_| read().into_vec::<i64>().unwrap().iter().map(|&n| n as f32).collect());
        found.insert(name, values);
    }
    Some(found)
}

fn source(graph: &Graph, id: NodeId, init: &BTreeMap<String, Vec<f32>>) -> Array<f32> {
    let shape = graph.ty(id).shape.at(BATCH);
    let elements: usize = shape.iter().product();
    let values = match graph.op(id) {
        Op::Input(op) if !op.target => init["X"][..elements].to_vec(),
        Op::Input(_) => init["Y"][..elements].to_vec(),
        Op::Scalar(scalar) => match scalar.kind {
            ScalarKind::LossScale => vec![LOSS_SCALE],
            ScalarKind::InverseLossScale => vec![1.0 / LOSS_SCALE],
            _ => vec![0.1],
        },
        op => init.get(&format!("w/{}", op.source_name().unwrap())).cloned().unwrap_or_else(|| vec![0.0; elements]),
    };
    Array::new(&shape, values)
}

/// The step in FP32 arithmetic, each node's result rounded to its format.
fn step(graph: &Graph, formats: &[Format], init: &BTreeMap<String, Vec<f32>>) -> Vec<Array<f32>> {
    let mut results: Vec<Array<f32>> = Vec::new();
    for id in graph.ids() {
        let mut result = if graph.op(id).source_name().is_some() {
            source(graph, id, init)
        } else {
            let operands = graph.operands(id);
            let inputs: Vec<&Array<f32>> = operands.iter().map(|o| &results[o.index()]).collect();
            graph.op(id).evaluate(&inputs, &graph.ty(id).shape.at(BATCH))
        };
        if formats[id.index()] != Format::FP32 {
            let overflow = match graph.node(id).role {
                Role::OutputGradient { .. } | Role::ParameterGradient { .. } => Overflow::NotFinite,
                _ => Overflow::Saturate,
            };
            let rounder = Rounder::new(formats[id.index()], overflow);
            result.data.iter_mut().for_each(|x| *x = rounder.round(*x));
        }
        results.push(result);
    }
    results
}

/// The Euclidean distance of `a` from `b`, relative to the length of `b`.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let square = |(x, y): (&f32, &f32)| f64::from(x - y).powi(2);
    let norm: f64 = b.iter().map(|&y| f64::from(y).powi(2)).sum();
    (a.iter().zip(b).map(square).sum::<f64>() / norm).sqrt()
}

/// Logits and gradients are far nearer to the authors' with the assignment than without.
///
/// Where two sums differ in their last bit, a value that lies half-way between two numbers of a short format can round the
/// other way, and backwards through the layers such differences grow. So a low-precision step is not compared bit by bit.
fn check(network: Network, width: f64, file: &str, assignment: &str, method: Method, low_ratio: f64, near: f64) {
    let Some(init) = arrays(&format!("{file}_init.npz")) else { return };
    let Some(plain) = arrays(&format!("{file}_FP32_step1.npz")) else { return };
    let Some(expected) = arrays(&format!("{file}_{assignment}_step1.npz")) else { return };
    let spec = Spec { network, width, classes: 10, input: [3, 32, 32], seed: 0, ..Spec::default() };
    let graph = training(&build(&spec).unwrap().graph, &Optimizer::sgd()).unwrap();
    let assigned = assign(&graph, BATCH, method, low_ratio, 0, Formats::PAPER).unwrap();
    let results = step(&graph, &assigned.formats, &init);

    let logits = &results[graph.output("logits").unwrap().index()].data;
    assert!(distance(&plain["logits"], &expected["logits"]) > 0.1);
    assert!(distance(logits, &expected["logits"]) < 0.1 * near, "{}", distance(logits, &expected["logits"]));
    let loss = results[graph.output("loss").unwrap().index()].data[0];
    assert!((loss - expected["loss"][0]).abs() <= 1.0 / 256.0, "{loss} against {}", expected["loss"][0]);

    let (mut ours, mut without, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for id in graph.ids() {
        if let Role::ParameterGradient { of } = graph.node(id).role {
            let key = format!("grad/{}", graph.node(of).name);
            ours.extend(results[id.index()].data.iter().map(|g| g / LOSS_SCALE));
            without.extend(&plain[&key]);
            theirs.extend(&expected[&key]);
        }
    }
    assert!(distance(&without, &theirs) > 0.3);
    assert!(distance(&ours, &theirs) < 0.3 * near, "{} {}", distance(&ours, &theirs), distance(&without, &theirs));
}

#[test]
fn squeezenet_with_everything_low() {
    check(Network::SqueezeNet, 0.25, "sqz_wm0.25", "r10", Method::Demote, 1.0, 1e-3);
}

#[test]
fn squeezenet_by_operator() {
    check(Network::SqueezeNet, 0.25, "sqz_wm0.25", "pi_op", Method::Operator, 0.0, 0.5);
}

#[test]
fn resnet_with_half_of_it_low() {
    check(Network::ResNet18, 0.1, "res18_wm0.1", "r05", Method::Demote, 0.5, 0.5);
}
