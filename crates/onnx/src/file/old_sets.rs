//! Files of operator sets 1 to 6, brought to the forms of set 7.
//!
//! Before set 7 a second operand was aligned by an attribute `axis`. Where it lies depends on shapes, so the attribute stays, and the rows
//! of the operators that had it read it.

use bitbudget_ir::Names;
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_proto::DataType;
use onnx_protobuf::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};
use protobuf::Enum;

/// The first operator set whose forms need no conversion.
const FIRST: i64 = 7;

/// Converts a file of an older operator set in place; files without any, of IR versions 1 and 2, are of the first.
pub(crate) fn convert(model: &mut ModelProto) {
    if model.opset_import.is_empty() && model.ir_version < 3 {
        model.opset_import.push(Default::default());
        model.opset_import[0].version = 1;
    }
    let of_onnx = |domain: &str| matches!(domain, "" | "ai.onnx");
    let Some(set) = model.opset_import.iter_mut().find(|set| of_onnx(&set.domain)) else { return };
    if !(1..FIRST).contains(&set.version) {
        return;
    }
    set.version = FIRST;
    let Some(graph) = model.graph.as_mut() else { return };
    let mut names = names(graph);
    for node in graph.node.iter_mut().filter(|node| of_onnx(&node.domain)) {
        if let Some(shape) = convert_node(node, &mut names) {
            graph.initializer.push(shape);
        }
    }
}

/// All names of tensors.
fn names(graph: &GraphProto) -> Names {
    let of_nodes = graph.node.iter().flat_map(|node| node.input.iter().chain(&node.output));
    let of_values = graph.initializer.iter().map(|tensor| &tensor.name).chain(graph.input.iter().map(|i| &i.name));
    of_nodes.chain(of_values).cloned().collect()
}

/// Converts a node; the initializer that it reads where its shape was an attribute.
fn convert_node(node: &mut NodeProto, names: &mut Names) -> Option<TensorProto> {
    // A hint for memory that said nothing about results.
    remove(node, "consumed_inputs");
    match node.op_type.as_str() {
        "BatchNormalization" => drop(remove(node, "is_test")),
        // Training was the default.
        "Dropout" if attribute(node, "is_test").is_none() => {
            node.attribute.push(AttributeProto {
                name: "is_test".into(),
                type_: AttributeType::INT.into(),
                ..AttributeProto::default()
            });
        }
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "PRelu" | "Gemm" => drop(remove(node, "broadcast")),
        "Concat" if attribute(node, "axis").is_none() => {
            let (name, type_) = ("axis".into(), AttributeType::INT.into());
            node.attribute.push(AttributeProto { name, type_, i: 1, ..AttributeProto::default() });
        }
        "Cast" => {
            let to = attribute(node, "to").filter(|to| !to.s.is_empty());
            let named = to.and_then(|to| DataType::from_str(&String::from_utf8_lossy(&to.s)));
            if let Some(code) = named
                && let Some(to) = node.attribute.iter_mut().find(|attribute| attribute.name == "to")
            {
                (to.i, to.type_) = (code.value().into(), AttributeType::INT.into());
                to.s.clear();
            }
        }
        "Pad" => {
            if let Some(pads) = node.attribute.iter_mut().find(|attribute| attribute.name == "paddings") {
                pads.name = "pads".into();
            }
        }
        "Reshape" if node.input.len() == 1 => {
            let sizes = remove(node, "shape")?.ints;
            let name = names.fresh(&format!("{}.shape", node.output.first().map_or("", String::as_str)));
            node.input.push(name.clone());
            let (dims, data_type) = (vec![sizes.len() as i64], DataType::INT64.value());
            return Some(TensorProto { name, dims, data_type, int64_data: sizes, ..TensorProto::default() });
        }
        _ => {}
    }
    None
}

fn attribute<'n>(node: &'n NodeProto, name: &str) -> Option<&'n AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

/// Takes an attribute away.
fn remove(node: &mut NodeProto, name: &str) -> Option<AttributeProto> {
    let at = node.attribute.iter().position(|attribute| attribute.name == name)?;
    Some(node.attribute.remove(at))
}
