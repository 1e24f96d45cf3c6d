//! Rewriting changes no bit: every alternative of every tensor, computed by the reference interpreter.
#![allow(dead_code, reason = "not every test uses all of it")]

use bitbudget_formats::{Format, Overflow, Rounder};
use bitbudget_ir::{Array, DType, Graph, Op, Stored, TrainingId, verify};
use bitbudget_rewrite::{Alternatives, Computes, Limits, Rules, alternatives, rewrite};
use std::collections::BTreeMap;

pub(crate) const BATCH: usize = 2;

/// Numbers between which roundings differ, and those that are treated specially.
const SPECIAL: [f32; 10] = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e30, -1e30, 1e-30, -1e-30, 0.3];

/// Values of all sources; every seventh number is a special one where `special`.
pub(crate) fn values(graph: &Graph, seed: usize, special: bool) -> BTreeMap<String, Array<f32>> {
    let mut values = BTreeMap::new();
    for id in graph.ids() {
        let Some(name) = graph.op(id).source_name() else { continue };
        let shape = graph.ty(id).shape.at(BATCH);
        // By name, since ids differ.
        let seed = seed + name.bytes().map(usize::from).sum::<usize>();
        let mut numbers = bitbudget_testkit::numbers(shape.iter().product(), seed);
        match graph.op(id) {
            Op::Input(op) if op.target => numbers.fill(1.0),
            Op::State(_) | Op::Scalar(_) => numbers.fill(0.5),
            _ if special => {
                let marked = numbers.iter_mut().enumerate().filter(|(at, _)| (at + seed).is_multiple_of(7));
                marked.for_each(|(at, number)| *number = SPECIAL[(at + seed) / 7 % SPECIAL.len()]);
            }
            _ => numbers.iter_mut().for_each(|number| *number *= 3.0),
        }
        values.insert(name.to_string(), Array::new(&shape, numbers));
    }
    values
}

fn rounded(mut array: Array<f32>, format: Format, overflow: Overflow) -> Array<f32> {
    Rounder::new(format, overflow).round_slice(&mut array.data);
    array
}

/// Every node's result, rounded as programs round it.
pub(crate) fn run(graph: &Graph, values: &BTreeMap<String, Array<f32>>) -> Vec<Array<f32>> {
    let mut results: Vec<Array<f32>> = Vec::new();
    for id in graph.ids() {
        let op = graph.op(id);
        let exact = match op.source_name() {
            Some(name) => values[name].clone(),
            None => {
                let operands: Vec<&Array<f32>> = graph.operands(id).iter().map(|o| &results[o.index()]).collect();
                op.evaluate(&operands, &graph.ty(id).shape.at(BATCH))
            }
        };
        results.push(match graph.rounding(id).filter(|_| graph.ty(id).dtype == DType::F32) {
            Some(Stored { format, overflow, .. }) => rounded(exact, format, overflow),
            None => exact,
        });
    }
    results
}

/// In what numbers may differ that count as equal; any NaN is one.
#[derive(Clone, Copy)]
pub(crate) struct Tolerance {
    /// In the sign of a zero.
    zeros: bool,
    /// By as much as this.
    difference: Option<f32>,
}

/// Whether two tensors are equal.
pub(crate) fn same(a: &Array<f32>, b: &Array<f32>, tolerance: Tolerance) -> bool {
    let Tolerance { zeros, difference } = tolerance;
    let equal = |(a, b): (&f32, &f32)| {
        a.to_bits() == b.to_bits()
            || a.is_nan() && b.is_nan()
            || zeros && *a == 0.0 && *b == 0.0
            || difference.is_some_and(|difference| (a - b).abs() <= difference)
    };
    a.shape == b.shape && a.data.iter().zip(&b.data).all(equal)
}

/// Checks that every alternative of every tensor gives its bits, and that the rewritten graph does.
pub(crate) fn check(graph: &Graph, seed: usize, special: bool) -> (Alternatives, Graph) {
    check_values(graph, Rules::Exact, values(graph, seed, special), None)
}

