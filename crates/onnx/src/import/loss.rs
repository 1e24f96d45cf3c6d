//! What stands behind the scores of a network: losses that a file computes itself, and tables of names.

use crate::ops;
use onnx_protobuf::tensor_proto::DataType;
use onnx_protobuf::{GraphProto, NodeProto, TypeProto, type_proto};
use protobuf::{Enum, MessageField};

/// Makes the scores of cross-entropies outputs in their place, and drops their labels, which only they read; the names of the losses. One
/// that is to be trained as it stands stays.
pub(super) fn strip(graph: &mut GraphProto, kept: Option<&str>) -> Vec<String> {
    let mut stripped = Vec::new();
    for at in 0..graph.output.len() {
        let name = graph.output[at].name.clone();
        if kept == Some(name.as_str()) {
            continue;
        }
        let Some(loss) = graph.node.iter().position(|node| is_mean_loss(node) && node.output.first() == Some(&name))
        else {
            continue;
        };
        let (scores, labels) = (graph.node[loss].input[0].clone(), graph.node[loss].input[1].clone());
        graph.node.remove(loss);
        graph.input.retain(|input| input.name != labels || graph.node.iter().any(|node| node.input.contains(&labels)));
        graph.output[at].name = scores;
        graph.output[at].type_.clear();
        stripped.push(name);
    }
    let mut seen = Vec::new();
    graph.output.retain(|output| {
        let is_new = !seen.contains(&output.name);
        seen.push(output.name.clone());
        is_new
    });
    stripped
}

/// Makes the scores of classifiers tensors again, of which scikit-learn's exporter makes a table of names.
pub(super) fn without_tables(graph: &mut GraphProto) {
    for node in graph.node.iter_mut().filter(|node| node.domain == "ai.onnx.ml" && node.op_type == "ZipMap") {
        (node.domain, node.op_type) = (String::new(), "Identity".into());
        node.attribute.clear();
        for output in graph.output.iter_mut().filter(|output| node.output.contains(&output.name)) {
            let tensor = type_proto::Tensor { elem_type: DataType::FLOAT.value(), ..Default::default() };
            let value = Some(type_proto::Value::TensorType(tensor));
            output.type_ = MessageField::some(TypeProto { value, ..TypeProto::default() });
        }
    }
}

/// Whether a node is the mean of a cross-entropy without weights.
fn is_mean_loss(node: &NodeProto) -> bool {
    let is_mean = |node: &NodeProto| node.attribute.iter().all(|a| a.name != "reduction" || a.s == b"mean");
    let is_loss = matches!(node.op_type.as_str(), "SoftmaxCrossEntropyLoss" | "NegativeLogLikelihoodLoss");
    let inputs = node.input.iter().filter(|input| !input.is_empty()).count();
    ops::is_onnx(&node.domain) && is_loss && inputs == 2 && is_mean(node)
}
