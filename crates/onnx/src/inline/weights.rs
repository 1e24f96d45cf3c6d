//! Weights that a file stores as Constant nodes, as some exporters do with all of them.

use crate::file::tensor::is_float;
use onnx_protobuf::{GraphProto, NodeProto, TensorProto};
use std::collections::BTreeSet;

/// How many times the numbers of the initializers are hardly any beside those of the nodes.
const MOST_BESIDE: i64 = 10;

/// Makes initializers of the Constant nodes with several floating-point numbers where the initializers hold hardly any, and says which.
pub(crate) fn from_constants(graph: &mut GraphProto) -> Vec<String> {
    let in_nodes = total(graph.node.iter().filter_map(weight));
    let stored = total(graph.initializer.iter().filter(|tensor| is_weight(tensor)));
    if in_nodes <= stored.saturating_mul(MOST_BESIDE) {
        return Vec::new();
    }
    let mut names = Vec::new();
    let nodes = std::mem::take(&mut graph.node);
    for node in nodes {
        match (weight(&node), node.output.first()) {
            (Some(tensor), Some(name)) => {
                names.push(name.clone());
                graph.initializer.push(TensorProto { name: name.clone(), ..tensor.clone() });
            }
            _ => graph.node.push(node),
        }
    }
    names
}

/// The initializers that an optimizer made of Constant nodes of PyTorch's older exporter, by their names, unless the others hold hardly any
/// numbers: they are no parameters.
pub(crate) fn made_of_constants(graph: &GraphProto) -> BTreeSet<String> {
    let floats = || graph.initializer.iter().filter(|tensor| is_float(tensor.data_type));
    let (made, others): (Vec<&TensorProto>, Vec<&TensorProto>) =
        floats().partition(|tensor| is_of_constant(&tensor.name));
    let all = |tensors: &[&TensorProto]| total(tensors.iter().copied());
    match all(&made) <= all(&others).saturating_mul(MOST_BESIDE) {
        true => made.into_iter().map(|tensor| tensor.name.clone()).collect(),
        false => BTreeSet::new(),
    }
}

/// Whether a name is that of a result of a Constant node, such as `/attention/Constant_8_output_0`.
fn is_of_constant(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    let number = last.strip_prefix("Constant").and_then(|rest| rest.rsplit_once("_output_"));
    let is_number = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    number.is_some_and(|(node, output)| is_number(node.trim_start_matches('_')) && is_number(output))
}

/// The tensor of a Constant node that may be a weight.
fn weight(node: &NodeProto) -> Option<&TensorProto> {
    let is_constant = node.op_type == "Constant" && matches!(node.domain.as_str(), "" | "ai.onnx");
    let value = node.attribute.iter().find(|attribute| attribute.name == "value").filter(|_| is_constant)?;
    value.t.as_ref().filter(|tensor| is_weight(tensor))
}

fn is_weight(tensor: &TensorProto) -> bool {
    is_float(tensor.data_type) && elements(tensor) > 1
}

/// The elements of all tensors; sizes that a file states may be of any size.
fn total<'t>(tensors: impl Iterator<Item = &'t TensorProto>) -> i64 {
    tensors.map(elements).fold(0, i64::saturating_add)
}

fn elements(tensor: &TensorProto) -> i64 {
    tensor.dims.iter().fold(1, |all: i64, &size| all.saturating_mul(size.max(0)))
}

#[cfg(test)]
mod tests {
    use super::{from_constants, is_of_constant};
    use onnx_protobuf::{GraphProto, TensorProto};

    #[test]
    fn names_tell_constants() {
        for (name, expected) in [
            ("/Constant_8_output_0", true),
            ("Constant_output_0", true),
            ("/layers.0/self_attn/Constant_12_output_0", true),
            ("/layers.0/self_attn/Concat_output_0", false),
            ("Constant.weight", false),
            ("/ConstantOfShape_output_0", false),
            ("weight", false),
        ] {
            assert_eq!(is_of_constant(name), expected, "{name}");
        }
    }

    #[test]
    fn sizes_without_end_are_added() {
        let tensor = TensorProto { dims: vec![i64::MAX, 2], data_type: 1, ..TensorProto::default() };
        let mut graph = GraphProto { initializer: vec![tensor.clone(), tensor], ..GraphProto::default() };
        assert!(from_constants(&mut graph).is_empty());
    }
}
