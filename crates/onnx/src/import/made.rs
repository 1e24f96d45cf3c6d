//! Weights that a file makes of a shape and a number, by ConstantOfShape or Expand.

use crate::file::constant::Elements;
use crate::importer::{Importer, Node, Value};
use crate::warning::WarningKind;
use onnx_protobuf::NodeProto;

/// Numbers that made weights may come to in all.
pub(super) const MOST: usize = 1 << 28;

/// Whether the results of a node of known inputs may be weights: numbers made of a shape, or computed of such.
pub(super) fn is_made(importer: &Importer, node: &Node) -> Result<bool, String> {
    let floats = |position: usize| match node.input(position).map(|operand| &operand.value) {
        Some(Value::Constant(constant)) => matches!(constant.elements, Elements::Floats(_)),
        _ => false,
    };
    Ok(match node.proto.op_type.as_str() {
        "ConstantOfShape" => node.tensor("value")?.is_none_or(|value| crate::file::tensor::is_float(value.data_type)),
        "Expand" => floats(0),
        _ => floats(0) && node.input(0).is_some_and(|operand| importer.made.contains(&operand.name)),
    })
}

/// Whether a node reads a weight at a position. Exporters make the biases and scales that a layer does not have, of zeros and ones.
fn reads_weight(node: &NodeProto, position: usize) -> bool {
    let positions = match node.op_type.as_str() {
        "MatMul" | "FusedMatMul" => 0..2,
        "LSTM" | "GRU" | "RNN" => 1..3,
        "Conv" | "ConvTranspose" | "FusedConv" | "Gemm" | "FusedGemm" => 1..2,
        _ => 0..0,
    };
    positions.contains(&position)
}

/// The parameter that a made value is where a node reads it as a weight.
pub(super) fn weight(importer: &mut Importer, node: &NodeProto, position: usize, value: Value) -> Value {
    let name = node.input.get(position).map_or("", String::as_str);
    match value {
        Value::Constant(constant) if reads_weight(node, position) && importer.made.contains(name) => {
            importer.warn(WarningKind::MadeWeights, name);
            importer.made_initializer(name, constant)
        }
        value => value,
    }
}
