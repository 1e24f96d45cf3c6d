//! Files that cannot be imported: a clear error each, never a panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_shape_proto::{Dimension, dimension};
use onnx_protobuf::{
    AttributeProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};
use protobuf::MessageField;
use std::path::Path;

const FLOAT: i32 = 1;
const INT64: i32 = 7;

fn info(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = |&d: &i64| {
        let value = match d {
            0 => dimension::Value::DimParam("N".into()),
            d => dimension::Value::DimValue(d),
        };
        Dimension { value: Some(value), ..Default::default() }
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect(), ..Default::default() };
    let tensor = type_proto::Tensor { elem_type: FLOAT, shape: MessageField::some(shape), ..Default::default() };
    let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), type_: MessageField::some(ty), ..Default::default() }
}

fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op.into(),
        name: format!("the_{}", op.to_lowercase()),
        input: inputs.iter().map(|s| s.to_string()).collect(),
        output: vec![output.into()],
        ..Default::default()
    }
}

fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { name: name.into(), type_: AttributeType::INTS.into(), ints: ints.to_vec(), ..Default::default() }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), type_: AttributeType::INT.into(), i, ..Default::default() }
}

fn text(name: &str, s: &str) -> AttributeProto {
    AttributeProto { name: name.into(), type_: AttributeType::STRING.into(), s: s.into(), ..Default::default() }
}

fn with(mut node: NodeProto, attribute: AttributeProto) -> NodeProto {
    node.attribute.push(attribute);
    node
}

fn floats(name: &str, dims: &[i64], count: usize) -> TensorProto {
    let raw_data = vec![0; 4 * count];
    TensorProto { name: name.into(), dims: dims.to_vec(), data_type: FLOAT, raw_data, ..Default::default() }
}

fn whole(name: &str, values: &[i64]) -> TensorProto {
    let dims = vec![values.len() as i64];
    TensorProto { name: name.into(), dims, data_type: INT64, int64_data: values.to_vec(), ..Default::default() }
}

/// x [N, 4, 6, 6] -> y, through the given nodes.
fn model(nodes: Vec<NodeProto>, initializer: Vec<TensorProto>) -> ModelProto {
    let graph = GraphProto {
        name: "g".into(),
        node: nodes,
        initializer,
        input: vec![info("x", &[0, 4, 6, 6])],
        output: vec![info("y", &[0, 4])],
        ..Default::default()
    };
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto { version: 17, ..Default::default() }],
        graph: MessageField::some(graph),
        ..Default::default()
    }
}

fn import(model: &ModelProto) -> Result<bitbudget_onnx::Imported, bitbudget_onnx::ImportError> {
    bitbudget_onnx::import_bytes(&model.write_to_bytes().unwrap(), None)
}

fn error(model: &ModelProto) -> String {
    import(model).expect_err("it should not be imported").to_string()
}

fn relu() -> Vec<NodeProto> {
    vec![node("Relu", &["x"], "y")]
}

