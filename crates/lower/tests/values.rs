//! Lowered programs compute what the graph says: in FP32 the reference interpreter's numbers, in other formats those of
//! an interpretation that rounds each result as its tensor's role says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

mod common;

use bitbudget_autodiff::Optimizer;
use bitbudget_exec::{self as exec, Executor, Inputs, Target, Values};
use bitbudget_formats::{Format, Overflow, Rounder};
use bitbudget_ir::{Array, Bindings, DType, Graph, NodeId, Op, Precision, Role, interpret};
use bitbudget_program::{BufferId, Source};
use bitbudget_testkit::numbers;
use common::{formats, graph, lowered};
use std::collections::BTreeMap;

const BATCH: usize = 4;
const SCALE: f32 = 64.0;
const RATE: f32 = 0.05;

/// Values of everything that the graph keeps.
fn initial(graph: &Graph) -> BTreeMap<String, Vec<f32>> {
    let mut values = BTreeMap::new();
    for id in graph.ids() {
        let count = graph.ty(id).shape.elements(BATCH);
        match graph.op(id) {
            Op::Parameter(op) if op.name == "scale" => values.insert(op.name.clone(), vec![1.0; count]),
            Op::Parameter(op) => values.insert(op.name.clone(), numbers(count, op.name.len())),
            Op::State(op) => values.insert(op.name.clone(), vec![if op.name == "var" { 1.0 } else { 0.0 }; count]),
            _ => None,
        };
    }
    values
}

fn bindings(kept: &BTreeMap<String, Vec<f32>>, step: usize) -> Bindings<f32> {
    let mut values = kept.clone();
    let bias = |beta: f64| vec![(1.0 - beta.powi(step as i32 + 1)) as f32];
    values.insert("x".into(), numbers(BATCH * 32, 10 + step));
    values.insert("labels".into(), (0..BATCH).map(|i| ((i + step) % 5) as f32).collect());
    values.insert("loss_scale".into(), vec![SCALE]);
    values.insert("inverse_loss_scale".into(), vec![SCALE.recip()]);
    values.insert("learning_rate".into(), vec![RATE]);
    values.insert("first_bias".into(), bias(0.9));
    values.insert("second_bias".into(), bias(0.999));
    Bindings { batch: BATCH, values }
}

/// One step of the lowered program: results by node, which the executor shows as soon as they are stored.
fn execute(
    graph: &Graph,
    formats: &[Format],
    kept: &mut Values,
    executor: &mut Executor,
    bindings: &Bindings<f32>,
    step: usize,
) -> Vec<Option<Vec<f32>>> {
    let program = lowered(graph, formats, BATCH);
    let labels: Vec<i32> = bindings.values["labels"].iter().map(|&l| l as i32).collect();
    let inputs = program.inputs().map(|input| match input.dtype {
        DType::F32 => (input.name.as_str(), exec::Array::f32(&input.shape, &bindings.values[&input.name])),
        DType::I32 | DType::Bool | DType::Index8 => (input.name.as_str(), exec::Array::integers(&input.shape, &labels)),
    });
    let loss_scale = bindings.values["loss_scale"][0];
    let inputs = Inputs { loss_scale, learning_rate: RATE, ..Inputs::new(inputs) };
    kept.progress.updates = step as u32;
    let mut results = vec![None; program.buffers.len()];
    executor
        .run_observed(&program, kept, &inputs, &mut |id: BufferId, numbers| {
            // A kept tensor is shown with its new value, which is compared as such.
            if program.buffer(id).source != Source::Kept {
                results[id.index()] = Some(numbers.to_vec());
            }
        })
        .unwrap();
    results
}

fn close(actual: &[f32], expected: &[f32], what: &str) {
    assert_eq!(actual.len(), expected.len());
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!((a - e).abs() <= 1e-5 * (1.0 + e.abs()), "{what}[{i}]: {a}, not {e}");
    }
}

#[test]
fn three_steps_in_fp32_are_those_of_the_reference() {
    for optimizer in [Optimizer::sgd(), Optimizer::adamw()] {
        let graph = graph(&optimizer);
        let formats = vec![Format::FP32; graph.len()];
        let mut executor = Executor::new(Target::Cpu, 2).unwrap();
        let mut expected = initial(&graph);
        let program = lowered(&graph, &formats, BATCH);
        let mut kept = Values::new(&program, &expected, executor.device()).unwrap();
        for step in 0..3 {
            let bindings = bindings(&expected, step);
            let reference = interpret(&graph, &bindings).unwrap();
            let results = execute(&graph, &formats, &mut kept, &mut executor, &bindings, step);
            let mut compared = 0;
            for id in graph.ids() {
                if let Some(actual) = &results[id.index()] {
                    // Gradients carry the loss scale.
                    let scaled: Vec<f32> = actual.iter().map(|x| x / SCALE).collect();
                    let wanted: Vec<f32> = reference[id.index()].data.iter().map(|x| x / SCALE).collect();
                    close(&scaled, &wanted, &format!("step {step}, {id} {}", graph.op(id).name()));
                    compared += 1;
                }
            }
            assert!(compared > 20);
            for &(target, value) in graph.updates() {
                expected.insert(graph.node(target).name.clone(), reference[value.index()].data.clone());
            }
            for (name, value) in kept.download().unwrap() {
                close(&value, &expected[&name], &format!("step {step}, {name}"));
                if !name.contains('.') || step > 0 {
                    assert!(value.iter().any(|&x| x != 0.0), "{name} did not move");
                }
            }
        }
    }
}

