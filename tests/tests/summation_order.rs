//! How much of a gradient at r = 0.5 is left when nothing but the order of summation changes: the reference interpreter in
//! FP32 against itself in FP64, every result rounded to FP32 and then to its format.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget::{Compiled, Options, compile};
use bitbudget_formats::{Format, Overflow, Rounder};
use bitbudget_ir::{Array, DType, Float, NodeId, Op, Precision, Role};
use bitbudget_precision::Method;
use bitbudget_zoo::{Network, Spec, build};
use std::collections::BTreeMap;

const BATCH: usize = 8;

fn source<F: Float>(compiled: &Compiled, id: NodeId, name: &str) -> Array<F> {
    let ty = compiled.training.ty(id);
    let shape = ty.shape.at(BATCH);
    let count = shape.iter().product();
    let spread = |i: usize| ((i as f64 * 0.618_033_988_749_895).fract() - 0.5) * 3.4;
    let data = (0..count).map(|i| {
        F::of(match (name, ty.dtype, compiled.values.get(name)) {
            (_, DType::I32, _) => (i % 10) as f64,
            ("loss_scale", ..) => 1024.0,
            (_, _, Some(values)) => f64::from(values[i]),
            _ => f64::from(spread(i) as f32),
        })
    });
    Array::new(&shape, data.collect())
}

fn rounded<F: Float>(compiled: &Compiled, id: NodeId, mut result: Array<F>) -> Array<F> {
    let (graph, format) = (&compiled.training, compiled.assignment.formats[id.index()]);
    let gradient = matches!(graph.node(id).role, Role::OutputGradient { .. } | Role::ParameterGradient { .. });
    let rounder = Rounder::new(format, if gradient { Overflow::NotFinite } else { Overflow::Saturate });
    let rounds = format != Format::FP32 && graph.op(id).precision() != Precision::Relabel;
    for x in &mut result.data {
        let fp32 = x.f64() as f32;
        *x = F::of(f64::from(if rounds { rounder.round(fp32) } else { fp32 }));
    }
    result
}

/// All parameter gradients of one step, one after the other.
fn gradients<F: Float>(compiled: &Compiled) -> Vec<f64> {
    let graph = &compiled.training;
    let mut results: BTreeMap<NodeId, Array<F>> = BTreeMap::new();
    let mut gradients = Vec::new();
    for id in graph.ids().take_while(|&id| !matches!(graph.op(id), Op::AllFinite(_))) {
        let result = match graph.op(id).source_name() {
            Some(name) => source(compiled, id, name),
            None => {
                let operands: Vec<&Array<F>> = graph.operands(id).iter().map(|o| &results[o]).collect();
                graph.op(id).evaluate(&operands, &graph.ty(id).shape.at(BATCH))
            }
        };
        let result = rounded(compiled, id, result);
        if let Role::ParameterGradient { .. } = graph.node(id).role {
            gradients.extend(result.data.iter().map(|x| x.f64()));
        }
        results.insert(id, result);
    }
    gradients
}

fn cosine(method: Method, low_ratio: f64) -> f64 {
    let spec =
        Spec { network: Network::ResNet18, width: 0.1, classes: 10, input: [3, 16, 16], seed: 0, ..Spec::default() };
    let options = Options { batch: BATCH, method, low_ratio, ..Options::default() };
    let compiled = compile(build(&spec).unwrap(), &options).unwrap();
    let (a, b) = (gradients::<f32>(&compiled), gradients::<f64>(&compiled));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

#[test]
fn the_order_of_summation_matters_where_formats_are_mixed() {
    let (fp32, mixed) = (cosine(Method::Fp32, 0.0), cosine(Method::Demote, 0.5));
    println!("cosine between two orders of summation: fp32 {fp32:.6}, r = 0.5 {mixed:.6}");
    assert!(fp32 > 0.99999, "{fp32}");
    assert!((0.9..0.999).contains(&mixed), "{mixed}");
}