#[test]
fn each_bad_model_has_its_message() {
    let changed = |change: &dyn Fn(&mut ModelProto)| {
        let mut m = model(relu(), vec![]);
        change(&mut m);
        m
    };
    let conv = |attribute: AttributeProto| {
        model(vec![with(node("Conv", &["x", "w"], "y"), attribute)], vec![floats("w", &[2, 4, 3, 3], 72)])
    };
    let one = |n: NodeProto, init: Vec<TensorProto>| model(vec![n], init);
    let cases: Vec<(&str, ModelProto, &[&str])> = vec![
        (
            "operators",
            model(vec![node("Foo", &["x"], "a"), node("Loop", &["a"], "b"), node("Bar", &["b"], "y")], vec![]),
            &["operator Foo (operator set 17)", "`the_foo`", "operator Bar", "control flow", "for 3 reasons"],
        ),
        (
            "domain",
            changed(&|m| m.graph.as_mut().unwrap().node[0].domain = "com.microsoft".into()),
            &["of domain `com.microsoft`"],
        ),
        (
            "missing input",
            one(node("Relu", &["z"], "y"), vec![]),
            &["node `the_relu` (Relu version 14): it reads `z`, which no node"],
        ),
        ("no operand", one(node("Relu", &[], "y"), vec![]), &["input 0 is missing"]),
        (
            "cycle",
            model(vec![node("Add", &["x", "b"], "a"), node("Relu", &["a"], "b"), node("Tanh", &["b"], "y")], vec![]),
            &["`the_relu`, `the_add` form a cycle"],
        ),
        ("cycle of one", one(node("Relu", &["y"], "y"), vec![]), &["`the_relu` form a cycle"]),
        (
            "two writers",
            model(vec![node("Relu", &["x"], "y"), node("Tanh", &["x"], "y")], vec![]),
            &["`the_tanh` writes `y`, which is also"],
        ),
        (
            "writes the input",
            model(vec![node("Relu", &["x"], "x"), node("Tanh", &["x"], "y")], vec![]),
            &["writes `x`, which is also an input"],
        ),
        (
            "two initializers",
            model(relu(), vec![floats("w", &[1], 1), floats("w", &[1], 1)]),
            &["two initializers are named `w`"],
        ),
        ("no graph", changed(&|m| m.graph = MessageField::none()), &["holds no graph"]),
        ("no operator set", changed(&|m| m.opset_import.clear()), &["which operator set"]),
        ("old", changed(&|m| m.opset_import[0].version = 6), &["operator set 6", "version_converter"]),
        (
            "early",
            changed(&|m| {
                m.opset_import[0].version = 9;
                m.graph.as_mut().unwrap().node[0].op_type = "Range".into()
            }),
            &["Range came with operator set 11"],
        ),
        ("no input", changed(&|m| m.graph.as_mut().unwrap().input.clear()), &["no input apart from"]),
        (
            "two inputs",
            changed(&|m| m.graph.as_mut().unwrap().input.push(info("mask", &[0, 4]))),
            &["2 inputs (`x`, `mask`)", "fixed values"],
        ),
        (
            "two outputs",
            changed(&|m| m.graph.as_mut().unwrap().output.push(info("x", &[0, 4]))),
            &["2 outputs (`y`, `x`)", "logits"],
        ),
        (
            "output of nothing",
            changed(&|m| m.graph.as_mut().unwrap().output[0].name = "z".into()),
            &["no node writes the output `z`"],
        ),
        (
            "output without batch",
            one(node("Identity", &["w"], "y"), vec![floats("w", &[2], 2)]),
            &["not a tensor that depends on the input"],
        ),
        (
            "variable size",
            changed(&|m| m.graph.as_mut().unwrap().input[0] = info("x", &[0, 4, 0, 6])),
            &["dimension 2 is the variable `N`"],
        ),
        (
            "negative size",
            changed(&|m| m.graph.as_mut().unwrap().input[0] = info("x", &[0, 4, -3, 6])),
            &["dimension 2 is -3"],
        ),
        (
            "vast input",
            changed(&|m| m.graph.as_mut().unwrap().input[0] = info("x", &[0, 1 << 30, 1 << 30, 1 << 30])),
            &["too large"],
        ),
        (
            "whole-number input",
            changed(&|m| {
                if let Some(type_proto::Value::TensorType(t)) =
                    &mut m.graph.as_mut().unwrap().input[0].type_.as_mut().unwrap().value
                {
                    t.elem_type = INT64;
                }
            }),
            &["its elements are INT64"],
        ),
        ("negative dims", model(relu(), vec![floats("w", &[-1], 1)]), &["initializer `w`", "negative"]),
        ("overflowing dims", model(relu(), vec![floats("w", &[i64::MAX, i64::MAX], 1)]), &["too large"]),
        ("short data", model(relu(), vec![floats("w", &[4, 4], 3)]), &["needs 64 bytes, 12 are there"]),
        (
            "typed length",
            model(relu(), vec![TensorProto { dims: vec![3], ..whole("w", &[1, 2]) }]),
            &["needs 3 elements, 2 are there"],
        ),
        (
            "strings",
            model(relu(), vec![TensorProto { data_type: 8, ..floats("w", &[1], 1) }]),
            &["element type STRING"],
        ),
        (
            "unknown type",
            model(relu(), vec![TensorProto { data_type: 99, ..floats("w", &[1], 1) }]),
            &["element type 99"],
        ),
        ("empty parameter", one(node("Add", &["x", "w"], "y"), vec![floats("w", &[0], 0)]), &["no elements"]),
        (
            "unknown attribute",
            one(with(node("Relu", &["x"], "y"), int("slope", 1)), vec![]),
            &["attribute `slope` is not known"],
        ),
        ("attribute type", conv(ints("group", &[1])), &["attribute `group` must be of type INT", "[N,4,6,6]"]),
        ("groups", conv(int("group", 3)), &["node `the_conv` (Conv version 11)", "3 groups", "4 input channels"]),
        ("vast groups", conv(int("group", i64::MAX)), &["does not fit 4 input channels"]),
        ("zero strides", conv(ints("strides", &[0, 1])), &["attribute `strides`"]),
        ("vast pads", conv(ints("pads", &[i64::MAX, 0, 0, 0])), &["attribute `pads`"]),
        ("kernel", conv(ints("kernel_shape", &[5, 5])), &["is not that of the weight"]),
        ("auto_pad", conv(text("auto_pad", "SOMEHOW")), &["auto_pad `SOMEHOW`"]),
        ("window", conv(ints("dilations", &[9, 9])), &["the window spans 19 elements"]),
        (
            "3-D",
            one(node("Conv", &["x", "w"], "y"), vec![floats("w", &[2, 4, 3, 3, 3], 216)]),
            &["one and two spatial dimensions"],
        ),
        ("pool without size", one(node("MaxPool", &["x"], "y"), vec![]), &["`kernel_shape` is missing"]),
        (
            "reshape",
            one(node("Reshape", &["x", "s"], "y"), vec![whole("s", &[-1, 7])]),
            &["[N,4,6,6] cannot be reshaped to [-1, 7]"],
        ),
        ("reshape by data", model(vec![node("Reshape", &["x", "x"], "y")], vec![]), &["must be known at import"]),
        ("gather", one(node("Gather", &["x", "k"], "y"), vec![whole("k", &[0])]), &["batch cannot be gathered"]),
        (
            "transpose",
            one(with(node("Transpose", &["x"], "y"), ints("perm", &[0, 0, 1, 2])), vec![]),
            &["not a permutation"],
        ),
        ("axis", one(with(node("Concat", &["x", "x"], "y"), int("axis", 9)), vec![]), &["axis 9 is out of range"]),
        (
            "slice of the batch",
            one(node("Slice", &["x", "s", "e"], "y"), vec![whole("s", &[1]), whole("e", &[2])]),
            &["only be taken whole"],
        ),
        (
            "empty slice",
            one(
                with(
                    with(with(node("Slice", &["x"], "y"), ints("axes", &[1])), ints("starts", &[2])),
                    ints("ends", &[2]),
                ),
                vec![],
            ),
            &["takes nothing"],
        ),
        ("reflecting pad", one(with(node("Pad", &["x"], "y"), text("mode", "reflect")), vec![]), &["mode `reflect`"]),
        (
            "broadcast",
            one(node("Add", &["x", "w"], "y"), vec![floats("w", &[5], 5)]),
            &["do not broadcast", "[N,4,6,6], initializer [5]"],
        ),
        ("mean over the batch", one(node("ReduceMean", &["x"], "y"), vec![]), &["over the batch"]),
        (
            "vast constant",
            model(
                vec![node("ConstantOfShape", &["s"], "c"), node("Add", &["x", "c"], "y")],
                vec![whole("s", &[1 << 40])],
            ),
            &["too large to be computed at import"],
        ),
        (
            "vast range",
            model(
                vec![node("Range", &["a", "b", "c"], "r"), node("Gather", &["x", "r"], "y")],
                vec![whole("a", &[0]), whole("b", &[i64::MAX]), whole("c", &[1])],
            ),
            &["range is too long"],
        ),
        (
            "product of shapes",
            model(
                vec![node("Shape", &["x"], "s"), node("Mul", &["s", "s"], "t"), node("Reshape", &["x", "t"], "y")],
                vec![],
            ),
            &["no result that is known for every batch size"],
        ),
        (
            "division by zero",
            model(
                vec![node("Div", &["a", "b"], "c"), node("Reshape", &["x", "c"], "y")],
                vec![whole("a", &[1]), whole("b", &[0])],
            ),
            &["no result"],
        ),
        ("external without folder", model(relu(), vec![external("w.bin")]), &["without a folder"]),
    ];
    for (what, model, parts) in cases {
        let message = error(&model);
        for part in parts {
            assert!(message.contains(part), "{what}: `{part}` is not in\n{message}");
        }
    }
}

