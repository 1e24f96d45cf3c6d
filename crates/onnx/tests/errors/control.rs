//! Functions and control flow that cannot be imported, and what their messages say.

use crate::models::{error, floats, import, info, int, model, node, relu, whole, with};
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto};
use protobuf::MessageField;

fn function(name: &str, nodes: Vec<NodeProto>) -> FunctionProto {
    FunctionProto {
        name: name.into(),
        domain: "local".into(),
        input: vec!["a".into()],
        output: vec!["b".into()],
        node: nodes,
        opset_import: vec![OperatorSetIdProto { version: 17, ..Default::default() }],
        ..Default::default()
    }
}

fn call(name: &str, input: &str, output: &str) -> NodeProto {
    NodeProto { domain: "local".into(), ..node(name, &[input], output) }
}

fn calling(calls: Vec<NodeProto>, functions: Vec<FunctionProto>) -> ModelProto {
    ModelProto { functions, ..model(calls, vec![]) }
}

fn graph(name: &str, inputs: &[&str], nodes: Vec<NodeProto>, outputs: &[&str]) -> AttributeProto {
    let infos = |names: &[&str]| names.iter().map(|name| info(name, &[])).collect();
    let g = GraphProto { node: nodes, input: infos(inputs), output: infos(outputs), ..Default::default() };
    let type_ = AttributeType::GRAPH.into();
    AttributeProto { name: name.into(), type_, g: MessageField::some(g), ..Default::default() }
}

#[test]
fn functions_that_cannot_be_called_have_their_messages() {
    let y = |calls| {
        let mut calls: Vec<NodeProto> = calls;
        calls.last_mut().unwrap().output = vec!["y".into()];
        calls
    };
    let own = vec![node("Relu", &["a"], "b")];
    let old = FunctionProto {
        opset_import: vec![OperatorSetIdProto { version: 6, ..Default::default() }],
        ..function("F", own.clone())
    };
    let mut two = call("F", "x", "y");
    two.input.push("x".into());
    for (file, parts) in [
        (
            calling(
                y(vec![call("F", "x", "y")]),
                vec![function("F", vec![call("G", "a", "b")]), function("G", vec![call("F", "a", "b")])],
            ),
            &["node `the_f/the_g/the_f` calls function `F`", "must not call itself: `F` calls `G` calls `F`"][..],
        ),
        (calling(vec![call("F", "x", "y")], vec![old]), &["node `the_f` calls function `F`", "operator set 6"]),
        (calling(vec![two], vec![function("F", own.clone())]), &["the call has 2 inputs, the function 1"]),
        (
            calling(vec![with(call("F", "x", "y"), int("size", 1))], vec![function("F", own.clone())]),
            &["attribute `size` is not known"],
        ),
        (
            calling(vec![call("F", "x", "y")], vec![function("F", vec![node("Relu", &["a"], "c")])]),
            &["no node of the function writes its output `b`"],
        ),
        (
            calling(vec![call("F", "x", "y")], vec![function("F", vec![node("Foo", &["a"], "b")])]),
            &["operator Foo", "used by `the_f/the_foo`"],
        ),
        (
            calling(vec![call("F", "x", "y")], vec![function("F", vec![with(node("Relu", &["a"], "b"), int("k", 1))])]),
            &["node `the_f/the_relu` (Relu version 14, in function `F`, called by `the_f`)", "attribute `k`"],
        ),
        (calling(vec![call("F", "x", "y")], vec![function("G", own)]), &["operator F of domain `local`"]),
    ] {
        let message = error(&file);
        assert!(parts.iter().all(|part| message.contains(part)), "{parts:?} are not in\n{message}");
    }
}

/// Functions that double at each level come to more nodes than any file has.
#[test]
fn functions_that_grow_without_end_are_refused() {
    let level = |n: usize| {
        let inner = format!("F{}", n + 1);
        function(&format!("F{n}"), vec![call(&inner, "a", "m"), call(&inner, "m", "b")])
    };
    let mut functions: Vec<FunctionProto> = (0..40).map(level).collect();
    functions.push(function("F40", vec![node("Relu", &["a"], "b")]));
    let message = error(&calling(vec![call("F0", "x", "y")], functions));
    assert!(message.contains("more than 200,000 nodes"), "{message}");
    // A call within a call within a call.
    let chain = |n: usize| function(&format!("F{n}"), vec![call(&format!("F{}", n + 1), "a", "b")]);
    let message = error(&calling(vec![call("F0", "x", "y")], (0..5000).map(chain).collect()));
    assert!(message.contains("nested more than 64 deep"), "{message}");
}

