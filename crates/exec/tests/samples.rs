//! Every operator's samples on the CPU against the reference interpreter in FP64, with one and with three threads.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_exec::{Array, Executor, Inputs, Target, Values};
use bitbudget_ir::{Bindings, Expression, Form, Graph, Op, Read, Role, interpret, ops};
use bitbudget_program::BufferId;
use bitbudget_schedule::Storage;
use bitbudget_testkit::{lowered, values};
use std::collections::BTreeMap;

/// What every buffer of the lowered sample held.
fn run(graph: &Graph, values: &BTreeMap<String, Vec<f64>>, threads: usize) -> Vec<Option<Vec<f32>>> {
    let program = lowered(graph, 1, Storage::Packed).unwrap();
    let mut executor = Executor::new(Target::Cpu, threads).unwrap();
    let initial = values.iter().map(|(n, v)| (n.clone(), v.iter().map(|&x| x as f32).collect())).collect();
    let mut kept = Values::new(&program, &initial, executor.device()).unwrap();
    let integers: BTreeMap<&str, Vec<i32>> =
        values.iter().map(|(name, value)| (name.as_str(), value.iter().map(|&x| x as i32).collect())).collect();
    let array = |name: &str, shape| Array::integers(shape, &integers[name]);
    let inputs = program.inputs().map(|input| (input.name.as_str(), array(&input.name, &input.shape)));
    let inputs = Inputs::new(inputs);
    let mut results = vec![None; graph.len()];
    let mut observe = |id: BufferId, numbers: &[f32]| results[id.index()] = Some(numbers.to_vec());
    executor.run_observed(&program, &mut kept, &inputs, &mut observe).unwrap();
    results
}

#[test]
fn every_operator_agrees_with_the_reference() {
    for (name, samples) in Op::all_samples() {
        for (case, sample) in samples.into_iter().enumerate() {
            let values = values(&sample);
            let expected = interpret(&sample.graph, &Bindings { batch: 1, values: values.clone() }).unwrap();
            let results = run(&sample.graph, &values, 1);
            assert_eq!(results, run(&sample.graph, &values, 3), "{name} depends on the number of threads");
            let y = sample.graph.output("y").unwrap();
            let computed = results[y.index()].as_ref();
            // A sample whose result is an alias of its operand has nothing to compute.
            let Some(computed) = computed else {
                assert!(["cast", "reshape"].contains(&name), "{name} was not computed");
                continue;
            };
            for (i, (&actual, &expected)) in computed.iter().zip(&expected[y.index()].data).enumerate() {
                let tolerance = 2e-6 * (1.0 + expected.abs());
                assert!(
                    (f64::from(actual) - expected).abs() < tolerance,
                    "{name} {case}: [{i}] {actual}, not {expected}"
                );
            }
            assert_eq!(computed.len(), expected[y.index()].data.len());
        }
    }
}

/// Whether an expression is arithmetic alone, which has one result in FP32.
fn is_arithmetic(expression: &Expression) -> bool {
    match expression {
        Expression::Operand(_) | Expression::Number(_) | Expression::PerChannel(_) => true,
        Expression::Neg(a) | Expression::Sqrt(a) => is_arithmetic(a),
        Expression::Floor(a) | Expression::Round(a) => is_arithmetic(a),
        Expression::Add(ab) | Expression::Sub(ab) | Expression::Mul(ab) | Expression::Div(ab) => {
            ab.iter().all(is_arithmetic)
        }
        Expression::Fma(abc) => abc.iter().all(is_arithmetic),
        Expression::Uniform(_, ab) => ab.iter().all(is_arithmetic),
        Expression::Less(abcd) | Expression::AtMost(abcd) => abcd.iter().all(is_arithmetic),
        Expression::Exp(_) | Expression::Log(_) | Expression::Tanh(_) | Expression::Erf(_) => false,
        Expression::Sin(_) | Expression::Cos(_) | Expression::Log1p(_) | Expression::Pow(_) => false,
    }
}

