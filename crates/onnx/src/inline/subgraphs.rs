//! The graphs within nodes, as far as they concern a file as a whole.

use super::node::{graphs, graphs_mut};
use bitbudget_ir::Names;
use onnx_protobuf::{GraphProto, NodeProto, TensorProto};
use std::borrow::Cow;
use std::collections::HashMap;

/// All names of tensors of a graph, also of those within its nodes.
pub(crate) fn names(graph: &GraphProto) -> Names {
    fn collect(graph: &GraphProto, found: &mut Names) {
        let stored = graph.initializer.iter().map(|tensor| &tensor.name);
        let given = graph.input.iter().map(|input| &input.name);
        let of_nodes = graph.node.iter().flat_map(|node| node.input.iter().chain(&node.output));
        stored.chain(given).chain(of_nodes).for_each(|name| found.take(name));
        graph.node.iter().flat_map(graphs).for_each(|graph| collect(graph, found));
    }
    let mut found = Names::default();
    collect(graph, &mut found);
    found
}

/// Makes the initializers of graphs within nodes initializers of the file's graph, under the same names wherever nothing else has these.
pub(crate) fn hoist(graph: &mut GraphProto) {
    let mut names = Names::default();
    let stored = graph.initializer.iter().map(|tensor| &tensor.name);
    let given = graph.input.iter().map(|input| &input.name);
    stored.chain(given).chain(graph.node.iter().flat_map(|node| &node.output)).for_each(|name| names.take(name));
    let mut found = Vec::new();
    for inner in graph.node.iter_mut().flat_map(graphs_mut) {
        take(inner, &mut names, &mut found);
    }
    for inner in found {
        graph.initializer.extend(inner.initializer);
        graph.sparse_initializer.extend(inner.sparse_initializer);
    }
}

fn take(graph: &mut GraphProto, names: &mut Names, found: &mut Vec<GraphProto>) {
    let mut tensors = std::mem::take(&mut graph.initializer);
    graph.input.retain(|input| tensors.iter().all(|tensor| tensor.name != input.name));
    let mut changed: HashMap<String, String> = HashMap::new();
    for tensor in &mut tensors {
        let new = names.fresh(&tensor.name);
        if new != tensor.name {
            changed.insert(std::mem::replace(&mut tensor.name, new.clone()), new);
        }
    }
    if !changed.is_empty() {
        rename_reads(graph, &changed);
    }
    let sparse_initializer = std::mem::take(&mut graph.sparse_initializer);
    found.push(GraphProto { initializer: tensors, sparse_initializer, ..GraphProto::default() });
    for inner in graph.node.iter_mut().flat_map(graphs_mut) {
        take(inner, names, found);
    }
}

/// Changes the names that a graph reads, also within its nodes.
fn rename_reads(graph: &mut GraphProto, changed: &HashMap<String, String>) {
    let rename = |name: &mut String| {
        if let Some(new) = changed.get(name) {
            name.clone_from(new);
        }
    };
    graph.output.iter_mut().for_each(|output| rename(&mut output.name));
    for node in &mut graph.node {
        node.input.iter_mut().for_each(rename);
        graphs_mut(node).for_each(|inner| rename_reads(inner, changed));
    }
}

/// A graph with the nodes of the graphs within its nodes among its own, and without the elements of its initializers, for analysis; the graph
/// itself where nothing is within its nodes.
pub(crate) fn flattened(graph: &GraphProto) -> Cow<'_, GraphProto> {
    if graph.node.iter().all(|node| graphs(node).next().is_none()) {
        return Cow::Borrowed(graph);
    }
    fn collect(nodes: &[NodeProto], found: &mut Vec<NodeProto>) {
        for node in nodes {
            match graphs(node).next() {
                Some(_) => graphs(node).for_each(|graph| collect(&graph.node, found)),
                None => found.push(node.clone()),
            }
        }
    }
    let mut node = Vec::new();
    collect(&graph.node, &mut node);
    let bare = |tensor: &TensorProto| {
        let (name, dims, data_type) = (tensor.name.clone(), tensor.dims.clone(), tensor.data_type);
        TensorProto { name, dims, data_type, ..TensorProto::default() }
    };
    Cow::Owned(GraphProto {
        name: graph.name.clone(),
        node,
        initializer: graph.initializer.iter().map(bare).collect(),
        input: graph.input.clone(),
        output: graph.output.clone(),
        metadata_props: graph.metadata_props.clone(),
        ..GraphProto::default()
    })
}
