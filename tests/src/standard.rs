//! The standard's tests of operators: each is imported as it states its sizes, runs once on the CPU, and is compared.
//!
//! `tests/evidence/node_tests.py` makes the cases: `NAME.onnx`, `NAME.npz` (in0, in1, ..., out0, ...) and `NAME.json`.

use crate::{Arrays, arrays};
use bitbudget_autodiff::evaluation;
use bitbudget_exec::{Array, Executor, Inputs, Target, Values};
use bitbudget_ir::{Graph, Model};
use bitbudget_lower::{LowerError, place_and_lower};
use bitbudget_onnx::{import_stated, operator_table};
use bitbudget_program::{Machine, Program};
use bitbudget_schedule::{Setting, Storage, group, inside};
use bitbudget_select::{Cpu, Target as _, select};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// What is in the record of a test.
#[derive(Clone, Debug, Deserialize)]
struct Record {
    /// The operators of the model.
    operators: Vec<String>,
    /// Whether normalisation is by the statistics that are given, not those of the batch.
    evaluation: bool,
    inputs: Vec<String>,
    outputs: Vec<String>,
    rtol: f32,
    atol: f32,
}

/// What a test came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The test.
    pub test: String,
    /// Operators of its model that have no row.
    pub unclaimed: Vec<String>,
    /// Where it fails: import, compile, run, or result; nothing if it passes.
    pub stage: Option<&'static str>,
    /// Why.
    pub reason: String,
}

/// Runs the test of a name in a folder.
///
/// # Errors
/// If its files cannot be read.
pub fn check(folder: &Path, name: &str) -> std::io::Result<Finding> {
    let file = |ending: &str| folder.join(format!("{name}.{ending}"));
    let record: Record = serde_json::from_slice(&std::fs::read(file("json"))?)?;
    let (bytes, values) = (std::fs::read(file("onnx"))?, arrays(&file("npz"))?);
    let claimed: BTreeSet<&str> = operator_table().iter().map(|row| row.name).collect();
    let unclaimed = record.operators.iter().filter(|name| !claimed.contains(name.as_str())).cloned().collect();
    let outcome = catch_unwind(AssertUnwindSafe(|| run(&record, &bytes, &values)))
        .unwrap_or_else(|_| Err(("panic", "it panics".into())));
    let (stage, reason) = match outcome {
        Ok(()) => (None, String::new()),
        Err((stage, reason)) => (Some(stage), reason),
    };
    Ok(Finding { test: name.to_string(), unclaimed, stage, reason })
}

/// The stage in which a test fails, and why.
type Failure = (&'static str, String);

fn run(record: &Record, bytes: &[u8], values: &Arrays) -> Result<(), Failure> {
    let model = match import_stated(bytes) {
        Ok(imported) => imported.model,
        Err(error) => {
            let problems: Vec<String> = error.problems().iter().map(ToString::to_string).collect();
            return Err(("import", problems.join("\n")));
        }
    };
    for (i, name) in record.outputs.iter().enumerate() {
        let missing = || ("result", format!("the test has no output {i}"));
        let expected = values.get(&format!("out{i}")).ok_or_else(missing)?;
        let (shape, found) = forward(&model, name, record, values)?;
        compare(&shape, &found, expected, record).map_err(|reason| ("result", format!("output `{name}`: {reason}")))?;
    }
    Ok(())
}

/// One output of a model: its shape and elements.
fn forward(model: &Model, output: &str, record: &Record, values: &Arrays) -> Result<(Vec<usize>, Vec<f32>), Failure> {
    let compiled = |error: &dyn std::fmt::Display| ("compile", error.to_string());
    let ran = |error: &dyn std::fmt::Display| ("run", error.to_string());
    let graph = only(&model.graph, output, record.evaluation).map_err(|e| compiled(&e))?;
    let id = graph.output(LOGITS).ok_or(("compile", format!("it has no output `{output}`")))?;
    let shape = graph.ty(id).shape.at(1);
    let program = lowered(&graph).map_err(|e| compiled(&e))?;
    let mut executor = Executor::new(Target::Cpu, 1).map_err(|e| ran(&e))?;
    let mut kept = Values::new(&program, &model.values, executor.device()).map_err(|e| ran(&e))?;
    let given = record.inputs.iter().enumerate().filter_map(|(i, name)| {
        values.get(&format!("in{i}")).map(|(shape, numbers)| (name.as_str(), Array::f32(shape, numbers)))
    });
    let inputs = Inputs::new(given).only(&program);
    let step = executor.run(&program, &mut kept, &inputs).map_err(|e| ran(&e))?;
    let found = step.outputs.get(LOGITS).cloned().ok_or(("run", "its output is not there".to_string()))?;
    Ok((shape, found))
}

/// The program of a graph as it was imported.
fn lowered(graph: &Graph) -> Result<Program, LowerError> {
    let steps = group(graph, 1);
    let kernels = select(&Cpu, graph, &steps, &inside(graph, &steps, 1), 1);
    let setting = Setting { batch: 1, storage: Storage::Packed, alignment: Cpu.alignment() };
    place_and_lower(graph, steps, &kernels, &setting, Machine::Cpu).map(|(_, program)| program)
}

/// The name under which evaluation graphs keep an output.
const LOGITS: &str = "logits";

/// The graph of one output alone, under the name that evaluation graphs keep.
fn only(graph: &Graph, output: &str, evaluated: bool) -> Result<Graph, bitbudget_ir::GraphError> {
    let mut only = graph.clone();
    only.clear_outputs();
    if let Some(id) = graph.output(output) {
        only.set_output(LOGITS, id);
    }
    if evaluated {
        return evaluation(&only);
    }
    only.clear_updates();
    Ok(only.without_dead_nodes().0)
}

/// Whether numbers are within the standard's tolerance, `atol + rtol * |expected|`.
fn compare(shape: &[usize], found: &[f32], expected: &(Vec<usize>, Vec<f32>), record: &Record) -> Result<(), String> {
    let (expected_shape, expected) = expected;
    if shape != expected_shape {
        return Err(format!("its shape is {shape:?}, not {expected_shape:?}"));
    }
    if found.len() != expected.len() {
        return Err(format!("it has {} elements, not {}", found.len(), expected.len()));
    }
    let close = |(&a, &b): (&f32, &f32)| {
        a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= record.atol + record.rtol * b.abs()
    };
    let off = found.iter().zip(expected).enumerate().filter(|(_, pair)| !close(*pair));
    let off: Vec<String> = off.map(|(i, (a, b))| format!("element {i} is {a}, not {b}")).collect();
    match off.as_slice() {
        [] => Ok(()),
        [first, ..] => Err(format!("{} of {} elements are off: {first}", off.len(), expected.len())),
    }
}
