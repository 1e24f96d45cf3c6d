//! The interface of a file's graph: names, initializers, inputs, the output that is trained.

use super::options::ImportOptions;
use super::sizes::{self, Batch, Shapes, Size};
use crate::analysis::order::node_name;
use crate::error::ImportProblem;
use crate::file::{sparse, tensor};
use crate::importer::{Importer, Value};
use crate::ops;
use crate::warning::{WarningKind, few};
use bitbudget_ir::ops::{Reshape, Transpose};
use bitbudget_ir::{DType, Dim, Graph, NodeId, Op, Role, Shape, TensorType};
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
    let sparse = graph.sparse_initializer.iter().map(|sparse| {
        let name = sparse.values.as_ref().map_or("", |values| values.name.as_str());
        (name, sparse.values.data_type, sparse::decode(sparse, importer.data()))
    });
    let dense = graph
        .initializer
        .iter()
        .map(|dense| (dense.name.as_str(), dense.data_type, tensor::decode(dense, importer.data())));
    let decoded: Vec<_> = dense.chain(sparse).collect();
    for (name, element_type, decoded) in decoded {
        match decoded {
            Ok(decoded) => {
                importer.element_types.insert(name.into(), element_type);
                importer.add_initializer(name, decoded);
            }
            Err(reason) => {
                // Texts are names of labels, which only nodes read that the network does not need.
                if tensor::type_name(element_type) != "STRING" {
                    importer.missed.insert(name.into());
                }
                importer.unreadable.insert(name.into(), reason);
                importer.known.insert(name.into(), Value::Failed);
            }
        }
    }
}

/// Adds a problem for the initializers that a node needs and that cannot be read.
pub(super) fn unreadable(importer: &mut Importer) {
    let mut wrong: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in std::mem::take(&mut importer.missed) {
        if let Some(reason) = importer.unreadable.get(&name) {
            wrong.entry(reason.clone()).or_default().push(name);
        }
    }
    let problem = |(reason, names): (String, Vec<String>)| match names.as_slice() {
        [name] => ImportProblem::at(format!("initializer `{name}`"), reason),
        names => ImportProblem::at(format!("{} initializers, {}", names.len(), few(names)), reason),
    };
    let found: Vec<ImportProblem> = wrong.into_iter().map(problem).collect();
    importer.problems.splice(0..0, found);
}

/// The network's inputs: everything that the graph is given and that has no value in the file.
pub(super) fn network_inputs(graph: &GraphProto, options: &ImportOptions, batch: Batch, importer: &mut Importer) {
    let mut inputs: Vec<&ValueInfoProto> =
        graph.input.iter().filter(|input| !importer.known.contains_key(&input.name)).collect();
    if inputs.iter().any(|input| importer.is_read(&input.name)) {
        // What only other outputs read is not needed.
        inputs.retain(|input| importer.is_read(&input.name));
    }
    for input in &inputs {
        importer.known.insert(input.name.clone(), Value::Failed);
    }
    if inputs.is_empty() {
        return importer.problems.push("the graph has no input apart from its initializers".into());
    }
    let at = |input: &ValueInfoProto| format!("input `{}`", input.name);
    let read = |input: &ValueInfoProto| -> Result<(DType, Vec<Size>), String> {
        Ok((input_type(input)?, sizes::sizes(input)?))
    };
    let mut found = Vec::new();
    for &input in &inputs {
        match read(input) {
            Ok((ty, sizes)) => found.push((input, ty, sizes)),
            Err(reason) => importer.problems.push(ImportProblem::at(at(input), reason)),
        }
    }
    if found.len() < inputs.len() {
        return;
    }
    let mut sizes: Vec<(&str, Vec<Size>)> =
        found.iter().map(|(input, _, sizes)| (input.name.as_str(), sizes.clone())).collect();
    sizes::name_apart(&mut sizes, &options.sizes);
    let only = if sizes.len() == 1 { options.arrays.get("x") } else { None };
    let arrays: Vec<_> = sizes.iter().map(|(name, _)| options.arrays.get(*name).or(only)).collect();
    let shapes = sizes::check_given(&options.sizes, &graph.input)
        .and_then(|()| sizes::shapes(&sizes, &options.sizes, &arrays, batch));
    match shapes {
        Ok(Shapes { shapes, batch: stated, bound }) => {
            importer.batch = stated;
            bound.iter().for_each(|size| importer.warn(WarningKind::BoundSizes, size));
            for ((input, dtype, _), shape) in found.into_iter().zip(shapes) {
                let elements = element_type(input);
                if dtype == DType::F32 && elements != "FLOAT" {
                    importer.warn(WarningKind::InputType { elements }, &input.name);
                }
                match batch {
                    Batch::One if !is_one(&shape) => add_example(importer, &input.name, dtype, shape),
                    _ => importer.add_input(&input.name, TensorType { dtype, shape }),
                }
            }
        }
        Err(problem) => importer.problems.push(problem),
    }
}

