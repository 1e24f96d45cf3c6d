//! A file's evidence about its initializers.

use super::frozen;
use super::order::execution_order;
use super::pytorch::Signature;
use super::scalars::Source;
use crate::inline::weights::made_of_constants;
use onnx_protobuf::{GraphProto, ModelProto, NodeProto};
use std::collections::BTreeSet;

/// A file's evidence about its initializers.
#[derive(Debug)]
pub(crate) struct Clues {
    /// Initializers, and their names by Identity, that are running statistics in arithmetic.
    pub(crate) frozen: BTreeSet<String>,
    /// The kinds of tensors that PyTorch's newer exporter notes in the file.
    pub(crate) signature: Signature,
    /// The evidence for the roles of scalar initializers.
    pub(crate) source: Source,
    /// Whether the file shows all initializers that the exporter merged, or that it merged none.
    pub(crate) marks_merged: bool,
    /// Initializers that were Constant nodes.
    pub(crate) constants: BTreeSet<String>,
}

impl Clues {
    /// The clues of a file, and of its graph with all nodes.
    pub(crate) fn of(model: &ModelProto, graph: &GraphProto) -> Clues {
        let order = execution_order(&graph.node).unwrap_or_default();
        let signature = Signature::of(model, graph);
        let mut frozen = frozen::statistics(graph, &order);
        frozen.retain(|name| signature.is_parameter(name) != Some(true));
        Clues {
            frozen,
            marks_merged: signature.is_stored_whole() || marks_merged(model, graph),
            source: Source::of(model),
            constants: made_of_constants(graph),
            signature,
        }
    }
}

/// Whether a file is from PyTorch's older exporter, which marks what it merges, and has such marks, which optimizers remove.
fn marks_merged(model: &ModelProto, graph: &GraphProto) -> bool {
    let newer = |node: &NodeProto| node.metadata_props.iter().any(|p| p.key.starts_with("pkg."));
    let stored: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let mark = |node: &NodeProto| node.op_type == "Identity" && node.input.iter().all(|i| stored.contains(i.as_str()));
    model.producer_name == "pytorch" && graph.node.iter().any(mark) && !graph.node.iter().any(newer)
}
