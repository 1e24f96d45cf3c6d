//! Which operators share a parameter, and which only seem to.
//!
//! Exporters merge initializers whose elements are equal, biases of zero and scales of one above all, and what was several
//! parameters would be trained as one. A parameter whose elements are all equal is therefore separate for every operator that
//! reads it, unless the file shows that it is shared: its operators compute a weight, read another parameter together, whose
//! elements differ, belong to one module of PyTorch, or the file is from PyTorch's older exporter, which gives merged initializers their own
//! names by Identity. A parameter whose elements differ is shared by all that read it.

use super::node::{Node, Value};
use super::state::{Importer, Initializer, Reader};
use crate::analysis::pytorch::Origin;
use crate::file::constant::{Constant, Elements};
use crate::inline::notes;
use crate::warning::WarningKind;
use bitbudget_ir::{NodeId, Op, Precision, Shape, TensorType, ops};
use onnx_protobuf::NodeProto;
use std::collections::BTreeSet;

/// From this magnitude on, an element is not of a parameter but of a mask of scores: infinity, -1e9, the least FP32 number.
const MASK: f32 = 1e8;

/// Whether numbers are a mask of scores: infinities, or nothing but zeros and numbers as large.
fn is_mask(numbers: &[f32]) -> bool {
    let is_large = |x: &f32| x.abs() >= MASK;
    let is_either = numbers.iter().all(|x| *x == 0.0 || is_large(x)) && numbers.iter().any(is_large);
    is_either || numbers.iter().any(|x| x.is_infinite())
}

/// Whether all elements of a tensor are equal.
pub(crate) fn is_uniform(constant: &Constant) -> bool {
    match &constant.elements {
        Elements::Floats(floats) => floats.windows(2).all(|pair| pair[0] == pair[1]),
        Elements::Ints(_) => false,
    }
}

/// The reader that a node is.
pub(crate) fn reader(importer: &Importer, node: &Node, number: usize) -> Reader {
    let module = module(node.proto);
    // Copies of a node in an unrolled body share what the node reads.
    let output =
        notes::get(node.proto, notes::ORIGINAL).or(node.proto.output.first().map(String::as_str)).unwrap_or("");
    let group = match (importer.clues.marks_merged, &module) {
        (true, _) => String::new(),
        (false, Some(module)) => format!("module {module}"),
        // A weight in the making, such as one that is centred, reads a parameter several times.
        (false, None) if node.inputs.iter().flatten().all(|input| is_weight(importer, &input.value)) => {
            "weights".into()
        }
        (false, None) => match node.inputs.iter().flatten().find_map(|input| distinct(importer, &input.value)) {
            Some(parameter) => format!("beside {parameter}"),
            None => format!("node {output}"),
        },
    };
    let owner = module.unwrap_or_else(|| node.name.to_string());
    Reader { node: number, group, owner, scalars: own_scalars(importer, node) }
}

/// The scalars among a node's initializers that the file shows not to be merged with others.
fn own_scalars(importer: &Importer, node: &Node) -> BTreeSet<usize> {
    let read = importer.clues.signature.read_by(node.proto);
    let is_own = |name: &str| match &read {
        Some(read) => read.contains(&name),
        None => importer.clues.source.merges_nothing(),
    };
    let initializers = node.inputs.iter().flatten().filter_map(|input| match &input.value {
        Value::Initializer(i) => Some(*i),
        _ => None,
    });
    let fits =
        |&i: &usize| importer.initializers.get(i).is_some_and(|it| it.constant.shape.is_empty() && is_own(&it.name));
    initializers.filter(fits).collect()
}

/// The parameter that an initializer is for the operator that is being imported, or the constant if it holds numbers of masks.
pub(crate) fn parameter(importer: &mut Importer, i: usize) -> Result<NodeId, String> {
    let Initializer { name, constant, rounded, uniform, origin, parameters } = &importer.initializers[i];
    let (name, rounded, origin) = (name.clone(), *rounded, *origin);
    let may_be_merged = *uniform && !importer.reader.scalars.contains(&i);
    let group = if may_be_merged { importer.reader.group.clone() } else { String::new() };
    if let Some(&(id, first)) = parameters.get(&group) {
        let shared = importer.graph.op(id).source_name().unwrap_or(&name).to_string();
        if first != importer.reader.node && !importer.shared.contains(&shared) {
            importer.shared.insert(shared.clone());
            importer.warn(WarningKind::Shared, shared);
        }
        return Ok(id);
    }
    let floats = constant.as_floats()?;
    if floats.is_empty() {
        return Err(format!(
            "initializer `{name}` has no elements: its shape is {:?}; export the network without it",
            constant.shape
        ));
    }
    if let Some(at) = floats.iter().position(|x| x.is_nan()) {
        return Err(format!(
            "initializer `{name}` is not a number (NaN) at element {at}; export the network from before its training diverged"
        ));
    }
    if is_mask(&floats) {
        let constant = constant.clone();
        importer.warn(WarningKind::Mask, &name);
        let id = importer.constant_source(&name, &constant)?;
        importer.initializers[i].parameters.insert(group, (id, importer.reader.node));
        return Ok(id);
    }
    let ty = TensorType::f32(Shape::fixed(&constant.shape));
    let first = importer.initializers.iter().all(|other| other.origin != origin || other.parameters.is_empty());
    let own = match importer.initializers[i].parameters.is_empty() {
        true => name.clone(),
        false => importer.own_name(name.rsplit('.').next().unwrap_or(&name)),
    };
    // A running statistic may be read as a weight as well: exporters merge equal tensors.
    let own = if importer.values.contains_key(&own) { importer.fresh_name(&own) } else { own };
    if rounded {
        importer.warn(WarningKind::Rounded, &own);
    }
    if !first {
        importer.warn(WarningKind::Separated, &own);
    }
    let id = importer.graph.source(ops::Parameter { name: own.clone() }, ty);
    importer.values.insert(own, floats);
    importer.initializers[i].parameters.insert(group, (id, importer.reader.node));
    Ok(id)
}

/// Whether a value is the same for all examples.
fn is_weight(importer: &Importer, value: &Value) -> bool {
    match value {
        Value::Initializer(_) | Value::Constant(_) => true,
        Value::Tensor(id) => !importer.shape(*id).0.iter().any(|dim| dim.is_batch()),
        Value::Padded(_) | Value::Sequence(_) | Value::Failed => false,
    }
}

/// The parameter of differing elements that a value shows, if it shows one.
fn distinct(importer: &Importer, value: &Value) -> Option<String> {
    match value {
        Value::Initializer(i) => {
            let initializer = importer.initializers.get(*i)?;
            (!initializer.uniform).then(|| initializer.name.clone())
        }
        Value::Tensor(id) => shown(importer, *id),
        _ => None,
    }
}

fn shown(importer: &Importer, mut id: NodeId) -> Option<String> {
    let graph = &importer.graph;
    while graph.op(id).precision() == Precision::Relabel {
        id = *graph.operands(id).first()?;
    }
    match graph.op(id) {
        Op::Parameter(parameter) => {
            let values = importer.values.get(&parameter.name)?;
            values.windows(2).any(|pair| pair[0] != pair[1]).then(|| parameter.name.clone())
        }
        _ => None,
    }
}

/// The layer of `torch.nn` that a node belongs to, by the notes of PyTorch's newer exporter.
fn module(node: &NodeProto) -> Option<String> {
    let origin = Origin::of(node)?;
    let class = origin.class();
    let is_layer = class.starts_with("torch.nn.modules.") && !class.starts_with("torch.nn.modules.container.");
    is_layer.then(|| origin.layer().to_string())
}
