//! Import: from the bytes of a file to a verified graph.

use crate::batch;
use crate::constant::Constant;
use crate::error::{ImportError, ImportProblem};
use crate::external::DataFolders;
use crate::folded;
use crate::frozen;
use crate::importer::Importer;
use crate::node::Value;
use crate::ops;
use crate::order::{self, node_name};
use crate::pytorch::Signature;
use crate::scalars::Source;
use crate::sharing;
use crate::tensor;
use crate::warning::{self, Warning, WarningKind};
use crate::wire;
use bitbudget_ir::{Dim, Model, Shape, TensorType, verify};
use onnx_protobuf::tensor_shape_proto::dimension;
use onnx_protobuf::{GraphProto, Message, ModelProto, ValueInfoProto, type_proto};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A network that was read from a file.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The forward graph with the initial values of its parameters, states and constants.
    pub model: Model,
    /// What the user should know: losses of precision, dropped operators, suspicious exports; each kind once.
    pub warnings: Vec<Warning>,
}

/// The oldest and the newest operator set that is read.
pub(crate) const OPSETS: (i64, i64) = (7, 28);

/// The largest protobuf message that there can be.
const MOST_BYTES: u64 = i32::MAX as u64;

/// Reads an ONNX file (IR version 3 and newer, operator sets 7 to 28).
///
/// The network's first input dimension becomes the batch size whatever the file says. Floating-point initializers
/// become parameters, except the running statistics of batch normalisation, which become states, and scalars that are numbers of the program.
///
/// # Errors
/// All problems of the file at once, each with the node, its operator and what to do.
pub fn import(path: &Path) -> Result<Imported, ImportError> {
    import_allowing(path, &[])
}

/// Like [`import`], with folders into which links to external data may lead beside the model's own.
///
/// # Errors
/// As for [`import`].
pub fn import_allowing(path: &Path, folders: &[PathBuf]) -> Result<Imported, ImportError> {
    let fault = |e: std::io::Error| ImportError::unreadable(path, &e);
    let meta = std::fs::metadata(path).map_err(fault)?;
    if !meta.is_file() {
        return Err(ImportError::one(format!("`{}` is not a file", path.display())));
    }
    if meta.len() > MOST_BYTES {
        return Err(too_large(meta.len()));
    }
    let bytes = std::fs::read(path).map_err(fault)?;
    parse(&bytes, Some(DataFolders::of(path, folders)))
}

fn too_large(bytes: u64) -> ImportError {
    ImportError::one(format!(
        "the file has {bytes} bytes, a protobuf message at most {MOST_BYTES}; store the weights as external data"
    ))
}

/// Like [`import`], from bytes; `folder` is where external data may lie.
///
/// # Errors
/// All problems of the file at once, each with the node, its operator and what to do.
pub fn import_bytes(bytes: &[u8], folder: Option<&Path>) -> Result<Imported, ImportError> {
    parse(bytes, folder.map(|folder| DataFolders::new(folder, &[])))
}

fn parse(bytes: &[u8], data: Option<DataFolders>) -> Result<Imported, ImportError> {
    if bytes.len() as u64 > MOST_BYTES {
        return Err(too_large(bytes.len() as u64));
    }
    if bytes.is_empty() {
        return Err(ImportError::one("the file is empty"));
    }
    wire::check(bytes).map_err(ImportError::one)?;
    let model = ModelProto::parse_from_bytes(bytes)
        .map_err(|e| ImportError::one(format!("{e}; the file is corrupt or not an ONNX file")))?;
    import_model(&model, data)
}

fn import_model(model: &ModelProto, data: Option<DataFolders>) -> Result<Imported, ImportError> {
    let graph =
        model.graph.as_ref().ok_or_else(|| ImportError::one("the file holds no graph; is it an ONNX model?"))?;
    let mut importer = Importer::new(&graph.name, data);
    importer.marks_merged = sharing::marks_merged(model, graph);
    importer.signature = Signature::of(model, graph);
    importer.marks_merged |= importer.signature.is_stored_whole();
    importer.source = Source::of(model);
    let opset = operator_set(model, &mut importer);
    if !model.functions.is_empty() {
        let names = model.functions.iter().map(|function| function.name.clone());
        warning::add(&mut importer.warnings, WarningKind::Functions, names);
    }
    unique_names(graph, &mut importer.problems);
    let order = order::execution_order(&graph.node);
    let needed = order.as_ref().map(|order| needed(graph, order, &mut importer)).unwrap_or_default();
    initializers(graph, &mut importer);
    network_input(graph, &mut importer);
    let output = match graph.output.as_slice() {
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
    };
    match order {
        Ok(order) => nodes(graph, &order, &needed, opset, &mut importer),
        Err(cycle) => importer.problems.push(cycle.into()),
    }
    if let Some(name) = output {
        set_output(name, &mut importer);
    }
    importer.warnings.extend(folded::warning(graph, &importer.signature));
    warn_of_each(&mut importer, WarningKind::FoldedStatistics, folded::scales(graph));
    warn_of_each(&mut importer, WarningKind::MixedModes, folded::in_evaluation(graph));
    finish(importer)
}

