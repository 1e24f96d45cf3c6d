//! Slices and sums by index with lists of indices for several rows, the indices of the largest elements, quantised numbers.

use super::exporter::Exporter;
use super::messages::{floats, int, ints, text};
use super::sizes::{reshape_target, sizes_with_batch};
use bitbudget_ir::{Dim, NodeId, Shape, ops};
use onnx_protobuf::TensorProto;
use onnx_protobuf::tensor_proto::DataType;
use protobuf::Enum;

/// The indices with a dimension of one element at the end.
fn single(exporter: &mut Exporter, id: NodeId) -> Result<String, String> {
    let graph = &exporter.model.graph;
    let indices = graph.operand(id, 1).map_err(|e| e.to_string())?;
    let from = graph.ty(indices).shape.clone();
    let to = Shape([from.0.as_slice(), &[Dim::fixed(1)]].concat());
    let (indices, output) = (exporter.name(indices), exporter.name(id));
    let target = exporter.argument(id, "single", ints(&reshape_target(&from, &to)));
    let name = exporter.fresh(&format!("{output}.indices"));
    exporter.message(name.clone(), "Reshape", vec![indices, target], name.clone());
    Ok(name)
}

pub(super) fn gather(
    exporter: &mut Exporter,
    id: NodeId,
    mut inputs: Vec<String>,
    op: &ops::Gather,
) -> Result<(), String> {
    if op.axis != op.batch_dims {
        return Err("its axis does not follow the shared dimensions, which has no form in ONNX".into());
    }
    inputs[1] = single(exporter, id)?;
    exporter.node(id, "GatherND", inputs).attribute = vec![int("batch_dims", op.batch_dims as i64)];
    Ok(())
}

/// Sums by index, added to zeros.
pub(super) fn scatter(
    exporter: &mut Exporter,
    id: NodeId,
    inputs: Vec<String>,
    op: &ops::GatherGrad,
) -> Result<(), String> {
    let (output, shape) = (exporter.name(id), exporter.model.graph.ty(id).shape.clone());
    let zero = exporter.argument(id, "zero", floats(&[], &[0.0]));
    let sizes: Vec<i64> = shape.0.iter().map(|d| d.as_fixed().map_or(1, |size| size as i64)).collect();
    let target = match shape.0.iter().position(|dim| dim.is_batch()) {
        None => exporter.argument(id, "shape", ints(&sizes)),
        Some(axis) => sizes_with_batch(exporter, id, axis, &sizes)?,
    };
    let zeros = exporter.fresh(&format!("{output}.zeros"));
    exporter.message(zeros.clone(), "Expand", vec![zero, target], zeros.clone());
    let [updates, indices] = <[String; 2]>::try_from(inputs).map_err(|_| "it has no two operands")?;
    let add = text("reduction", "add");
    if op.batch_dims == 0 && op.axis == 0 {
        let indices = single(exporter, id)?;
        exporter.node(id, "ScatterND", vec![zeros, indices, updates]).attribute = vec![add];
        return Ok(());
    }
    if op.axis != op.batch_dims || shape.rank() != op.axis + 1 {
        return Err("its axis is not the last one after the shared dimensions, which has no form in ONNX".into());
    }
    let attributes = vec![int("axis", op.axis as i64), add];
    exporter.node(id, "ScatterElements", vec![zeros, indices, updates]).attribute = attributes;
    Ok(())
}

pub(super) fn top_k(exporter: &mut Exporter, id: NodeId, mut inputs: Vec<String>, op: &ops::TopK) {
    inputs.push(exporter.argument(id, "k", ints(&[op.count as i64])));
    let output = exporter.name(id);
    let values = exporter.fresh(&format!("{output}.values"));
    exporter.node(id, "TopK", inputs).output.insert(0, values);
}

/// Rounding with the gradient of the identity, which quantisation in steps of 1 has for its readers. The numbers have 16 bits at most.
pub(super) fn quantised(exporter: &mut Exporter, id: NodeId, mut inputs: Vec<String>) {
    let output = exporter.name(id);
    let one = exporter.argument(id, "one", floats(&[], &[1.0]));
    let zero = TensorProto { data_type: DataType::INT16.value(), int32_data: vec![0], ..TensorProto::default() };
    let zero = exporter.argument(id, "zero", zero);
    let quantised = exporter.fresh(&format!("{output}.quantised"));
    inputs.extend([one.clone(), zero.clone()]);
    exporter.message(quantised.clone(), "QuantizeLinear", inputs, quantised.clone());
    exporter.node(id, "DequantizeLinear", vec![quantised, one, zero]);
}
