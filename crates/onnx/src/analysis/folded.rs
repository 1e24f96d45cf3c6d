//! Recognises networks whose batch normalisation the exporter folded into other operators.

use crate::analysis::order::node_name;
use crate::analysis::pytorch::{self, Signature, is_linear, took_up_normalisation};
use crate::warning::{Warning, WarningKind};
use onnx_protobuf::{GraphProto, NodeProto};
use std::collections::HashMap;

/// A warning if batch normalisation was lost: a folded network trains differently, or not at all.
///
/// PyTorch's newer exporter notes a rewrite such as `FuseBatchNormIntoConv` at each operator that took one up, or that the operator
/// stands for batch normalisation. The older one computes weight and bias of a convolution and names both `onnx::Conv_123`; ONNX Runtime
/// writes names such as `ConvBnFusion_W_0.weight`, and results keep the name of the BatchNormalization that they replace. Where a
/// tool removed the notes, the signature of the program may still list running means that the file lacks.
/// A network without batch normalisation, such as VGG, shows no such sign.
pub(crate) fn warning(graph: &GraphProto, signature: &Signature) -> Option<Warning> {
    let warning = |nodes: Vec<&NodeProto>| Warning {
        kind: WarningKind::FoldedNormalisation,
        names: nodes.iter().map(|n| node_name(n).to_string()).collect(),
    };
    let nodes = graph.node.iter();
    let known: Vec<_> = nodes.filter(|n| took_up_normalisation(n) || is_named_so(n)).collect();
    if !known.is_empty() {
        return Some(warning(known));
    }
    if graph.node.iter().any(|n| n.op_type == "BatchNormalization") || !signature.has_lost_normalisation() {
        return None;
    }
    let unknown: Vec<_> = graph.node.iter().filter(|n| is_linear(n) && pytorch::operator(n).is_none()).collect();
    (!unknown.is_empty()).then(|| warning(unknown))
}

/// Whether the names of a node show that it took up batch normalisation: those of PyTorch's older exporter, of ONNX Runtime, and a
/// result that was a BatchNormalization's.
fn is_named_so(node: &NodeProto) -> bool {
    let computed = |at: usize| node.input.get(at).is_some_and(|name| name.starts_with("onnx::Conv_"));
    let fused = |name: &String| name.contains("BnFusion_");
    let replaces =
        |name: &String| name.rsplit('/').next().is_some_and(|last| last.starts_with("BatchNormalization_output"));
    (node.op_type == "Conv" && computed(1) && computed(2))
        || (is_linear(node) && (node.input.iter().any(fused) || node.output.iter().any(replaces)))
}

/// Scales and shifts that PyTorch's older exporter computed of frozen batch normalisation after a convolution: it gives what it
/// computes names such as `onnx::Mul_37` and `onnx::Add_39`.
pub(crate) fn scales(graph: &GraphProto) -> Vec<String> {
    let writers: HashMap<&str, &NodeProto> =
        graph.node.iter().flat_map(|node| node.output.iter().map(move |o| (o.as_str(), node))).collect();
    let writer = |name: &String| writers.get(name.as_str()).copied();
    let stored = |name: &str| graph.initializer.iter().any(|t| t.name == name && t.dims.len() > 1);
    // The input of an operator that also reads a tensor of its own that was computed, and that tensor.
    let computed = |node: &NodeProto| -> Option<(String, String)> {
        let [a, b] = node.input.as_slice() else { return None };
        let is_computed = |name: &str| name.starts_with(&format!("onnx::{}_", node.op_type)) && stored(name);
        match (is_computed(a), is_computed(b)) {
            (false, true) => Some((a.clone(), b.clone())),
            (true, false) => Some((b.clone(), a.clone())),
            _ => None,
        }
    };
    let pair = |add: &NodeProto| {
        let (product, shift) = computed(add)?;
        let mul = writer(&product).filter(|node| node.op_type == "Mul")?;
        let (x, scale) = computed(mul)?;
        writer(&x).filter(|node| is_linear(node))?;
        Some([scale, shift])
    };
    graph.node.iter().filter(|node| matches!(node.op_type.as_str(), "Add" | "Sub")).filter_map(pair).flatten().collect()
}

/// Batch normalisations in evaluation mode, in a file that holds others in training mode: its author froze them.
pub(crate) fn in_evaluation(graph: &GraphProto) -> Vec<String> {
    let trains = |node: &NodeProto| {
        let mode = node.attribute.iter().find(|a| a.name == "training_mode").is_some_and(|a| a.i != 0);
        mode || pytorch::operator(node).is_some_and(|op| op.contains("batch_norm") && !op.contains("no_training"))
    };
    let all = graph.node.iter().filter(|node| node.op_type == "BatchNormalization");
    let (training, evaluation): (Vec<&NodeProto>, Vec<_>) = all.partition(|node| trains(node));
    if training.is_empty() {
        return Vec::new();
    }
    evaluation.into_iter().map(|node| node_name(node).to_string()).collect()
}
