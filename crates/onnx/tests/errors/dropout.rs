//! Which dropout is read, and in which forms.

use crate::models::{int, model, node, with};
use bitbudget_ir::Op;
use bitbudget_onnx::{Dropout, ImportOptions, import_with};
use onnx_protobuf::{Message, ModelProto, TensorProto};

/// The ratios of the dropout that a file is trained with.
fn ratios(model: &ModelProto, dropout: Dropout) -> Result<Vec<f64>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.onnx");
    std::fs::write(&path, model.write_to_bytes().unwrap()).unwrap();
    let options = ImportOptions { dropout, ..ImportOptions::default() };
    let graph = import_with(&path, &options).map_err(|e| e.to_string())?.model.graph;
    let ratio = |id| if let Op::Dropout(op) = graph.op(id) { Some(op.ratio.0) } else { None };
    Ok(graph.ids().filter_map(ratio).collect())
}

fn number(name: &str, x: f32) -> TensorProto {
    TensorProto { name: name.into(), data_type: 1, float_data: vec![x], ..Default::default() }
}

fn truth(name: &str, x: bool) -> TensorProto {
    TensorProto { name: name.into(), data_type: 9, int32_data: vec![x.into()], ..Default::default() }
}

#[test]
fn dropout_is_applied_as_the_file_or_the_user_says() {
    let new = |mode: Option<bool>| {
        let inputs: &[&str] = if mode.is_some() { &["x", "r", "t"] } else { &["x", "r"] };
        let mode = mode.map(|mode| truth("t", mode));
        model(vec![node("Dropout", inputs, "y")], [number("r", 0.25)].into_iter().chain(mode).collect())
    };
    let old = |is_test: Option<i64>| {
        let plain = node("Dropout", &["x"], "y");
        let node = is_test.map_or_else(|| plain.clone(), |is_test| with(plain.clone(), int("is_test", is_test)));
        let mut model = model(vec![node], vec![]);
        model.opset_import[0].version = 6;
        model
    };
    for (model, ratio, keep) in [
        (new(Some(true)), 0.25, true),
        (new(Some(false)), 0.25, false),
        (new(None), 0.25, false),
        (old(Some(0)), 0.5, true),
        (old(None), 0.5, true),
        (old(Some(1)), 0.5, false),
    ] {
        let all = Ok(vec![ratio]);
        assert_eq!(ratios(&model, Dropout::Keep), if keep { all.clone() } else { Ok(vec![]) });
        assert_eq!(ratios(&model, Dropout::On), all);
        assert_eq!(ratios(&model, Dropout::Off), Ok(vec![]));
    }
    let drops_all = model(vec![node("Dropout", &["x", "r"], "y")], vec![number("r", 1.0)]);
    let message = ratios(&drops_all, Dropout::Keep).unwrap_err();
    assert!(message.contains("its ratio is 1; it must be from 0 to below 1"), "{message}");
}

#[test]
fn what_exporters_make_of_dropout_is_read_as_dropout() {
    let random = |compare: &str, inputs: [&str; 2]| {
        vec![
            node("RandomUniformLike", &["x"], "u"),
            node(compare, &inputs, "kept"),
            with(node("Cast", &["kept"], "mask"), int("to", 1)),
            node("Div", &["mask", "p"], "scaled"),
            node("Mul", &["x", "scaled"], "y"),
        ]
    };
    let p = || vec![number("p", 0.75)];
    for nodes in [random("Less", ["u", "p"]), random("LessOrEqual", ["u", "p"]), random("Greater", ["p", "u"])] {
        let model = model(nodes, p());
        assert_eq!(ratios(&model, Dropout::Keep), Ok(vec![0.25]));
        assert_eq!(ratios(&model, Dropout::Off), Ok(vec![]));
    }
    assert_eq!(ratios(&model(random("Less", ["p", "u"]), p()), Dropout::Keep), Ok(vec![0.75]));
    let bernoulli = vec![
        node("Shape", &["x"], "s"),
        node("Expand", &["p", "s"], "ps"),
        node("Bernoulli", &["ps"], "mask"),
        node("Div", &["mask", "p"], "scaled"),
        node("Mul", &["x", "scaled"], "y"),
    ];
    assert_eq!(ratios(&model(bernoulli, p()), Dropout::Keep), Ok(vec![0.25]));
    let noise = vec![node("RandomUniformLike", &["x"], "u"), node("Add", &["x", "u"], "y")];
    let message = ratios(&model(noise, vec![]), Dropout::Keep).unwrap_err();
    assert!(message.contains("node `the_add`: it reads random numbers"), "{message}");
}
