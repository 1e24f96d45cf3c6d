//! Imported graphs compute what onnxruntime computes: one small model per operator and form, made by
//! `tests/data/generate.py`, before and after a round trip through export.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bitbudget_ir::ops::Window;
use bitbudget_ir::{Bindings, Graph, Model, NodeId, Op, Shape, UnaryFunction, interpret, verify};
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
            let operands: Vec<String> = graph.operands(id).iter().copied().map(text).collect();
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

/// Whether a pooling is padded by a node of its own: its padding is as wide as its window, or it drops a last window.
fn is_padded_apart(window: &Window, input: &Shape) -> bool {
    let size = |d: usize| input.get(2 + d).map_or(0, |dim| dim.factor());
    let room = |d: usize| {
        let extent = (window.kernel[d] - 1) * window.dilations[d] + 1;
        size(d) + window.pads_begin[d] + window.pads_end[d] - extent
    };
    let by_formula = [0, 1].map(|d| room(d).div_ceil(window.strides[d]) + 1);
    let drops = window.ceil && window.output([size(0), size(1)]).unwrap() != by_formula;
    drops || (0..2).any(|d| window.pads_begin[d].max(window.pads_end[d]) >= window.kernel[d])
}

#[test]
fn a_round_trip_through_export_changes_nothing() {
    for case in cases() {
        let model = bitbudget_onnx::import(&data().join(format!("{}.onnx", case.name))).unwrap().model;
        let bytes = bitbudget_onnx::export_bytes(&model).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let again = bitbudget_onnx::import_bytes(&bytes, None).unwrap_or_else(|e| panic!("{}: {e}", case.name)).model;
        // What was there is there again, but for the zero of a state that a layer lacks; a pooling with wide padding may add a constant.
        let is_there = |(name, value): (&String, &Vec<f32>)| again.values.get(name) == Some(value) || *value == [0.0];
        assert!(model.values.iter().all(is_there), "{}", case.name);
        assert_eq!(differences(&case, &run(&again, &case)), None);
        // A padded tensor that a convolution could take joins it when it is read again; so does the Pad of a pooling. Swish is written
        // as a product with Sigmoid.
        let input = |id: NodeId| &model.graph.ty(model.graph.operands(id)[0]).shape;
        let is_spread = |id: NodeId| matches!(model.graph.op(id), Op::Broadcast(_));
        let is_written_apart = |id: NodeId| match model.graph.op(id) {
            Op::Unary(op) => op.function == UnaryFunction::Swish,
            Op::SliceScatter(_) => true,
            // The zeros past an example's length are laid once more where the file is read again.
            // So is the zero of a state that a layer lacks.
            Op::Recurrent(op) => op.lengths || model.graph.operands(id).iter().any(|&x| is_spread(x)),
            Op::MaxPool(op) => is_padded_apart(&op.window(), input(id)),
            Op::AveragePool(op) => is_padded_apart(&op.window(), input(id)),
            _ => false,
        };
        if !model.graph.ids().any(is_written_apart) {
            assert_eq!(shape_of_graph(&again.graph), shape_of_graph(&model.graph), "{}", case.name);
        }
    }
}

/// Operators whose numbers are random; `errors/dropout.rs` has them.
const RANDOM: [&str; 3] = ["RandomUniform", "RandomUniformLike", "Bernoulli"];

