//! Messages about batch normalisation in files of PyTorch's exporters, with and without the exporter's notes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bitbudget_onnx::{Warning, WarningKind};
use onnx_protobuf::{AttributeProto, GraphProto, Message, ModelProto, NodeProto, StringStringEntryProto};
use std::path::Path;

/// A file of `crates/cli/tests/data`, changed, and what its import says beside the batch size that it was exported with.
fn said(name: &str, change: impl FnOnce(&mut GraphProto)) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/tests/data").join(name);
    let mut model = ModelProto::parse_from_bytes(&std::fs::read(path).unwrap()).unwrap();
    change(model.graph.as_mut().unwrap());
    let imported = bitbudget_onnx::import_bytes(&model.write_to_bytes().unwrap(), None).unwrap();
    let is_about = |warning: &&Warning| !matches!(warning.kind, WarningKind::AnyBatch { .. });
    imported.warnings.iter().filter(is_about).map(ToString::to_string).collect()
}

#[track_caller]
fn assert_one(said: &[String], words: &str) {
    assert!(said.len() == 1 && said[0].contains(words), "{said:#?}");
}

/// Makes the initializers with one of these names constants.
fn make_constants(graph: &mut GraphProto, names: &[&str]) {
    for name in names {
        let at = graph.initializer.iter().position(|t| t.name == *name).unwrap();
        let value = AttributeProto {
            name: "value".into(),
            t: Some(graph.initializer.remove(at)).into(),
            type_: onnx_protobuf::attribute_proto::AttributeType::TENSOR.into(),
            ..Default::default()
        };
        let (op_type, output) = ("Constant".to_string(), vec![name.to_string()]);
        graph.node.insert(0, NodeProto { op_type, output, attribute: vec![value], ..Default::default() });
    }
}

#[test]
fn frozen_layers_are_known_by_their_class_or_by_the_signature_of_either_form() {
    let constant =
        "2 initializers belong to frozen batch normalisation, which has no parameters in PyTorch: `mul`, `sub`";
    let file = "frozen_layer_folded.onnx";
    assert_one(&said(file, |_| {}), constant);
    assert_one(&said(file, |graph| graph.metadata_props.clear()), constant);
    // As PyTorch 2.5 writes it.
    let spec = |kind: &str, name: &str| {
        format!("InputSpec(kind=<InputKind.{kind}>, arg=TensorArgument(name='p'), target='{name}', persistent=None), ")
    };
    let buffers = ["1.weight", "1.bias", "1.running_mean", "1.running_var"].map(|name| spec("BUFFER: 3", name));
    let value = format!("ExportGraphSignature(input_specs=[{}{}])", spec("PARAMETER: 2", "0.weight"), buffers.concat());
    let key = "pkg.torch.export.ExportedProgram.graph_signature".to_string();
    let entry = StringStringEntryProto { key, value, ..Default::default() };
    assert_one(&said(file, |graph| graph.metadata_props = vec![entry]), constant);
}

#[test]
fn folded_batch_normalisation_is_noticed_by_whatever_trace_is_left() {
    let lost = "batch normalisation was lost: the exporter or an optimizer folded it into the weights of 2 operators";
    let file = "folded_linear.onnx";
    let without = |end: &'static str| {
        said(file, move |graph| graph.node.iter_mut().for_each(|n| n.metadata_props.retain(|p| !p.key.ends_with(end))))
    };
    assert_one(&without("nothing"), lost);
    assert_one(&without("rule_name"), lost);
    assert_one(&without("class_hierarchy"), lost);
    // Without notes all that could have taken it up are named.
    let all = said(file, |graph| graph.node.iter_mut().for_each(|node| node.metadata_props.clear()));
    assert_one(&all, "folded it into the weights of 3 operators: `node_Conv_31`, `node_Gemm_32`, `node_linear_1`");
    assert_one(&said("folded_runtime.onnx", |_| {}), "2 operators: `/0/Conv`, `MatMulBnFusion_Gemm`");
    // The older exporter leaves its own, also beside batch normalisation that it could not fold.
    assert_one(&said("folded_old.onnx", |_| {}), "the weights of 1 operator: `/3/Conv`");
}

#[test]
fn a_scale_that_is_a_constant_is_noted_unless_all_its_elements_are_one() {
    let note = "1 BatchNormalization has a constant, not an initializer, as scale or bias, which is not trained: \
                `/2/BatchNormalization`; in training, the statistics are still those of the batch";
    let said = |names: &[&str]| said("folded_old.onnx", |graph| make_constants(graph, names));
    let with = said(&["2.weight", "2.bias"]);
    assert!(with.len() == 2 && with.iter().any(|text| text == note), "{with:#?}");
    assert_eq!(said(&["2.running_mean", "2.running_var"]).len(), 1);
    let uniform = self::said("no_scale.onnx", |graph| make_constants(graph, &["val_9", "val_13"]));
    assert_eq!(uniform, [] as [String; 0]);
}

#[test]
fn batch_normalisation_in_evaluation_mode_is_ordinary_unless_others_are_in_training_mode() {
    let mixed = "1 BatchNormalization is in evaluation mode while others are in training mode: `/4/BatchNormalization`";
    assert_one(&said("modes_old.onnx", |_| {}), mixed);
    for mode in [0, 1] {
        let all = said("modes_old.onnx", |graph| {
            let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
            attributes.filter(|a| a.name == "training_mode").for_each(|a| a.i = mode);
        });
        assert_eq!(all, [] as [String; 0], "{mode}");
    }
}
