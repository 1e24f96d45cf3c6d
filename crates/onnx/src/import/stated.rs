//! Inputs and outputs as a file states them, none of whose dimensions is the batch.

use crate::error::ImportProblem;
use crate::file::constant::{Constant, Elements};
use crate::file::tensor;
use crate::importer::{Importer, Operand, Value};
use crate::ops;
use bitbudget_ir::{Shape, TensorType};
use onnx_protobuf::tensor_shape_proto::dimension;
use onnx_protobuf::{GraphProto, ValueInfoProto, type_proto};

/// Adds all inputs that are no initializers.
pub(super) fn inputs(graph: &GraphProto, importer: &mut Importer) {
    for input in &graph.input {
        if importer.known.contains_key(&input.name) {
            continue;
        }
        match input_type(input) {
            Ok(ty) => importer.add_input(&input.name, ty),
            Err(reason) => importer.problems.push(ImportProblem::at(format!("input `{}`", input.name), reason)),
        }
        // Nodes that read what was refused have no problem of their own.
        importer.known.entry(input.name.clone()).or_insert(Value::Failed);
    }
}

fn input_type(input: &ValueInfoProto) -> Result<TensorType, String> {
    let Some(type_proto::Value::TensorType(ty)) = input.type_.as_ref().and_then(|t| t.value.as_ref()) else {
        return Err("it is not a tensor".into());
    };
    let dtype = ops::graph_type(ty.elem_type).map_err(|_| {
        format!("its elements are {}; make an initializer of it, or of numbers", tensor::type_name(ty.elem_type))
    })?;
    let shape = ty.shape.as_ref().ok_or("its shape is missing")?;
    let sizes = shape.dim.iter().enumerate().map(|(axis, dim)| match dim.value {
        Some(dimension::Value::DimValue(size)) => usize::try_from(size).map_err(|e| e.to_string()),
        _ => Err(format!("its dimension {axis} is not a number")),
    });
    Ok(TensorType { dtype, shape: Shape::fixed(&sizes.collect::<Result<Vec<_>, _>>()?) })
}

/// Makes the tensors of all outputs' names outputs; whole numbers become floating-point ones.
pub(super) fn set_outputs(graph: &GraphProto, importer: &mut Importer) {
    for output in &graph.output {
        let Some(value) = importer.known.get(&output.name).cloned() else {
            if importer.problems.is_empty() {
                importer.problems.push(format!("no node writes the output `{}`", output.name).into());
            }
            continue;
        };
        if matches!(value, Value::Failed) {
            importer.missed.insert(output.name.clone());
            continue;
        }
        let made = floats(value).and_then(|value| importer.operand(&Operand { name: output.name.clone(), value }));
        match made {
            Ok(id) => importer.graph.set_output(&output.name, id),
            Err(reason) => {
                importer.problems.push(ImportProblem::at(format!("output `{}`", output.name), reason));
            }
        }
    }
}

/// A value whose elements are floating-point numbers.
fn floats(value: Value) -> Result<Value, String> {
    let Value::Constant(constant) = &value else { return Ok(value) };
    let elements = Elements::Floats(constant.as_floats()?);
    Ok(Value::known(Constant { shape: constant.shape.clone(), elements }))
}