fn external(location: &str) -> TensorProto {
    let entry = StringStringEntryProto { key: "location".into(), value: location.into(), ..Default::default() };
    TensorProto {
        name: "w".into(),
        dims: vec![2],
        data_type: FLOAT,
        external_data: vec![entry],
        data_location: onnx_protobuf::tensor_proto::DataLocation::EXTERNAL.into(),
        ..Default::default()
    }
}

#[test]
fn external_data_is_read_from_the_models_folder_only() {
    let top = tempfile::tempdir().unwrap();
    let folder = top.path().join("model");
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    let data: Vec<u8> = [0.0f32, 1.5, -2.5].iter().flat_map(|x| x.to_le_bytes()).collect();
    std::fs::write(top.path().join("secret.bin"), &data).unwrap();
    std::fs::write(folder.join("w.bin"), &data).unwrap();
    std::fs::write(folder.join("sub/w.bin"), &data).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(top.path().join("secret.bin"), folder.join("link.bin")).unwrap();
    let read = |location: &str, more: &[(&str, &str)]| {
        let mut tensor = external(location);
        for (key, value) in more {
            let entry = StringStringEntryProto { key: key.to_string(), value: value.to_string(), ..Default::default() };
            tensor.external_data.push(entry);
        }
        let mut m = model(vec![node("Mul", &["x", "w"], "y")], vec![tensor]);
        m.graph.as_mut().unwrap().input[0] = info("x", &[0, 2]);
        let path = folder.join("model.onnx");
        std::fs::write(&path, m.write_to_bytes().unwrap()).unwrap();
        bitbudget_onnx::import(&path).map(|i| i.model.values["w"].clone()).map_err(|e| e.to_string())
    };
    assert_eq!(read("w.bin", &[("offset", "4"), ("length", "8")]), Ok(vec![1.5, -2.5]));
    assert_eq!(read("sub/w.bin", &[]), Ok(vec![0.0, 1.5]));
    let secret = top.path().join("secret.bin").display().to_string();
    let outside = ["../secret.bin", "sub/../../secret.bin", secret.as_str(), "", "..\\secret.bin"];
    let links: &[&str] = if cfg!(unix) { &["link.bin"] } else { &[] };
    for location in outside.iter().chain(links) {
        let message = read(location, &[]).unwrap_err();
        assert!(message.contains("outside the model's folder"), "{location}: {message}");
    }
    for (location, more, part) in [
        ("w.bin", ("offset", "8"), "truncated"),
        ("w.bin", ("offset", "18446744073709551615"), "truncated"),
        ("w.bin", ("length", "4"), "said to have 4"),
        ("w.bin", ("offset", "x"), "not a number"),
        ("missing.bin", ("offset", "0"), "cannot be read"),
        ("sub", ("offset", "0"), "is not a regular file"),
    ] {
        let message = read(location, &[more]).unwrap_err();
        assert!(message.contains(part), "{location} {more:?}: {message}");
    }
}