fn warn_of_each(importer: &mut Importer, kind: WarningKind, names: Vec<String>) {
    if !names.is_empty() {
        warning::add(&mut importer.warnings, kind, names);
    }
}

/// Which nodes the outputs need, with what has to be known of the graph before its nodes are imported.
fn needed(graph: &GraphProto, order: &[usize], importer: &mut Importer) -> Vec<bool> {
    let outputs: Vec<&str> = graph.output.iter().map(|o| o.name.as_str()).collect();
    let computed = order::computed(graph, order);
    let statistics = order::batch_statistics(graph, &computed);
    let needed = order::needed(&graph.node, order, &outputs, &statistics);
    importer.batch_statistics = statistics.into_iter().map(String::from).collect();
    importer.frozen = frozen::statistics(graph, order);
    importer.count_readers(graph, &needed);
    needed
}

fn finish(mut importer: Importer) -> Result<Imported, ImportError> {
    importer.closing_warnings();
    if importer.problems.is_empty() {
        let (graph, _) = importer.graph.without_dead_nodes();
        if let Err(faults) = verify(&graph) {
            importer.problems.extend(faults.iter().map(|fault| ImportProblem::from(fault.to_string())));
        } else if let Err(fault) = batch::check(&graph) {
            importer.problems.push(fault.into());
        } else {
            let sources: BTreeSet<&str> = graph.ids().filter_map(|id| graph.op(id).source_name()).collect();
            importer.values.retain(|name, _| sources.contains(name.as_str()));
            return Ok(Imported { model: Model { graph, values: importer.values }, warnings: importer.warnings });
        }
    }
    Err(ImportError::new(importer.problems))
}

fn operator_set(model: &ModelProto, importer: &mut Importer) -> i64 {
    let (oldest, newest) = OPSETS;
    let Some(opset) = model.opset_import.iter().find(|o| ops::is_onnx(&o.domain)).map(|o| o.version) else {
        importer.problems.push("the file does not say which operator set of ONNX it uses (opset_import)".into());
        return newest;
    };
    if opset < oldest {
        importer.problems.push(
            format!("the file uses operator set {opset}; convert it to {oldest} or newer with onnx.version_converter")
                .into(),
        );
    } else if opset > newest {
        let kind = WarningKind::NewerOperatorSet { found: opset, newest };
        warning::add(&mut importer.warnings, kind, []);
    }
    opset.clamp(oldest, newest)
}

/// Each name may be given once (ONNX is in single-assignment form).
fn unique_names(graph: &GraphProto, problems: &mut Vec<ImportProblem>) {
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

fn initializers(graph: &GraphProto, importer: &mut Importer) {
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

fn network_input(graph: &GraphProto, importer: &mut Importer) {
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

fn nodes(graph: &GraphProto, order: &[usize], needed: &[bool], opset: i64, importer: &mut Importer) {
    let mut unsupported: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for &at in order.iter().filter(|&&at| needed[at]) {
        let proto = &graph.node[at];
        let row = ops::is_onnx(&proto.domain).then(|| ops::find(&proto.op_type)).flatten();
        let values = match row {
            Some(row) => importer.node(row, proto, opset),
            None => {
                unsupported.entry((&proto.domain, &proto.op_type)).or_default().push(node_name(proto));
                None
            }
        };
        let mut values = values.unwrap_or_default().into_iter();
        for name in &proto.output {
            let value = values.next().unwrap_or(Value::Failed);
            if !name.is_empty() {
                importer.known.insert(name.clone(), value);
            }
        }
    }
    for ((domain, operator), names) in unsupported {
        importer.problems.push(unsupported_operator(domain, operator, opset, &names).into());
    }
}

fn unsupported_operator(domain: &str, operator: &str, opset: i64, names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(5).map(|n| format!("`{n}`")).collect();
    let more = if names.len() > 5 { format!(" and {} more", names.len() - 5) } else { String::new() };
    let place = match ops::is_onnx(domain) {
        true => format!("(operator set {opset})"),
        false => format!("of domain `{domain}`"),
    };
    let advice = match operator {
        "If" | "Loop" | "Scan" => {
            "control flow has no place in a trainer; export with fixed shapes and without control flow, or simplify \
             the file (onnxsim)"
        }
        "RandomUniformLike" | "RandomNormalLike" | "Bernoulli" => {
            "this is dropout or stochastic depth in training, taken apart by the exporter; export with these layers in \
             evaluation mode (layer.eval()), networks train without them"
        }
        _ => "docs/onnx.md lists the supported ones; replace it in the network or export without it",
    };
    format!("operator {operator} {place} is not supported, used by {}{more}; {advice}", shown.join(", "))
}

fn set_output(name: &str, importer: &mut Importer) {
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

/// A whole-number constant in the form that nodes hand on.
pub(crate) fn known(constant: Constant) -> Value {
    Value::Constant(Rc::new(constant))
}
