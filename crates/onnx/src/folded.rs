//! Recognises networks whose batch normalisation the exporter folded into the convolutions.

use crate::order::node_name;
use crate::warning::{Warning, WarningKind};
use onnx_protobuf::{GraphProto, ModelProto};

/// A warning if batch normalisation was lost: a folded network trains differently, or not at all.
///
/// There must be convolutions and no batch normalisation left, and one of these traces: PyTorch's exporter notes the
/// rewrite `FuseBatchNormIntoConv` at each node; its program signature in the file lists running means; its older
/// exporter names weights that it computed itself `onnx::Conv_123`. A network without batch normalisation, such as VGG,
/// has none of them.
pub(crate) fn warning(model: &ModelProto, graph: &GraphProto) -> Option<Warning> {
    let convolutions: Vec<_> = graph.node.iter().filter(|n| n.op_type == "Conv").collect();
    if convolutions.is_empty() || graph.node.iter().any(|n| n.op_type == "BatchNormalization") {
        return None;
    }
    let rewritten = convolutions.iter().flat_map(|n| &n.metadata_props).any(|p| {
        (p.key.ends_with("rule_name") && p.value.contains("FuseBatchNorm")) || p.value.contains("batch_norm.default")
    });
    let signature = model.metadata_props.iter().chain(&graph.metadata_props);
    let signed = signature.into_iter().any(|p| p.key.ends_with("graph_signature") && p.value.contains("running_mean"));
    let computed = convolutions.iter().any(|n| {
        let own = |name: Option<&String>| name.is_some_and(|name| name.starts_with("onnx::Conv_"));
        own(n.input.get(1)) && own(n.input.get(2))
    });
    (rewritten || signed || computed).then(|| Warning {
        kind: WarningKind::FoldedNormalisation,
        names: convolutions.into_iter().map(|n| node_name(n).to_string()).collect(),
    })
}