#[test]
fn damaged_bytes_are_errors_and_never_panic() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for name in ["conv", "batch_norm_14", "channel_shuffle", "slice_10", "gemm_alpha_beta"] {
        let bytes = std::fs::read(data.join(format!("{name}.onnx"))).unwrap();
        for end in 0..bytes.len() {
            let cut = bitbudget_onnx::import_bytes(&bytes[..end], None);
            assert!(cut.is_err(), "{name} cut at {end}");
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, bytes[at] ^ 1, bytes[at] ^ 8] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                if let Ok(imported) = bitbudget_onnx::import_bytes(&damaged, None) {
                    assert_eq!(bitbudget_ir::verify(&imported.model.graph), Ok(()));
                }
            }
        }
    }
}

#[test]
fn hostile_nesting_is_refused() {
    // Groups, which the protobuf parser would follow without a limit.
    let groups = vec![0x0b; 1 << 20];
    assert!(bitbudget_onnx::import_bytes(&groups, None).unwrap_err().to_string().contains("wire type 3"));
    // Graphs in attributes in nodes in graphs.
    let mut bytes: Vec<u8> = Vec::new();
    for depth in 0..3000 {
        let tag = [0x3a, 0x0a, 0x2a, 0x32][if depth == 2999 { 0 } else { 1 + (2 - depth % 3) }];
        let mut outer = vec![tag];
        let mut length = bytes.len();
        while length > 127 {
            outer.push(length as u8 | 128);
            length >>= 7;
        }
        outer.push(length as u8);
        outer.append(&mut bytes);
        bytes = outer;
    }
    assert!(bitbudget_onnx::import_bytes(&bytes, None).is_err());
    assert!(
        bitbudget_onnx::import(Path::new("/nowhere/model.onnx")).unwrap_err().to_string().contains("cannot be read")
    );
    assert!(
        bitbudget_onnx::import(Path::new(env!("CARGO_MANIFEST_DIR")))
            .unwrap_err()
            .to_string()
            .contains("is not a file")
    );
}

