//! Which operators share a parameter, and which only seem to.
//!
//! Exporters merge initializers whose elements are equal, biases of zero and scales of one above all, and what was several
//! parameters would be trained as one. A parameter whose elements are all equal is therefore separate for every operator that
//! reads it, unless the file shows that it is shared: its operators compute a weight, read another parameter together, whose
//! elements differ, belong to one module of PyTorch, or the file is from PyTorch's older exporter, which gives merged initializers their own
//! names by Identity. A parameter whose elements differ is shared by all that read it.

use super::node::{Node, Value};
use super::state::{Importer, Initializer, Made, Reader};
use crate::analysis::pytorch::Origin;
use crate::file::constant::{Constant, Elements};
use crate::inline::notes;
use crate::warning::WarningKind;
use bitbudget_ir::{NodeId, Op, Precision, Shape, TensorType, ops};
use onnx_protobuf::NodeProto;
use std::collections::{BTreeMap, BTreeSet};

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
        // The older exporter names the calls of one layer `/act/PRelu` and `/act_1/PRelu`.
        (false, None) if node.name.starts_with('/') => format!("layer {}", called(layer_of(node.name)).join("/")),
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
    let may_be_merged = *uniform && !importer.clues.source.is_own() && !importer.reader.scalars.contains(&i);
    let group = if may_be_merged { importer.reader.group.clone() } else { String::new() };
    if let Some(made) = parameters.get(&group).cloned() {
        warn_of_sharing(importer, &made, &name);
        return Ok(made.id);
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
        let made = made(&importer.reader, id);
        importer.initializers[i].parameters.insert(group, made);
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
    let made = made(&importer.reader, id);
    importer.initializers[i].parameters.insert(group, made);
    Ok(id)
}

fn made(reader: &Reader, id: NodeId) -> Made {
    Made { id, node: reader.node, owner: reader.owner.clone() }
}

/// Says once that another operator than the first reads a parameter.
fn warn_of_sharing(importer: &mut Importer, made: &Made, initializer: &str) {
    let shared = importer.graph.op(made.id).source_name().unwrap_or(initializer).to_string();
    if made.node != importer.reader.node && importer.shared.insert(shared.clone()) {
        let kind = match are_copies(&made.owner, &importer.reader.owner) {
            true => WarningKind::SharedByCopies,
            false => WarningKind::Shared,
        };
        importer.warn(kind, shared);
    }
}

/// Whether two layers or nodes seem to be copies of one layer: their names differ in numbers, and not only in those at the end of a part,
/// which exporters give to further calls of the same layer.
fn are_copies(first: &str, second: &str) -> bool {
    let (first, second) = (called(first), called(second));
    let without_numbers =
        |name: &[String]| -> String { name.join("/").chars().filter(|c| !c.is_ascii_digit()).collect() };
    first != second && without_numbers(&first) == without_numbers(&second)
}

/// The parts of a node's or a layer's name without the numbers that exporters give to further calls.
fn called(name: &str) -> Vec<String> {
    let digits = |c: char| c.is_ascii_digit();
    let part = |part: &str| match part.trim_end_matches(digits).strip_suffix('_') {
        Some(start) if part.ends_with(digits) => start.to_string(),
        _ => part.to_string(),
    };
    name.split('/').map(part).collect()
}

/// The layer of a node that has it in its name.
fn layer_of(node: &str) -> &str {
    node.rsplit_once('/').map_or("", |(layer, _)| layer)
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

/// The parameters of the exported program that the file has no longer, but for those that copies of a layer share, and those that were
/// separated from others, which may have another name now.
pub(crate) fn lost(importer: &Importer) -> Vec<String> {
    let graph = &importer.graph;
    let parameter = |id| match graph.op(id) {
        Op::Parameter(parameter) => Some(parameter.name.as_str()),
        _ => None,
    };
    let trained: BTreeSet<&str> = graph.ids().filter_map(parameter).collect();
    let shape = |name: &str| -> String { name.chars().filter(|c| !c.is_ascii_digit()).collect() };
    let shared: BTreeSet<String> = importer.shared.iter().map(|name| shape(name)).collect();
    let last = |name: &str| name.rsplit('.').next().unwrap_or(name).to_string();
    let separated = importer.warnings.iter().filter(|warning| warning.kind == WarningKind::Separated);
    // Those under a name of the program are themselves.
    let is_other = |name: &&String| importer.clues.signature.is_parameter(name) != Some(true);
    let separated = separated.flat_map(|warning| &warning.names).filter(is_other);
    let separated: BTreeSet<String> = separated.map(|name| last(name)).collect();
    let mut lost = importer.clues.signature.lost(&trained);
    lost.retain(|name| !shared.contains(&shape(name)) && !separated.contains(&last(name)));
    lost
}

/// The parameters that hold the elements of another one transposed: two parts of a network that share a weight, as an embedding and the
/// last layer of a language model do, if an exporter transposed one of them.
pub(crate) fn transposed(importer: &Importer) -> Vec<String> {
    let graph = &importer.graph;
    let matrices = graph.ids().filter_map(|id| match (graph.op(id), graph.ty(id).shape.at(1).as_slice()) {
        (Op::Parameter(parameter), &[rows, columns]) if rows > 1 && columns > 1 => {
            Some((parameter.name.as_str(), [rows, columns], importer.values.get(&parameter.name)?.as_slice()))
        }
        _ => None,
    });
    let is_turned = |[rows, columns]: [usize; 2], later: &[f32], earlier: &[f32]| {
        (0..rows).all(|r| (0..columns).all(|c| later.get(r * columns + c) == earlier.get(c * rows + r)))
    };
    // The first and the last element stay where they are.
    type Key = ([usize; 2], [Option<u32>; 2]);
    let ends = |numbers: &[f32]| [numbers.first(), numbers.last()].map(|x| x.map(|x| x.to_bits()));
    let mut earlier: BTreeMap<Key, Vec<&[f32]>> = BTreeMap::new();
    let mut found = Vec::new();
    for (name, [rows, columns], numbers) in matrices {
        if numbers.windows(2).all(|pair| pair[0] == pair[1]) {
            continue;
        }
        let mut alike = earlier.get(&([columns, rows], ends(numbers))).into_iter().flatten();
        if alike.any(|other| is_turned([rows, columns], numbers, other)) {
            found.push(name.to_string());
        }
        earlier.entry(([rows, columns], ends(numbers))).or_default().push(numbers);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::are_copies;

    #[test]
    fn copies_differ_in_more_than_the_number_of_a_call() {
        assert!(are_copies("/layers.0/linear1/MatMul", "/layers.1/linear1/MatMul"));
        assert!(are_copies("layers.0.linear1", "layers.1.linear1"));
        assert!(are_copies("/enc1/Gemm", "/enc2/Gemm"));
        assert!(!are_copies("/layers.0/linear1/MatMul", "/layers.0/linear1_1/MatMul"));
        assert!(!are_copies("/layer/query/MatMul_1", "/layer/query/MatMul"));
        assert!(!are_copies("Gemm_3", "Gemm_12"));
        assert!(!are_copies("/embed/Gather", "/head/MatMul"));
    }
}
