//! ONNX models, piece by piece.

use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_shape_proto::{Dimension, dimension};
use onnx_protobuf::{
    AttributeProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};
use protobuf::MessageField;

pub(crate) const FLOAT: i32 = 1;
pub(crate) const INT64: i32 = 7;

pub(crate) fn info(name: &str, dims: &[i64]) -> ValueInfoProto {
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

pub(crate) fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op.into(),
        name: format!("the_{}", op.to_lowercase()),
        input: inputs.iter().map(|s| s.to_string()).collect(),
        output: vec![output.into()],
        ..Default::default()
    }
}

pub(crate) fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { name: name.into(), type_: AttributeType::INTS.into(), ints: ints.to_vec(), ..Default::default() }
}

pub(crate) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), type_: AttributeType::INT.into(), i, ..Default::default() }
}

pub(crate) fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { name: name.into(), type_: AttributeType::FLOAT.into(), f, ..Default::default() }
}

pub(crate) fn text(name: &str, s: &str) -> AttributeProto {
    AttributeProto { name: name.into(), type_: AttributeType::STRING.into(), s: s.into(), ..Default::default() }
}

pub(crate) fn with(mut node: NodeProto, attribute: AttributeProto) -> NodeProto {
    node.attribute.push(attribute);
    node
}

pub(crate) fn floats(name: &str, dims: &[i64], count: usize) -> TensorProto {
    let raw_data = vec![0; 4 * count];
    TensorProto { name: name.into(), dims: dims.to_vec(), data_type: FLOAT, raw_data, ..Default::default() }
}

pub(crate) fn whole(name: &str, values: &[i64]) -> TensorProto {
    let dims = vec![values.len() as i64];
    TensorProto { name: name.into(), dims, data_type: INT64, int64_data: values.to_vec(), ..Default::default() }
}

/// x [N, 4, 6, 6] -> y, through the given nodes.
pub(crate) fn model(nodes: Vec<NodeProto>, initializer: Vec<TensorProto>) -> ModelProto {
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

pub(crate) fn import(model: &ModelProto) -> Result<bitbudget_onnx::Imported, bitbudget_onnx::ImportError> {
    bitbudget_onnx::import_bytes(&model.write_to_bytes().unwrap(), None)
}

pub(crate) fn error(model: &ModelProto) -> String {
    import(model).expect_err("it should not be imported").to_string()
}

pub(crate) fn relu() -> Vec<NodeProto> {
    vec![node("Relu", &["x"], "y")]
}

pub(crate) fn external(location: &str) -> TensorProto {
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
