//! Weights that a file stores as Constant nodes, as some exporters do with all of them.

use crate::file::tensor::is_float;
use onnx_protobuf::{GraphProto, NodeProto, TensorProto};

/// How many times the numbers of the initializers are hardly any beside those of the nodes.
const MOST_BESIDE: i64 = 10;

/// Makes initializers of the Constant nodes with several floating-point numbers where the initializers hold hardly any, and says which.
pub(crate) fn from_constants(graph: &mut GraphProto) -> Vec<String> {
    let in_nodes: i64 = graph.node.iter().filter_map(weight).map(elements).sum();
    let stored: i64 = graph.initializer.iter().filter(|tensor| is_weight(tensor)).map(elements).sum();
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

/// The tensor of a Constant node that may be a weight.
fn weight(node: &NodeProto) -> Option<&TensorProto> {
    let is_constant = node.op_type == "Constant" && matches!(node.domain.as_str(), "" | "ai.onnx");
    let value = node.attribute.iter().find(|attribute| attribute.name == "value").filter(|_| is_constant)?;
    value.t.as_ref().filter(|tensor| is_weight(tensor))
}

fn is_weight(tensor: &TensorProto) -> bool {
    is_float(tensor.data_type) && elements(tensor) > 1
}

fn elements(tensor: &TensorProto) -> i64 {
    tensor.dims.iter().fold(1, |all: i64, &size| all.saturating_mul(size.max(0)))
}
