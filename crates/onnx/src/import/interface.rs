//! The interface of a file's graph: names, initializers, one input, one output.

use crate::analysis::order::node_name;
use crate::error::ImportProblem;
use crate::file::tensor;
use crate::importer::{Importer, Value};
use crate::warning::{self, WarningKind};
use bitbudget_ir::{Dim, Shape, TensorType};
use onnx_protobuf::tensor_shape_proto::dimension;
use onnx_protobuf::{GraphProto, ValueInfoProto, type_proto};
use std::collections::{BTreeMap, BTreeSet};

/// Each name may be given once (ONNX is in single-assignment form).
pub(super) fn unique_names(graph: &GraphProto, problems: &mut Vec<ImportProblem>) {
    let mut initializers = BTreeSet::new();
    for tensor in &graph.initializer {
        if tensor.name.is_empty() {
            problems.push("an initializer has no name".into());
        } else if !initializers.insert(tensor.name.as_str()) {
            problems.push(format!("two initializers are named `{}`", tensor.name).into());
        }
    }
    let mut given: BTreeMap<&str, &str> = initializers.iter().map(|&name| (name, "an initializer")).collect();
    let mut inputs = BTreeSet::new();
    for input in &graph.input {
        if !inputs.insert(input.name.as_str()) {
            problems.push(format!("two inputs are named `{}`", input.name).into());
        }
        given.insert(&input.name, "an input");
    }
    for node in &graph.node {
        for output in node.output.iter().filter(|n| !n.is_empty()) {
            if let Some(other) = given.insert(output, "the output of another node") {
                problems.push(format!("node `{}` writes `{output}`, which is also {other}", node_name(node)).into());
            }
        }
    }
}

/// Decodes the initializers.
pub(super) fn initializers(graph: &GraphProto, importer: &mut Importer) {
    for sparse in &graph.sparse_initializer {
        let name = sparse.values.as_ref().map_or("", |v| v.name.as_str());
        importer
            .problems
            .push(format!("initializer `{name}` is sparse, which is not supported; store it densely").into());
    }
    let mut wrong: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for proto in &graph.initializer {
        match tensor::decode(proto, importer.data()) {
            Ok(decoded) => importer.add_initializer(&proto.name, decoded),
            Err(reason) => {
                wrong.entry(reason).or_default().push(proto.name.clone());
                importer.known.insert(proto.name.clone(), Value::Failed);
            }
        }
    }
    let problem = |(reason, names): (String, Vec<String>)| match names.as_slice() {
        [name] => ImportProblem::at(format!("initializer `{name}`"), reason),
        names => ImportProblem::at(format!("{} initializers, {}", names.len(), warning::few(names)), reason),
    };
    importer.problems.extend(wrong.into_iter().map(problem));
}

/// The network's one input.
pub(super) fn network_input(graph: &GraphProto, importer: &mut Importer) {
    let inputs: Vec<&ValueInfoProto> =
        graph.input.iter().filter(|input| !importer.known.contains_key(&input.name)).collect();
    for input in &inputs {
        importer.known.insert(input.name.clone(), Value::Failed);
    }
    match inputs.as_slice() {
        [input] => match input_type(input) {
            Ok((ty, batch, elements)) => {
                importer.batch = batch;
                if let Some(elements) = elements {
                    importer.warn(WarningKind::InputType { elements }, &input.name);
                }
                importer.add_input(&input.name, ty);
            }
            Err(reason) => importer.problems.push(ImportProblem::at(format!("input `{}`", input.name), reason)),
        },
        [] => importer.problems.push("the graph has no input apart from its initializers".into()),
        several => {
            let names: Vec<String> = several.iter().map(|i| format!("`{}`", i.name)).collect();
            importer.problems.push(
                format!(
                    "the graph has {} inputs ({}); a network of one input can be trained: give the others fixed values \
                 (initializers) or export without them",
                    several.len(),
                    names.join(", ")
                )
                .into(),
            );
        }
    }
}

