//! Recognises networks whose batch normalisation the exporter folded into the convolutions.

use crate::order::node_name;
use crate::warning::{Warning, WarningKind};
use onnx_protobuf::{GraphProto, ModelProto, NodeProto};

/// A warning if batch normalisation was lost: a folded network trains differently, or not at all.
///
/// PyTorch's newer exporter notes the rewrite `FuseBatchNormIntoConv` at each convolution that took one up. Without these notes
/// there must be convolutions and no batch normalisation left, and another trace: nodes that stand for batch normalisation, a
/// program signature in the file that lists running means, or weights that the older exporter computed itself and named
/// `onnx::Conv_123`. A network without batch normalisation, such as VGG, has none of them.
pub(crate) fn warning(model: &ModelProto, graph: &GraphProto) -> Option<Warning> {
    let convolutions: Vec<_> = graph.node.iter().filter(|n| n.op_type == "Conv").collect();
    let warning = |nodes: &[&NodeProto]| Warning {
        kind: WarningKind::FoldedNormalisation,
        names: nodes.iter().map(|n| node_name(n).to_string()).collect(),
    };
    let is_rewritten = |n: &&NodeProto| {
        n.metadata_props.iter().any(|p| p.key.ends_with("rule_name") && p.value.contains("FuseBatchNorm"))
    };
    let rewritten: Vec<_> = convolutions.iter().copied().filter(is_rewritten).collect();
    if !rewritten.is_empty() {
        return Some(warning(&rewritten));
    }
    if convolutions.is_empty() || graph.node.iter().any(|n| n.op_type == "BatchNormalization") {
        return None;
    }
    let stood_for = convolutions.iter().flat_map(|n| &n.metadata_props).any(|p| p.value.contains("batch_norm.default"));
    let signature = model.metadata_props.iter().chain(&graph.metadata_props);
    let signed = signature.into_iter().any(|p| p.key.ends_with("graph_signature") && p.value.contains("running_mean"));
    let computed = convolutions.iter().any(|n| {
        let own = |name: Option<&String>| name.is_some_and(|name| name.starts_with("onnx::Conv_"));
        own(n.input.get(1)) && own(n.input.get(2))
    });
    (stood_for || signed || computed).then(|| warning(&convolutions))
}
