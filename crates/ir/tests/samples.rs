//! Every operator's samples: inference agrees with evaluation, the text form round-trips, the verifier is content.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_ir::{Bindings, Graph, Op, Sample, interpret, verify};
use bitbudget_testkit::values;

fn bindings(sample: &Sample) -> Bindings<f64> {
    Bindings { batch: 1, values: values(sample) }
}

#[test]
fn every_computing_operator_has_samples() {
    let sources = ["input", "label", "parameter", "state", "constant", "scalar"];
    for (name, samples) in Op::all_samples() {
        assert_eq!(samples.is_empty(), sources.contains(&name), "{name}");
    }
    assert_eq!(Op::all_samples().len(), Op::NAMES.len());
}

#[test]
fn inferred_shapes_are_those_of_the_results() {
    for (name, samples) in Op::all_samples() {
        for sample in samples {
            verify(&sample.graph).unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
            let results = interpret(&sample.graph, &bindings(&sample)).unwrap();
            for id in sample.graph.ids() {
                let result = &results[id.index()];
                assert_eq!(result.shape, sample.graph.ty(id).shape.at(1), "{name}: {id}");
                assert_eq!(result.data.len(), result.shape.iter().product::<usize>(), "{name}: {id}");
                assert!(result.data.iter().all(|x| x.is_finite()), "{name}: {id}");
            }
        }
    }
}

#[test]
fn samples_round_trip_through_text() {
    for (name, samples) in Op::all_samples() {
        for sample in samples {
            let text = sample.graph.to_string();
            let again: Graph = text.parse().unwrap_or_else(|e| panic!("{name}: {e}\n{text}"));
            assert_eq!(again.to_string(), text);
            verify(&again).unwrap();
            for id in again.ids() {
                assert_eq!(again.node(id), sample.graph.node(id));
                assert_eq!(again.operands(id), sample.graph.operands(id));
            }
        }
    }
}

#[test]
fn operands_of_the_wrong_count_are_refused_and_never_panic() {
    for (name, samples) in Op::all_samples() {
        let operands = |sample: &Sample| sample.graph.operands(sample.graph.output("y").unwrap()).len();
        let of = |sample: &Sample| sample.graph.op(sample.graph.output("y").unwrap()).clone();
        // Samples leave out what may be left out.
        let counts: Vec<(Op, usize)> = samples.iter().map(|sample| (of(sample), operands(sample))).collect();
        for sample in samples {
            let (y, op) = (sample.graph.output("y").unwrap(), of(&sample));
            let by_attributes = ["logical", "recurrent", "recurrent_grad"].contains(&name);
            let is_like = |other: &Op| !by_attributes || *other == op;
            let types: Vec<_> = sample.graph.operands(y).iter().map(|&o| sample.graph.ty(o).clone()).collect();
            let refs: Vec<_> = types.iter().collect();
            assert!(op.infer(&refs).is_ok(), "{name}");
            let variadic = ["sum", "concat", "all_finite"].contains(&name);
            for count in 0..refs.len() {
                let fine = counts.iter().any(|(other, n)| *n == count && is_like(other))
                    || (variadic && (count > 0 || name == "all_finite"));
                assert_eq!(op.infer(&refs[..count]).is_ok(), fine, "{name} with {count} operands");
            }
            let doubled: Vec<_> = refs.iter().chain(&refs).copied().collect();
            assert_eq!(op.infer(&doubled).is_ok(), variadic, "{name} with twice its operands");
        }
    }
}