/// Whether a shape is that of one example with a dimension of its own.
fn is_one(shape: &Shape) -> bool {
    shape.get(0) == Some(Dim::fixed(1))
}

/// A shape with a dimension in front for the example that it is of.
fn with_example(shape: &Shape) -> Shape {
    Shape([&[Dim::fixed(1)], shape.0.as_slice()].concat())
}

/// Adds an input that is one example.
fn add_example(importer: &mut Importer, name: &str, dtype: DType, shape: Shape) {
    importer.add_input(name, TensorType { dtype, shape: with_example(&shape) });
    if let Some(&Value::Tensor(id)) = importer.known.get(name) {
        match importer.emit_internal(&format!("{name}.example"), Reshape { shape }, &[id]) {
            Ok(id) => drop(importer.known.insert(name.into(), Value::Tensor(id))),
            Err(reason) => importer.problems.push(ImportProblem::at(format!("input `{name}`"), reason)),
        }
    }
}

/// The size of a file's inputs that is the batch, where it is open.
pub(super) fn open_batch(graph: &GraphProto, options: &ImportOptions) -> Option<String> {
    let is_given = |input: &&ValueInfoProto| graph.initializer.iter().any(|weight| weight.name == input.name);
    let inputs = graph.input.iter().filter(|input| !is_given(input));
    let sizes: Vec<_> = inputs.filter_map(|input| Some((input.name.as_str(), sizes::sizes(input).ok()?))).collect();
    sizes::open_batch(&sizes, &options.sizes)
}

fn element_code(input: &ValueInfoProto) -> Option<i32> {
    match input.type_.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(ty)) => Some(ty.elem_type),
        _ => None,
    }
}

fn element_type(input: &ValueInfoProto) -> String {
    element_code(input).map(tensor::type_name).unwrap_or_default()
}

/// The type of an input's elements.
fn input_type(input: &ValueInfoProto) -> Result<DType, String> {
    let code = element_code(input).ok_or("it is not a tensor")?;
    ops::graph_type(code).map_err(|_| {
        let found = tensor::type_name(code);
        format!("its elements are {found}; floating-point or whole numbers or truth values are needed")
    })
}

/// The name of the output to train: the only one, or the one that is `wanted`.
pub(super) fn network_output<'g>(
    graph: &'g GraphProto,
    wanted: Option<&str>,
    importer: &mut Importer,
) -> Option<&'g str> {
    let names: Vec<String> = graph.output.iter().map(|output| output.name.clone()).collect();
    let (problem, found) = match (wanted, graph.output.as_slice()) {
        (None, [output]) => (None, Some(output)),
        (Some(wanted), outputs) => match outputs.iter().find(|output| output.name == wanted) {
            Some(output) => (None, Some(output)),
            None => (Some(format!("the graph has no output `{wanted}`; it has {}", few(&names))), None),
        },
        (None, []) => (Some("the graph has no output".to_string()), None),
        (None, outputs) => match floats(outputs).as_slice() {
            [only] => {
                importer.warn(WarningKind::ChosenOutput, &only.name);
                (None, Some(*only))
            }
            found => {
                // Scores are more likely meant than labels.
                let others = outputs.iter().filter(|output| !found.iter().any(|other| other.name == output.name));
                let all: Vec<&ValueInfoProto> = found.iter().copied().chain(others).collect();
                let described: Vec<String> = all.iter().map(|output| described(output)).collect();
                let (first, all) = (&all[0].name, described.join(", "));
                let more =
                    format!("the graph has {} outputs, {all}: say which one is trained, --output {first}", names.len());
                (Some(more), None)
            }
        },
    };
    importer.problems.extend(problem.map(ImportProblem::from));
    found.map(|output| output.name.as_str())
}