type InputType = (TensorType, Option<usize>, Option<String>);

/// The network input's type with the batch size for its first dimension, the batch size that the file fixes, and the type of
/// its elements where that is not FP32.
fn input_type(input: &ValueInfoProto) -> Result<InputType, String> {
    let Some(type_proto::Value::TensorType(ty)) = input.type_.as_ref().and_then(|t| t.value.as_ref()) else {
        return Err("it is not a tensor".into());
    };
    if !tensor::is_float(ty.elem_type) {
        let found = tensor::type_name(ty.elem_type);
        return Err(format!(
            "its elements are {found}; a floating-point input is needed (export without the conversion)"
        ));
    }
    let shape = ty.shape.as_ref().ok_or("its shape is missing; export with an example input")?;
    let mut dims = Vec::with_capacity(shape.dim.len());
    let mut batch = None;
    for (axis, dim) in shape.dim.iter().enumerate() {
        dims.push(match &dim.value {
            Some(dimension::Value::DimValue(size)) if axis == 0 => {
                batch = usize::try_from(*size).ok().filter(|&b| b > 0);
                Dim::BATCH
            }
            _ if axis == 0 => Dim::BATCH,
            Some(dimension::Value::DimValue(size)) if *size > 0 && *size <= i64::from(i32::MAX) => {
                Dim::fixed(usize::try_from(*size).map_err(|e| e.to_string())?)
            }
            Some(dimension::Value::DimValue(size)) => return Err(format!("its dimension {axis} is {size}")),
            Some(dimension::Value::DimParam(name)) => {
                return Err(format!(
                    "its dimension {axis} is the variable `{name}`; only the first dimension, the batch, may vary: \
                     export with fixed sizes"
                ));
            }
            Some(_) | None => return Err(format!("its dimension {axis} is unknown; export with fixed sizes")),
        });
    }
    if dims.is_empty() {
        return Err("it has no dimensions; its first one must be the batch".into());
    }
    let elements = Some(tensor::type_name(ty.elem_type)).filter(|name| name != "FLOAT");
    Ok((TensorType::f32(Shape(dims)), batch, elements))
}

/// The name of the network's one output, unless there are others.
pub(super) fn network_output<'g>(graph: &'g GraphProto, importer: &mut Importer) -> Option<&'g str> {
    match graph.output.as_slice() {
        [output] => Some(output.name.as_str()),
        outputs => {
            let names: Vec<String> = outputs.iter().map(|o| format!("`{}`", o.name)).collect();
            importer.problems.push(
                format!(
                    "the graph has {} outputs ({}); export the network with the logits as its only output",
                    outputs.len(),
                    names.join(", ")
                )
                .into(),
            );
            None
        }
    }
}

/// Makes the tensor of a name the output of the graph.
pub(super) fn set_output(name: &str, importer: &mut Importer) {
    let id = match importer.known.get(name).cloned() {
        Some(Value::Failed) => return,
        Some(Value::Tensor(id)) => id,
        Some(Value::Padded(padded)) => match importer.padded(&padded) {
            Ok(id) => id,
            Err(reason) => return importer.problems.push(ImportProblem::at(format!("output `{name}`"), reason)),
        },
        Some(Value::Constant(_) | Value::Initializer(_) | Value::Sequence(_)) => {
            importer.problems.push(format!("output `{name}` is not a tensor that depends on the input").into());
            return;
        }
        None if importer.problems.is_empty() => {
            importer.problems.push(format!("no node writes the output `{name}`").into());
            return;
        }
        None => return,
    };
    let shape = &importer.graph.ty(id).shape;
    match shape.get(0) {
        Some(Dim::BATCH) => importer.graph.set_output(name, id),
        _ => importer.problems.push(
            format!(
                "output `{name}` has shape {shape}; logits of shape [N, classes] are needed, with the batch N first"
            )
            .into(),
        ),
    }
}
