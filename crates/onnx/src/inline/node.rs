//! A node's name, the graphs within it, and the names that it reads.

use onnx_protobuf::{GraphProto, NodeProto};
use std::collections::BTreeSet;

/// The node's name, or that of its first output.
pub(crate) fn node_name(node: &NodeProto) -> &str {
    if node.name.is_empty() { node.output.iter().find(|n| !n.is_empty()).map_or("", |n| n) } else { &node.name }
}

/// The graphs within a node: the branches and bodies of control flow.
pub(crate) fn graphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

/// The graphs within a node, to be changed.
pub(crate) fn graphs_mut(node: &mut NodeProto) -> impl Iterator<Item = &mut GraphProto> {
    node.attribute.iter_mut().flat_map(|attribute| attribute.g.as_mut().into_iter().chain(&mut attribute.graphs))
}

/// The names that a node reads: its inputs, and what graphs within it take from outside.
pub(crate) fn reads(node: &NodeProto) -> Vec<&str> {
    let mut names: Vec<&str> = node.input.iter().map(String::as_str).collect();
    names.extend(captures(node));
    names
}

/// The names that graphs within a node take from outside, each once.
pub(crate) fn captures(node: &NodeProto) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for graph in graphs(node) {
        let inputs = graph.input.iter().map(|input| input.name.as_str());
        let stored = graph.initializer.iter().map(|tensor| tensor.name.as_str());
        let computed = graph.node.iter().flat_map(|node| &node.output).map(String::as_str);
        let own: BTreeSet<&str> = inputs.chain(stored).chain(computed).collect();
        let read = graph.node.iter().flat_map(reads).chain(graph.output.iter().map(|output| output.name.as_str()));
        found.extend(read.filter(|name| !name.is_empty() && !own.contains(name)));
    }
    found
}