#[test]
fn control_flow_that_is_not_known_has_its_messages() {
    let branches = |condition: &str| {
        let then = graph("then_branch", &[], relu(), &["y"]);
        with(with(node("If", &[condition], "y"), then), graph("else_branch", &[], relu(), &["y"]))
    };
    let step = vec![node("Relu", &["h"], "n"), node("Identity", &["c"], "d")];
    let body = graph("body", &["i", "c", "h"], step, &["d", "n"]);
    let steps = |most: &str| with(node("Loop", &[most, "", "x"], "y"), body.clone());
    let until = graph("body", &["i", "c", "h"], vec![node("Relu", &["h"], "n")], &["h", "n"]);
    let count = |most: i64| vec![whole("m", &[most])];
    let along = graph("body", &["s", "r"], vec![node("Add", &["s", "r"], "n")], &["n"]);
    let scan = with(with(node("Scan", &["w", "x"], "y"), along), int("num_scan_inputs", 1));
    for (file, parts) in [
        (
            model(vec![branches("x")], vec![]),
            &["node `the_if` (If)", "its condition `x` is computed from the network's"][..],
        ),
        (model(vec![branches("c")], vec![whole("c", &[1, 0])]), &["its condition `c` holds 2 values"]),
        (model(vec![node("If", &["c"], "y")], vec![whole("c", &[1])]), &["attribute `then_branch` is missing"]),
        (model(vec![steps("m")], count(65)), &["node `the_loop` (Loop)", "more than 64 steps, 65 at most"]),
        (model(vec![steps("")], vec![]), &["it runs for more than 64 steps;"]),
        (model(vec![steps("x")], vec![]), &["its number of steps `x` is computed from the network's input"]),
        (
            model(vec![with(node("Loop", &["m", "", "x"], "y"), until)], count(3)),
            &["its condition `h` is computed from the network's input"],
        ),
        (model(vec![scan], vec![floats("w", &[4, 6, 6], 144)]), &["it runs along the batch of `x`"]),
        (model(vec![node("Loop", &["m", "", "x"], "y")], count(3)), &["attribute `body` is missing"]),
    ] {
        let message = error(&file);
        assert!(parts.iter().all(|part| message.contains(part)), "{parts:?} are not in\n{message}");
    }
    assert!(import(&model(vec![steps("m")], count(64))).is_ok());
}

#[test]
fn loops_of_many_nodes_are_refused() {
    let wide =
        |inner: NodeProto| graph("body", &["i", "c", "h"], vec![inner, node("Identity", &["c"], "d")], &["d", "n"]);
    let mut nested = with(node("Loop", &["m", "", "h"], "n"), wide(node("Relu", &["h"], "n")));
    for _ in 0..2 {
        nested = with(node("Loop", &["m", "", "h"], "n"), wide(nested));
    }
    nested.input[2] = "x".into();
    nested.output[0] = "y".into();
    let message = error(&model(vec![nested], vec![whole("m", &[60])]));
    assert!(message.contains("more than 20000 nodes"), "{message}");
}

#[test]
fn functions_are_told_apart_by_their_overloads() {
    let overload = |name: &str, operator: &str| FunctionProto {
        overload: name.into(),
        ..function("F", vec![node(operator, &["a"], "b")])
    };
    let called =
        |name: &str, input: &str, output: &str| NodeProto { overload: name.into(), ..call("F", input, output) };
    let calls = vec![called("one", "x", "t"), called("two", "t", "y")];
    let file = calling(calls, vec![overload("two", "Tanh"), overload("one", "Relu")]);
    let graph = import(&file).unwrap().model.graph;
    let operators: Vec<&str> = graph.ids().map(|id| graph.op(id).name()).collect();
    assert_eq!(operators, ["input", "relu", "tanh"]);
}

/// Bytes beside a file are found in functions and branches too.
#[test]
fn external_data_within_functions_and_branches_is_listed() {
    let constant = |location: &str| {
        let t = MessageField::some(crate::models::external(location));
        let value =
            AttributeProto { name: "value".into(), type_: AttributeType::TENSOR.into(), t, ..Default::default() };
        with(node("Constant", &[], "c"), value)
    };
    let branch = graph("then_branch", &[], vec![constant("branch.bin")], &["c"]);
    let file =
        calling(vec![with(node("If", &["x"], "y"), branch)], vec![function("F", vec![constant("function.bin")])]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    std::fs::write(&path, onnx_protobuf::Message::write_to_bytes(&file).unwrap()).unwrap();
    let names = ["branch.bin", "function.bin"].map(|name| folder.path().join(name));
    assert_eq!(bitbudget_onnx::external_files(&path), names);
}