/// The same where rules reassociate: finite numbers may differ by so much.
pub(crate) fn check_within(graph: &Graph, seed: usize, difference: f32) -> (Alternatives, Graph) {
    check_values(graph, Rules::Reassociating, values(graph, seed, false), Some(difference))
}

fn check_values(
    graph: &Graph,
    rules: Rules,
    values: BTreeMap<String, Array<f32>>,
    difference: Option<f32>,
) -> (Alternatives, Graph) {
    let found = alternatives(graph, rules, &Limits::default());
    assert_eq!(found.note, None);
    assert_eq!(found, alternatives(graph, rules, &Limits::default()), "the same every time");
    let rewritten = rewrite(graph, rules).unwrap();
    verify(&rewritten).unwrap();
    // The one exact rule that does not keep the sign of a zero.
    let zeros = found.fired.iter().any(|(rule, times)| *rule == "sum-of-parts" && *times > 0);
    let tolerance = Tolerance { zeros, difference };
    let results = run(graph, &values);
    check_terms(graph, &found, &results, tolerance);
    let again = run(&rewritten, &values);
    for id in rewritten.ids() {
        for origin in &rewritten.node(id).origin.stands_for {
            let (old, new) = (&results[origin.index()], &again[id.index()]);
            assert!(same(old, new, tolerance), "{origin} {old:?} became {id} {new:?} in\n{rewritten}\nof\n{graph}");
        }
    }
    let names = |graph: &Graph| graph.outputs().iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&rewritten), names(graph));
    assert_eq!(rewritten.updates().len(), graph.updates().len());
    for (&(old, _), &(new, _)) in graph.updates().iter().zip(rewritten.updates()) {
        assert_eq!(graph.op(old), rewritten.op(new));
    }
    let origins: Vec<TrainingId> = rewritten.ids().filter_map(|id| rewritten.origin(id)).collect();
    assert!(origins.is_sorted(), "nodes keep their order");
    (found, rewritten)
}

/// Computes every term of every class from the classes' tensors.
fn check_terms(graph: &Graph, found: &Alternatives, results: &[Array<f32>], tolerance: Tolerance) {
    let mut tensors: Vec<Option<Array<f32>>> = vec![None; found.classes.len()];
    for (result, class) in results.iter().zip(&found.of) {
        let known = tensors[class.index()].get_or_insert_with(|| result.clone());
        assert!(same(known, result, tolerance), "nodes of one class differ in {graph}");
    }
    let mut pending: Vec<(usize, usize)> = Vec::new();
    for (at, class) in found.classes.iter().enumerate() {
        pending.extend((0..class.terms.len()).map(|term| (at, term)));
    }
    while !pending.is_empty() {
        let before = pending.len();
        pending.retain(|&(at, term)| {
            let class = &found.classes[at];
            let term = &class.terms[term];
            let operands: Option<Vec<&Array<f32>>> =
                term.operands.iter().map(|o| tensors[o.index()].as_ref()).collect();
            let Some(operands) = operands else { return true };
            let result = match &term.computes {
                // A rounded input is known only as what it was rounded to.
                Computes::Op(op) if op.source_name().is_some() => match graph.ids().find(|&id| graph.op(id) == op) {
                    Some(id) if found.of[id.index()].index() == at => results[id.index()].clone(),
                    _ => return false,
                },
                Computes::Op(op) => op.evaluate(&operands, &class.ty.shape.at(BATCH)),
                Computes::Round(rounding) => rounded(operands[0].clone(), rounding.format, rounding.overflow),
            };
            match &tensors[at] {
                Some(known) => {
                    assert!(same(known, &result, tolerance), "{term:?} is {result:?}, not {known:?}, in\n{graph}");
                }
                None => tensors[at] = Some(result),
            }
            false
        });
        if pending.len() == before {
            return;
        }
    }
}