#[test]
fn every_supported_operator_that_works_on_tensors_has_a_model() {
    let mut seen = std::collections::BTreeSet::from(RANDOM);
    let of_control = std::fs::read_dir(data().join("control")).unwrap().map(|entry| entry.unwrap().path());
    let files = cases().into_iter().map(|case| data().join(format!("{}.onnx", case.name))).chain(of_control);
    for file in files {
        let bytes = std::fs::read(file).unwrap();
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
    let missing: Vec<&str> = table
        .iter()
        .filter(|row| row.on_tensors && row.domain.is_empty())
        .map(|row| row.name)
        .filter(|n| !seen.contains(n))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn masks_are_not_trained() {
    let imported = bitbudget_onnx::import(&data().join("attention.onnx")).unwrap();
    let graph = &imported.model.graph;
    let mask = graph.ids().find(|&id| graph.op(id).source_name() == Some("mask")).unwrap();
    assert!(matches!(graph.op(mask), Op::Constant(_)));
    let warning = imported.warnings.iter().find(|warning| warning.names == ["mask"]).unwrap();
    assert!(warning.to_string().contains("initializer holds infinities or numbers as large"), "{warning}");
}

/// Floating-point initializers of an exported file are parameters, also scalars: factors and bounds are nodes.
#[test]
fn exported_numbers_are_constant_nodes() {
    use onnx_protobuf::{Message, ModelProto};
    let text = r#"graph "g" {
        %0 = input {name="x"} : f32[N,4]
        %1 = parameter {name="s"} : f32[]
        %2 = mul(%0, %1) : f32[N,4] output "learned"
        %3 = scale(%2) {by=0.5} : f32[N,4] output "halved"
        %4 = clip(%3) {min=0.0, max=6.0} : f32[N,4] output "clipped"
        return "y" = %4
    }"#;
    let model = Model { graph: text.parse().unwrap(), values: [("s".to_string(), vec![3.0])].into() };
    let bytes = bitbudget_onnx::export_bytes(&model).unwrap();
    let file = ModelProto::parse_from_bytes(&bytes).unwrap();
    let stored: Vec<&str> = file.graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(stored, ["s"]);
    let again = bitbudget_onnx::import_bytes(&bytes, None).unwrap().model;
    assert_eq!(shape_of_graph(&again.graph), shape_of_graph(&model.graph));
    assert_eq!(again.values, model.values);
}

/// The bytes of a model `x [N, size] -> y` of one Slice.
fn slice_model(size: i64, bounds: [i64; 3]) -> Vec<u8> {
    use onnx_protobuf::tensor_shape_proto::{Dimension, dimension};
    use onnx_protobuf::{
        GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
        ValueInfoProto, type_proto,
    };
    use protobuf::MessageField;
    let [start, end, step] = bounds;
    let initializer = [("s", start), ("e", end), ("a", 1), ("t", step)].map(|(name, value)| TensorProto {
        name: name.into(),
        dims: vec![1],
        data_type: 7,
        int64_data: vec![value],
        ..Default::default()
    });
    let dims = [dimension::Value::DimParam("N".into()), dimension::Value::DimValue(size)];
    let dim = dims.map(|value| Dimension { value: Some(value), ..Default::default() }).to_vec();
    let shape = MessageField::some(TensorShapeProto { dim, ..Default::default() });
    let tensor = type_proto::Tensor { elem_type: 1, shape, ..Default::default() };
    let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    let info =
        |name: &str| ValueInfoProto { name: name.into(), type_: MessageField::some(ty.clone()), ..Default::default() };
    let graph = GraphProto {
        node: vec![NodeProto {
            op_type: "Slice".into(),
            input: ["x", "s", "e", "a", "t"].map(String::from).to_vec(),
            output: vec!["y".into()],
            ..Default::default()
        }],
        initializer: initializer.to_vec(),
        input: vec![info("x")],
        output: vec![info("y")],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { version: 13, ..Default::default() };
    let graph = MessageField::some(graph);
    ModelProto { ir_version: 7, opset_import: vec![opset], graph, ..Default::default() }.write_to_bytes().unwrap()
}

#[test]
fn slices_with_any_bounds_take_what_onnx_defines() {
    type Row = (usize, String, String, String, Vec<f64>);
    let rows: Vec<Row> = serde_json::from_str(&std::fs::read_to_string(data().join("slices.json")).unwrap()).unwrap();
    assert_eq!(rows.len(), 300);
    for (size, start, end, step, taken) in rows {
        let bounds = [&start, &end, &step].map(|text| text.parse().unwrap());
        let place = format!("{size}: {start}:{end}:{step}");
        let imported = bitbudget_onnx::import_bytes(&slice_model(size as i64, bounds), None);
        if taken.is_empty() {
            let message = imported.unwrap_err().to_string();
            assert!(message.contains("it takes nothing of dimension 1"), "{place}: {message}");
            continue;
        }
        let model = imported.unwrap_or_else(|e| panic!("{place}: {e}")).model;
        let x = (0..size).map(|i| i as f64).collect();
        let case = Case { name: place, batch: 1, input: x, shape: vec![1, taken.len()], output: taken };
        assert_eq!(differences(&case, &run(&model, &case)), None);
    }
}

/// An input whose batch axis was moved and that is an output too: the output has the name of the input, and is another tensor.
#[test]
fn an_output_of_an_inputs_name_is_written_and_read_again() {
    let text = r#"
graph "moved" v2 {
  %0 = input {name="x"} : f32[N,4]
  %1 = transpose(%0) {perm=[1,0]} : f32[4,N]
  return "x" = %1
}"#;
    let model = Model { graph: text.parse().unwrap(), values: Default::default() };
    let bytes = bitbudget_onnx::export_bytes(&model).unwrap();
    let again = bitbudget_onnx::import_bytes(&bytes, None).unwrap().model.graph;
    let (name, output) = &again.outputs()[0];
    assert_eq!(name, "x.2");
    assert_eq!(again.op(*output).name(), "transpose");
}