#[test]
fn a_file_that_is_larger_than_a_protobuf_message_is_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.onnx");
    std::fs::File::create(&path).unwrap().set_len(3 << 30).unwrap();
    let message = bitbudget_onnx::import(&path).unwrap_err().to_string();
    assert!(message.contains("external data"), "{message}");
}

#[test]
fn what_the_network_does_not_need_is_left_out() {
    let dead = vec![node("Foo", &["x"], "z"), node("Relu", &["x"], "y")];
    assert_eq!(import(&model(dead, vec![])).unwrap().model.graph.len(), 2);
}

#[test]
fn a_weight_may_have_as_many_elements_as_the_batch() {
    let nodes = vec![node("Expand", &["w", "s"], "e"), node("Conv", &["x", "e"], "y")];
    let mut fixed = model(nodes, vec![floats("w", &[4, 4, 1, 1], 16), whole("s", &[4, 1, 3, 3])]);
    fixed.graph.as_mut().unwrap().input[0] = info("x", &[4, 4, 6, 6]);
    let graph = import(&fixed).unwrap().model.graph;
    let (_, y) = graph.outputs().first().unwrap();
    assert_eq!(graph.ty(*y).shape.to_string(), "[N,4,4,4]");
}

#[test]
fn a_weight_in_the_making_reads_one_parameter() {
    let nodes = vec![
        with(node("ReduceMean", &["w"], "m"), ints("axes", &[1, 2, 3])),
        node("Sub", &["w", "m"], "c"),
        node("Conv", &["x", "c"], "t"),
        // Layers with weights of their own may have been merged.
        node("Conv", &["t", "w"], "y"),
    ];
    let graph = import(&model(nodes, vec![floats("w", &[4, 4, 1, 1], 16)])).unwrap().model.graph;
    assert_eq!(graph.ids().filter(|&id| graph.op(id).name() == "parameter").count(), 2);
}