/// Kernels are written by hand, and have the bits of the expressions that operators declare. The factors of a normalisation
/// are computed in FP64 first, and have others.
#[test]
fn elementwise_kernels_have_the_bits_of_their_expressions() {
    if !fuses() {
        eprintln!("skipped: this set of instructions has no fused multiply-add");
        return;
    }
    let mut compared = Vec::new();
    for (name, sample) in Op::all_samples().into_iter().flat_map(|(name, all)| all.into_iter().map(move |s| (name, s)))
    {
        let y = sample.graph.output("y").unwrap();
        let facts = sample.graph.facts(y);
        let Form::Map(expression) = &facts.form else { continue };
        let by_channel = (0..sample.graph.operands(y).len()).any(|k| facts.reads.of(k) == Read::Channel);
        let values = values(&sample);
        let Some(computed) = run(&sample.graph, &values, 1)[y.index()].clone() else { continue };
        if !is_arithmetic(expression) || by_channel {
            continue;
        }
        let values = values.iter().map(|(n, v)| (n.clone(), v.iter().map(|&x| x as f32).collect())).collect();
        let expected = &interpret(&sample.graph, &Bindings::<f32> { batch: 1, values }).unwrap()[y.index()];
        let bits = |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&computed), bits(&expected.data), "{name}: {computed:?}, not {:?}", expected.data);
        compared.push(name);
    }
    compared.dedup();
    assert!(compared.len() >= 20, "{compared:?}");
}

#[cfg(target_arch = "x86_64")]
fn fuses() -> bool {
    is_x86_feature_detected!("fma") && std::env::var("BITBUDGET_INSTRUCTIONS").as_deref() != Ok("portable")
}

#[cfg(not(target_arch = "x86_64"))]
fn fuses() -> bool {
    false
}

#[test]
fn a_broken_label_or_length_is_an_error() {
    let mut graph = Graph::new("g");
    let x = bitbudget_ir::TensorType::f32([bitbudget_ir::Dim::BATCH, 4.into()]);
    let x = graph.source(ops::Input { name: "x".into(), target: false }, x);
    let labels = bitbudget_ir::TensorType::i32([bitbudget_ir::Dim::BATCH]);
    let labels = graph.source(ops::Input { name: "labels".into(), target: true }, labels);
    let loss = graph.add(ops::NllLoss {}, &[x, labels]).unwrap();
    graph.set_role(loss, Role::Internal);
    graph.set_output("loss", loss);
    let program = lowered(&graph, 2, Storage::Packed).unwrap();
    let mut executor = Executor::new(Target::Cpu, 1).unwrap();
    let mut run = |examples: &[f32], labels: &[i32]| {
        let inputs = Inputs::new([("x", Array::f32(&[2, 4], examples)), ("labels", Array::integers(&[2], labels))]);
        executor.run(&program, &mut Values::default(), &inputs).map_err(|e| e.to_string())
    };
    assert_eq!(run(&[0.5; 8], &[0, 3]).unwrap().outputs["loss"], [-0.5]);
    let cases = [(8, [0, 4], "nll_loss"), (7, [0, 3], "`x`: 7 FP32 numbers were given, its shape [2, 4] needs 8")];
    for (length, labels, message) in cases {
        let error = run(&vec![0.5; length], &labels).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
}

/// Programs of one network need not read the same constants; what none reads is still there in the end.
#[test]
fn values_serve_several_programs() {
    let graph = |sum: &str| -> Graph {
        let text = format!(
            r#"graph "g" {{
  %0 = parameter {{name="p"}} : f32[2]
  %1 = constant {{name="k"}} : f32[2]
  %2 = {sum} : f32[2]
  return "y" = %2
}}"#
        );
        text.parse().unwrap()
    };
    let (without, with) = (graph("add(%0, %0)"), graph("add(%0, %1)"));
    let (without, _) = without.without_dead_nodes();
    let initial = [("p", [1.0, 2.0]), ("k", [10.0, 20.0]), ("unread", [5.0, 6.0])];
    let initial: BTreeMap<String, Vec<f32>> = initial.map(|(name, v)| (name.to_string(), v.to_vec())).into();
    let mut executor = Executor::new(Target::Cpu, 1).unwrap();
    let mut values = Values::new(&lowered(&without, 1, Storage::Packed).unwrap(), &initial, executor.device()).unwrap();
    assert_eq!(values.bytes(), 8);
    assert_eq!(values.download().unwrap(), initial);
    let mut y = |graph: &Graph| {
        executor.run(&lowered(graph, 1, Storage::Packed).unwrap(), &mut values, &Inputs::default()).unwrap().outputs["y"].clone()
    };
    assert_eq!(y(&without), [2.0, 4.0]);
    assert_eq!(y(&with), [11.0, 22.0]);
    assert_eq!(values.download().unwrap(), initial);
}