/// The rounding of a node's result: gradients become not finite; a node that only relabels holds numbers of the format already.
fn rounder(graph: &Graph, formats: &[Format], id: NodeId) -> Option<Rounder> {
    let format = formats[id.index()];
    let overflow = match graph.node(id).role {
        Role::OutputGradient { .. } | Role::ParameterGradient { .. } => Overflow::NotFinite,
        _ => Overflow::Saturate,
    };
    let source = graph.op(id).source_name().is_some() && !matches!(graph.op(id), Op::Input(_));
    (!source && graph.op(id).precision() != Precision::Relabel).then(|| Rounder::new(format, overflow))
}

/// The graph node by node, each result rounded. Operands are the executed ones, so that every node is judged by itself.
fn rounded(
    graph: &Graph,
    formats: &[Format],
    bindings: &Bindings<f32>,
    executed: &[Option<Vec<f32>>],
) -> Vec<Array<f32>> {
    let plain = interpret(graph, bindings).unwrap();
    let mut operands: Vec<Array<f32>> = Vec::new();
    let mut results = Vec::new();
    for id in graph.ids() {
        let shape = graph.ty(id).shape.at(BATCH);
        let inputs: &[NodeId] = graph.operands(id);
        let inputs: Vec<&Array<f32>> = inputs.iter().map(|o| &operands[o.index()]).collect();
        let result = match graph.op(id).source_name() {
            Some(_) => plain[id.index()].clone(),
            None => graph.op(id).evaluate(&inputs, &shape),
        };
        let result = match rounder(graph, formats, id) {
            Some(rounder) => result.map(|x| rounder.round(x)),
            None => result,
        };
        let operand = executed[id.index()].clone().map_or(result.clone(), |data| Array::new(&shape, data));
        results.push(result);
        operands.push(operand);
    }
    results
}

/// The distance of neighbouring numbers of a format around a magnitude.
fn unit(format: Format, x: f32) -> f32 {
    let exponent = x.abs().max(format.min_normal()).log2().floor() as i32;
    2f32.powi(exponent - format.mantissa_bits() as i32)
}

#[test]
fn mixed_formats_round_each_result_by_its_role() {
    let graph = graph(&Optimizer::sgd());
    let low = |role| match role {
        Role::OutputGradient { .. } | Role::ParameterGradient { .. } => Format::PAPER_LOW_BACKWARD,
        _ => Format::PAPER_LOW_FORWARD,
    };
    let mut turn = 0;
    let mut mixed = |role| {
        turn += 1;
        [low(role), Format::PAPER_HIGH, Format::BF16, Format::E5M2, Format::FP32][turn % 5]
    };
    for formats in [formats(&graph, low), formats(&graph, |_| Format::PAPER_HIGH), formats(&graph, &mut mixed)] {
        let mut executor = Executor::new(Target::Cpu, 2).unwrap();
        let program = lowered(&graph, &formats, BATCH);
        let mut expected = initial(&graph);
        let mut kept = Values::new(&program, &expected, executor.device()).unwrap();
        for step in 0..3 {
            let bindings = bindings(&expected, step);
            let executed = execute(&graph, &formats, &mut kept, &mut executor, &bindings, step);
            let reference = rounded(&graph, &formats, &bindings, &executed);
            let (mut elements, mut differing) = (0, 0);
            for id in graph.ids() {
                let Some(actual) = &executed[id.index()] else { continue };
                let (format, wanted) = (formats[id.index()], &reference[id.index()].data);
                if format == Format::FP32 || rounder(&graph, &formats, id).is_none() {
                    let norm = wanted.iter().fold(0.0f32, |max, x| max.max(x.abs()));
                    let worst = actual.iter().zip(wanted).fold(0.0f32, |max, (a, w)| max.max((a - w).abs()));
                    assert!(worst <= 1e-5 * (1.0 + norm), "{id} {}: off by {worst}", graph.op(id).name());
                    continue;
                }
                elements += wanted.len();
                for (&a, &w) in actual.iter().zip(wanted) {
                    differing += usize::from(a.to_bits() != w.to_bits());
                    assert!((a - w).abs() <= 1.001 * unit(format, w), "{id} {}: {a}, not {w}", graph.op(id).name());
                }
                if let Role::ParameterGradient { .. } = graph.node(id).role {
                    let dot =
                        |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
                    let cosine = dot(actual, wanted) / (dot(actual, actual) * dot(wanted, wanted)).sqrt();
                    assert!(cosine > 0.9999, "{id}: cosine {cosine}");
                }
            }
            assert!(elements > 500, "{elements} rounded elements");
            // The order of summation may turn a rounding.
            assert!(differing * 1000 <= elements, "{differing} of {elements} differ");
            expected = kept.download().unwrap();
        }
    }
}

#[test]
fn gradients_beyond_their_format_are_not_finite_and_leave_masters_alone() {
    let graph = graph(&Optimizer::sgd());
    let formats = formats(&graph, |role| match role {
        Role::OutputGradient { .. } | Role::ParameterGradient { .. } => Format::PAPER_LOW_BACKWARD,
        _ => Format::PAPER_HIGH,
    });
    let initial = initial(&graph);
    let mut executor = Executor::new(Target::Cpu, 2).unwrap();
    let mut kept = Values::new(&lowered(&graph, &formats, BATCH), &initial, executor.device()).unwrap();
    let mut bindings = bindings(&initial, 0);
    bindings.values.insert("loss_scale".into(), vec![1e9]);
    let results = execute(&graph, &formats, &mut kept, &mut executor, &bindings, 0);
    let finite = graph.output("finite").unwrap();
    assert_eq!(results[finite.index()].as_deref(), Some(&[0.0][..]));
    for (name, value) in kept.download().unwrap() {
        assert_eq!(value == initial[&name], !["mean", "var"].contains(&name.as_str()), "{name}");
    }
}
