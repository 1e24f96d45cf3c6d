//! Protobuf messages from plain values.

use super::annotations::Annotations;
use bitbudget_ir::{DType, Dim, TensorType};
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_proto::DataType;
use onnx_protobuf::tensor_shape_proto::{Dimension, dimension};
use onnx_protobuf::{
    AttributeProto, GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, type_proto,
};
use protobuf::{Enum, MessageField};

/// The operator set that is written: the first in which AveragePool has dilations, or the first that has Gelu, or quantised numbers of
/// 16 bits.
fn operator_set(graph: &GraphProto) -> i64 {
    let has = |operator: &str| graph.node.iter().any(|node| node.op_type == operator);
    match () {
        () if has("QuantizeLinear") => 21,
        () if has("Gelu") => 20,
        () => 19,
    }
}

const IR_VERSION: i64 = 9;
/// The first IR version in which nodes have metadata, and that of operator set 21.
const IR_VERSION_ANNOTATED: i64 = 10;

pub(super) fn model_message(graph: GraphProto, annotations: &Annotations) -> ModelProto {
    let version = operator_set(&graph);
    ModelProto {
        ir_version: if annotations.nodes.is_empty() && version < 21 { IR_VERSION } else { IR_VERSION_ANNOTATED },
        metadata_props: metadata(&annotations.model),
        opset_import: vec![OperatorSetIdProto { version, ..OperatorSetIdProto::default() }],
        producer_name: "bitbudget".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: MessageField::some(graph),
        ..ModelProto::default()
    }
}

/// Keys and values as messages.
pub(super) fn metadata(pairs: &[(String, String)]) -> Vec<StringStringEntryProto> {
    let entry = |(key, value): &(String, String)| StringStringEntryProto {
        key: key.clone(),
        value: value.clone(),
        ..StringStringEntryProto::default()
    };
    pairs.iter().map(entry).collect()
}

fn dimension(dim: &Dim) -> Dimension {
    let value = match dim.as_fixed() {
        Some(size) => dimension::Value::DimValue(size as i64),
        None => dimension::Value::DimParam(dim.to_string()),
    };
    Dimension { value: Some(value), ..Dimension::default() }
}

/// The element type in a file; whole numbers are what most operators take as indices.
pub(super) fn element_type(dtype: DType) -> DataType {
    match dtype {
        DType::F32 => DataType::FLOAT,
        DType::I32 | DType::Index8 => DataType::INT64,
        DType::Bool => DataType::BOOL,
    }
}

/// The name and type of a tensor.
pub(super) fn tensor_info(name: &str, ty: &TensorType) -> ValueInfoProto {
    let dims = ty.shape.0.iter().map(dimension).collect();
    let shape = TensorShapeProto { dim: dims, ..TensorShapeProto::default() };
    let tensor = type_proto::Tensor {
        elem_type: element_type(ty.dtype).value(),
        shape: MessageField::some(shape),
        ..type_proto::Tensor::default()
    };
    let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: name.into(), type_: MessageField::some(ty), ..ValueInfoProto::default() }
}

/// A tensor of some type, from FP32 numbers.
pub(super) fn typed(dtype: DType, shape: &[usize], values: &[f32]) -> TensorProto {
    let raw_data = match dtype {
        DType::F32 => return floats(shape, values),
        DType::I32 | DType::Index8 => values.iter().flat_map(|&x| (x as i64).to_le_bytes()).collect(),
        DType::Bool => values.iter().map(|&x| u8::from(x != 0.0)).collect(),
    };
    TensorProto {
        dims: shape.iter().map(|&d| d as i64).collect(),
        data_type: element_type(dtype).value(),
        raw_data,
        ..TensorProto::default()
    }
}

pub(super) fn floats(shape: &[usize], values: &[f32]) -> TensorProto {
    TensorProto {
        dims: shape.iter().map(|&d| d as i64).collect(),
        data_type: DataType::FLOAT.value(),
        raw_data: values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}

pub(super) fn ints(values: &[i64]) -> TensorProto {
    TensorProto {
        dims: vec![values.len() as i64],
        data_type: DataType::INT64.value(),
        raw_data: values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.into(), type_: kind.into(), ..AttributeProto::default() }
}

pub(super) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { i, ..attribute(name, AttributeType::INT) }
}

pub(super) fn flag(name: &str, set: bool) -> AttributeProto {
    int(name, i64::from(set))
}

pub(super) fn float(name: &str, f: f64) -> AttributeProto {
    AttributeProto { f: f as f32, ..attribute(name, AttributeType::FLOAT) }
}

pub(super) fn text(name: &str, s: &str) -> AttributeProto {
    AttributeProto { s: s.as_bytes().to_vec(), ..attribute(name, AttributeType::STRING) }
}

pub(super) fn texts<'t>(name: &str, all: impl IntoIterator<Item = &'t str>) -> AttributeProto {
    AttributeProto {
        strings: all.into_iter().map(|s| s.as_bytes().to_vec()).collect(),
        ..attribute(name, AttributeType::STRINGS)
    }
}

pub(super) fn numbers(name: &str, all: impl IntoIterator<Item = f64>) -> AttributeProto {
    AttributeProto { floats: all.into_iter().map(|x| x as f32).collect(), ..attribute(name, AttributeType::FLOATS) }
}

pub(super) fn list(name: &str, sizes: impl IntoIterator<Item = usize>) -> AttributeProto {
    AttributeProto { ints: sizes.into_iter().map(|i| i as i64).collect(), ..attribute(name, AttributeType::INTS) }
}

pub(super) fn tensor(name: &str, t: TensorProto) -> AttributeProto {
    AttributeProto { t: MessageField::some(t), ..attribute(name, AttributeType::TENSOR) }
}
