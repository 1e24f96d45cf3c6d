//! Imported graphs compute what onnxruntime computes: one small model per operator and form, made by
//! `tests/data/generate.py`, before and after a round trip through export.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bitbudget_ir::{Bindings, Graph, Model, NodeId, Op, interpret, verify};
use std::path::{Path, PathBuf};

struct Case {
    name: String,
    batch: usize,
    input: Vec<f64>,
    shape: Vec<usize>,
    output: Vec<f64>,
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(data().join("cases.json")).unwrap();
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    let numbers = |v: &serde_json::Value| v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect::<Vec<_>>();
    let case = |v: &serde_json::Value| Case {
        name: v["name"].as_str().unwrap().into(),
        batch: v["batch"].as_u64().unwrap() as usize,
        input: numbers(&v["input"]),
        shape: numbers(&v["shape"]).into_iter().map(|d| d as usize).collect(),
        output: numbers(&v["output"]),
    };
    all.as_array().unwrap().iter().map(case).collect()
}

fn run(model: &Model, case: &Case) -> (Vec<usize>, Vec<f64>) {
    let mut values: std::collections::BTreeMap<String, Vec<f64>> =
        model.values.iter().map(|(n, v)| (n.clone(), v.iter().map(|&x| f64::from(x)).collect())).collect();
    values.insert("x".into(), case.input.clone());
    let results = interpret(&model.graph, &Bindings { batch: case.batch, values }).unwrap();
    let y = &results[model.graph.outputs()[0].1.index()];
    (y.shape.clone(), y.data.clone())
}

fn differences(case: &Case, (shape, y): &(Vec<usize>, Vec<f64>)) -> Option<String> {
    if *shape != case.shape {
        return Some(format!("{}: shape {shape:?}, expected {:?}", case.name, case.shape));
    }
    let worst = y.iter().zip(&case.output).map(|(a, b)| (a - b).abs() / (1.0 + b.abs())).fold(0.0, f64::max);
    (worst > 1e-5 || worst.is_nan()).then(|| format!("{}: off by {worst}", case.name))
}

/// The text of a graph without the names for people, its lines in an order that does not depend on where sources stand.
fn shape_of_graph(graph: &Graph) -> Vec<String> {
    let text = |id: NodeId| {
        let op = graph.op(id);
        let attributes: Vec<String> = match op.source_name() {
            Some(name) => vec![name.to_string()],
            None => op.attributes().iter().map(|(n, v)| format!("{n}={v}")).collect(),
        };
        format!("{} {} {}", op.name(), attributes.join(","), graph.ty(id))
    };
    let computed = graph.ids().filter(|&id| graph.op(id).source_name().is_none());
    computed
        .map(|id| {
            let operands: Vec<String> = graph.operands(id).into_iter().map(text).collect();
            format!("{} <- {}", text(id), operands.join("; "))
        })
        .collect()
}

#[test]
fn every_form_of_every_operator_computes_what_onnxruntime_computes() {
    let mut faults = Vec::new();
    let cases = cases();
    assert!(cases.len() > 120);
    for case in &cases {
        match bitbudget_onnx::import(&data().join(format!("{}.onnx", case.name))) {
            Ok(imported) => {
                assert_eq!(verify(&imported.model.graph), Ok(()), "{}", case.name);
                faults.extend(differences(case, &run(&imported.model, case)));
            }
            Err(e) => faults.push(format!("{}: {e}", case.name)),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_round_trip_through_export_changes_nothing() {
    for case in cases() {
        let model = bitbudget_onnx::import(&data().join(format!("{}.onnx", case.name))).unwrap().model;
        let bytes = bitbudget_onnx::export_bytes(&model).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let again = bitbudget_onnx::import_bytes(&bytes, None).unwrap_or_else(|e| panic!("{}: {e}", case.name)).model;
        assert_eq!(again.values, model.values, "{}", case.name);
        assert_eq!(differences(&case, &run(&again, &case)), None);
        // A padded tensor that a convolution could take joins it when it is read again.
        let has_pad = model.graph.ids().any(|id| matches!(model.graph.op(id), Op::SliceScatter(_)));
        if !has_pad {
            assert_eq!(shape_of_graph(&again.graph), shape_of_graph(&model.graph), "{}", case.name);
        }
    }
}

#[test]
fn every_supported_operator_that_works_on_tensors_has_a_model() {
    let mut seen = std::collections::BTreeSet::new();
    for case in cases() {
        let bytes = std::fs::read(data().join(format!("{}.onnx", case.name))).unwrap();
        for row in bitbudget_onnx::operator_table() {
            // The operator's name as a protobuf string: field 4 of a node.
            let mut needle = vec![0x22, row.name.len() as u8];
            needle.extend(row.name.as_bytes());
            if bytes.windows(needle.len()).any(|w| w == needle) {
                seen.insert(row.name);
            }
        }
    }
    let table = bitbudget_onnx::operator_table();
    let missing: Vec<&str> =
        table.iter().filter(|row| row.on_tensors).map(|row| row.name).filter(|n| !seen.contains(n)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}