/// The outputs of floating-point numbers, as far as the file says it.
fn floats(outputs: &[ValueInfoProto]) -> Vec<&ValueInfoProto> {
    outputs.iter().filter(|output| element_code(output).is_some_and(tensor::is_float)).collect()
}

/// An output with its shape, as far as the file says it.
fn described(output: &ValueInfoProto) -> String {
    let size = |size: &Size| match size {
        Size::Fixed(size) => size.to_string(),
        Size::Named(name) => name.clone(),
    };
    match sizes::sizes(output) {
        Ok(sizes) => format!("`{}` [{}]", output.name, sizes.iter().map(size).collect::<Vec<_>>().join(",")),
        Err(_) => format!("`{}`", output.name),
    }
}

/// Makes the tensor of a name the output of the graph. Where a loss of ONNX stood behind it, the classes are its second dimension.
/// With `is_example` it is the result of one example.
pub(super) fn set_output(name: &str, has_loss: bool, is_example: bool, importer: &mut Importer) {
    let id = match importer.known.get(name).cloned() {
        Some(Value::Failed) => {
            importer.missed.insert(name.into());
            return;
        }
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
    let mut scores = before_arg_max(&importer.graph, id).unwrap_or(id);
    if has_loss && importer.graph.ty(scores).shape.rank() == 3 {
        // The classes of three dimensions are the last one here.
        match importer.emit_internal(name, Transpose { perm: vec![0, 2, 1] }, &[scores]) {
            Ok(transposed) => scores = transposed,
            Err(reason) => return importer.problems.push(ImportProblem::at(format!("output `{name}`"), reason)),
        }
    }
    let shape = importer.graph.ty(scores).shape.clone();
    if is_example && !is_one(&shape) {
        match importer.emit_internal(name, Reshape { shape: with_example(&shape) }, &[scores]) {
            Ok(result) => scores = result,
            Err(reason) => return importer.problems.push(ImportProblem::at(format!("output `{name}`"), reason)),
        }
    }
    importer.graph.set_output(name, scores);
}

/// Makes the tensors that the file names as its outputs outputs of the graph too, behind the first.
pub(super) fn set_other_outputs(graph: &GraphProto, importer: &mut Importer) {
    for output in &graph.output {
        let known = importer.known.get(&output.name);
        if let (Some(&Value::Tensor(id)), None) = (known, importer.graph.output(&output.name)) {
            importer.graph.set_output(output.name.clone(), id);
        }
    }
}

/// The scores whose largest one an output names.
fn before_arg_max(graph: &Graph, mut id: NodeId) -> Option<NodeId> {
    loop {
        let operand = graph.operands(id).first().copied()?;
        match graph.op(id) {
            Op::ArgMax(_) => break,
            Op::Reshape(_) | Op::Transpose(_) | Op::Convert(_) if graph.ty(operand).dtype == DType::I32 => id = operand,
            _ => return None,
        }
    }
    // ArgMax is computed along the last axis.
    let scores = graph.operands(id).first().copied()?;
    match graph.op(scores) {
        Op::Transpose(_) if graph.node(scores).role == Role::Internal => graph.operands(scores).first().copied(),
        _ => Some(scores),
    }
}
