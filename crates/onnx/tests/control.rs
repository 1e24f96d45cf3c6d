//! Functions and control flow: imported graphs compute what onnxruntime computes, from models that `tests/data/control.py` writes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bitbudget_ir::{Bindings, Graph, Model, NodeId, Op, Role, interpret, verify};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/control")
}

fn import(name: &str) -> Model {
    let imported = bitbudget_onnx::import(&data().join(format!("{name}.onnx")));
    imported.unwrap_or_else(|e| panic!("{name}: {e}")).model
}

fn numbers(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[test]
fn functions_and_control_flow_compute_what_onnxruntime_computes() {
    let text = std::fs::read_to_string(data().join("cases.json")).unwrap();
    let cases: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert!(cases.len() >= 30);
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        let model = import(name);
        assert_eq!(verify(&model.graph), Ok(()), "{name}");
        let widened = |(n, v): (&String, &Vec<f32>)| (n.clone(), v.iter().map(|&x| f64::from(x)).collect());
        let mut values: BTreeMap<String, Vec<f64>> = model.values.iter().map(widened).collect();
        values.insert("x".into(), numbers(&case["input"]));
        let batch = case["batch"].as_u64().unwrap() as usize;
        let results = interpret(&model.graph, &Bindings { batch, values }).unwrap();
        let y = &results[model.graph.outputs()[0].1.index()];
        let shape: Vec<usize> = numbers(&case["shape"]).into_iter().map(|d| d as usize).collect();
        assert_eq!(y.shape, shape, "{name}");
        let pairs = y.data.iter().zip(numbers(&case["output"]));
        let worst = pairs.map(|(a, b)| (a - b).abs() / (1.0 + b.abs())).fold(0.0, f64::max);
        assert!(worst < 1e-5, "{name}: off by {worst}");
        // What is written is read again.
        let bytes = bitbudget_onnx::export_bytes(&model).unwrap_or_else(|e| panic!("{name}: {e}"));
        let again = bitbudget_onnx::import_bytes(&bytes, None).unwrap_or_else(|e| panic!("{name}: {e}"));
        // With the same parameters: what is shared stays so, whatever its values.
        assert_eq!(parameters(&again.model.graph), parameters(&model.graph), "{name}");
    }
}

fn parameters(graph: &Graph) -> usize {
    graph.ids().filter(|&id| matches!(graph.op(id), Op::Parameter(_))).count()
}

/// Every operator of ONNX Runtime has a model.
#[test]
fn every_operator_of_other_domains_has_a_model() {
    let files = std::fs::read_dir(data()).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    let files: Vec<Vec<u8>> = files.collect();
    for row in bitbudget_onnx::operator_table().iter().filter(|row| row.domain == "com.microsoft") {
        let name = if row.name == "LayerNormalization" { "SkipLayerNormalization" } else { row.name };
        let found = files.iter().any(|bytes| bytes.windows(name.len()).any(|part| part == name.as_bytes()));
        assert!(found, "{name}");
    }
}

#[test]
fn the_last_node_of_an_operator_bears_its_name() {
    for (model, name, operator) in [
        ("fusedmatmul", "p", "scale"),
        ("../hardswish", "y", "mul"),
        ("../hardsigmoid", "y", "clip"),
        ("../matmul_3d", "m", "matmul"),
    ] {
        let graph = import(model).graph;
        let found = graph.ids().find(|&id| graph.node(id).name == name).map_or("", |id| graph.op(id).name());
        assert_eq!(found, operator, "{model}: {:?}", names(&graph));
    }
}

#[test]
fn made_weights_are_parameters() {
    assert_eq!(sources(&import("made")), ["v", "w"]);
    let imported = bitbudget_onnx::import(&data().join("made.onnx")).unwrap();
    let warning = imported.warnings.iter().map(ToString::to_string).find(|text| text.contains("made of a shape"));
    assert_eq!(
        warning.unwrap(),
        "2 weights are made of a shape and a number, not stored: `w`, `v`; such weights are parameters and trained"
    );
}

/// The names of nodes that compute, in order.
fn names(graph: &Graph) -> Vec<String> {
    let computed = graph.ids().filter(|&id| graph.op(id).source_name().is_none());
    computed.map(|id| graph.node(id).name.clone()).collect()
}

fn sources(model: &Model) -> Vec<&str> {
    model.values.keys().map(String::as_str).collect()
}

#[test]
fn nodes_of_a_function_are_named_after_its_call() {
    let model = import("function");
    assert_eq!(names(&model.graph), ["layer1/product", "layer1/act", "layer2/product", "layer2/act"]);
    assert_eq!(sources(&model), ["b1", "b2", "w1", "w2"]);
    let nested = names(&import("nested_functions").graph);
    assert_eq!(nested, ["outer/first/m", "outer/first/t", "outer/second/m", "outer/second/t", "outer/y"]);
    // What is inside of an operator of the standard has no format.
    let graph = import("swiglu").graph;
    let (_, gate) = graph.outputs()[0].clone();
    let is_output = |id: NodeId| graph.op(id).source_name().is_none() && graph.node(id).role == Role::Output;
    assert_eq!((graph.node(gate).name.as_str(), graph.node(gate).onnx_type.as_str()), ("gate", "SwiGLU"));
    let outputs: Vec<&str> = graph.ids().filter(|&id| is_output(id)).map(|id| graph.op(id).name()).collect();
    assert_eq!(outputs, ["scale", "mul"]);
}

#[test]
fn steps_share_their_parameters() {
    assert_eq!(sources(&import("steps")), ["bias", "w"]);
    assert_eq!(sources(&import("steps_in_steps")), ["v"]);
    let names = names(&import("steps").graph);
    assert!(
        names.contains(&"loop/0/product".to_string()) && names.contains(&"loop/3/product".to_string()),
        "{names:?}"
    );
}