#[test]
fn an_input_is_normalised_where_it_is_centred_and_divided() {
    let frozen = |nodes| {
        let tensors = ["a", "b"].map(|name| TensorProto {
            float_data: vec![1.0, 2.0, 3.0, 4.0],
            raw_data: vec![],
            ..floats(name, &[4, 1, 1], 4)
        });
        let imported = import(&model(nodes, tensors.to_vec())).unwrap();
        let trained = imported.model.graph.ids().filter(|&id| imported.model.graph.op(id).name() == "parameter");
        2 - trained.count()
    };
    let two = |first: &str, second: &str| vec![node(first, &["x", "a"], "t"), node(second, &["t", "b"], "y")];
    assert_eq!([frozen(two("Sub", "Div")), frozen(two("Sub", "Mul"))], [2, 2]);
    for (first, second) in [("Sub", "Add"), ("Div", "Sub"), ("Mul", "Sub"), ("Add", "Div"), ("Sub", "Sub")] {
        assert_eq!(frozen(two(first, second)), 0, "{first} {second}");
    }
    // What is centred is read again.
    let shortcut = [node("Sub", &["x", "a"], "t"), node("Div", &["t", "b"], "u"), node("Add", &["u", "t"], "y")];
    assert_eq!(frozen(shortcut.to_vec()), 0);
}

#[test]
fn warnings_tell_what_is_lost() {
    let double = TensorProto { data_type: 11, raw_data: 0.1f64.to_le_bytes().to_vec(), ..floats("w", &[1], 1) };
    let nodes = vec![node("Mul", &["x", "w"], "a"), node("Dropout", &["a"], "y")];
    let warnings = import(&model(nodes, vec![double])).unwrap().warnings;
    assert_eq!(warnings[0].to_string(), "1 FP64 initializer was rounded to FP32: `w`");
    assert!(warnings[1].to_string().ends_with("the network trains without dropout: `the_dropout`"));
    let plain = import(&model(relu(), vec![])).unwrap().warnings;
    assert_eq!(plain[0].to_string(), "the network has no parameters, so there is nothing to train");
    // A plain network with convolutions and biases is not suspected of lost batch normalisation.
    let vgg =
        model(vec![node("Conv", &["x", "w", "b"], "y")], vec![floats("w", &[2, 4, 3, 3], 72), floats("b", &[2], 2)]);
    assert_eq!(import(&vgg).unwrap().warnings, []);
    let folded = model(
        vec![node("Conv", &["x", "onnx::Conv_10", "onnx::Conv_11"], "y")],
        vec![floats("onnx::Conv_10", &[2, 4, 3, 3], 72), floats("onnx::Conv_11", &[2], 2)],
    );
    assert!(import(&folded).unwrap().warnings[0].to_string().contains("batch normalisation was lost"));
}

#[test]
fn backward_operators_have_no_form_in_onnx() {
    use bitbudget_ir::{Dim, Graph, Model, TensorType, ops};
    let mut graph = Graph::new("g");
    let x = graph.source(ops::Input { name: "x".into() }, TensorType::f32([Dim::BATCH, Dim::fixed(3)]));
    let y = graph.add_named(ops::ReluGrad {}, &[x, x], "backward").unwrap();
    graph.set_output("y", y);
    let error = bitbudget_onnx::export_bytes(&Model { graph, values: Default::default() }).unwrap_err();
    assert!(error.to_string().contains("`backward` (relu_grad): it has no form in ONNX"), "{error}");
}
