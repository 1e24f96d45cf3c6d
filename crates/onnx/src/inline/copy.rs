//! Copies of nodes under new names.

use super::node::{graphs_mut, node_name};
use bitbudget_ir::Names;
use onnx_protobuf::{GraphProto, NodeProto};
use std::collections::{BTreeSet, HashMap};

/// Copies nodes: each tensor that they write gets a name that nothing else has.
pub(crate) struct Copy<'a> {
    /// Stands before the names of nodes and tensors.
    pub(crate) prefix: &'a str,
    /// All names of tensors.
    pub(crate) names: &'a mut Names,
    /// Is done to each copy, also within other nodes, before its names change.
    pub(crate) each: &'a dyn Fn(&mut NodeProto),
}

impl Copy<'_> {
    /// A new name for a tensor, or none for one without a name.
    pub(crate) fn fresh(&mut self, name: &str) -> String {
        if name.is_empty() { String::new() } else { self.names.fresh(&format!("{}{name}", self.prefix)) }
    }

    /// Copies nodes. `map` holds the names of tensors from outside and of those that have one already, and gets those of the others.
    pub(crate) fn nodes(&mut self, nodes: &[NodeProto], map: &mut HashMap<String, String>) -> Vec<NodeProto> {
        for output in nodes.iter().flat_map(|node| &node.output) {
            if !map.contains_key(output) {
                let new = self.fresh(output);
                map.insert(output.clone(), new);
            }
        }
        nodes.iter().map(|node| self.node(node, map)).collect()
    }

    fn node(&mut self, node: &NodeProto, map: &HashMap<String, String>) -> NodeProto {
        let mut copy = node.clone();
        (self.each)(&mut copy);
        copy.name = format!("{}{}", self.prefix, node_name(node));
        copy.input.iter_mut().chain(&mut copy.output).for_each(|name| rename(name, map));
        for graph in graphs_mut(&mut copy) {
            self.graph(graph, map);
        }
        copy
    }

    /// Renames a graph within a node; `outer` holds the names that it sees from outside.
    fn graph(&mut self, graph: &mut GraphProto, outer: &HashMap<String, String>) {
        let mut map = outer.clone();
        let inputs = graph.input.iter().map(|input| &input.name);
        let stored = graph.initializer.iter().map(|tensor| &tensor.name);
        let own: BTreeSet<String> =
            inputs.chain(stored).chain(graph.node.iter().flat_map(|n| &n.output)).cloned().collect();
        for name in own {
            let new = self.fresh(&name);
            map.insert(name, new);
        }
        graph.node = graph.node.iter().map(|node| self.node(node, &map)).collect();
        graph.initializer.iter_mut().for_each(|tensor| rename(&mut tensor.name, &map));
        graph.input.iter_mut().chain(&mut graph.output).for_each(|value| rename(&mut value.name, &map));
    }
}

fn rename(name: &mut String, map: &HashMap<String, String>) {
    if let Some(new) = map.get(name) {
        name.clone_from(new);
    }
}
