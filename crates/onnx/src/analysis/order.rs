//! The order of the nodes: that of the file, repaired where a node stands before its inputs.

pub(crate) use crate::inline::node_name;
use crate::inline::{captures, reads};
use onnx_protobuf::{GraphProto, NodeProto};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

/// The positions of the nodes in an order in which inputs stand first; the file's own wherever it is one.
///
/// # Errors
/// The names of the nodes of a cycle.
pub(crate) fn execution_order(nodes: &[NodeProto]) -> Result<Vec<usize>, String> {
    let mut producer = HashMap::new();
    for (at, node) in nodes.iter().enumerate() {
        for name in node.output.iter().filter(|n| !n.is_empty()) {
            producer.entry(name.as_str()).or_insert(at);
        }
    }
    let inputs_of = |at: usize| -> BTreeSet<usize> {
        reads(&nodes[at]).into_iter().filter_map(|name| producer.get(name).copied()).collect()
    };
    let mut waits: Vec<usize> = Vec::with_capacity(nodes.len());
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for at in 0..nodes.len() {
        let inputs = inputs_of(at);
        waits.push(inputs.len());
        inputs.into_iter().for_each(|from| readers[from].push(at));
    }
    let mut ready: BinaryHeap<Reverse<usize>> = (0..nodes.len()).filter(|&at| waits[at] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(Reverse(at)) = ready.pop() {
        order.push(at);
        for &reader in &readers[at] {
            waits[reader] -= 1;
            if waits[reader] == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    let Some(mut at) = (0..nodes.len()).find(|&at| waits[at] > 0) else { return Ok(order) };
    // Every waiting node has a waiting input: going back from one to the next ends in the cycle.
    let mut path: Vec<usize> = Vec::new();
    let mut seen = vec![false; nodes.len()];
    while !seen[at] {
        seen[at] = true;
        path.push(at);
        match inputs_of(at).into_iter().find(|&input| waits[input] > 0) {
            Some(input) => at = input,
            None => break,
        }
    }
    let start = path.iter().position(|&p| p == at).unwrap_or(0);
    let names: Vec<String> = path[start..].iter().rev().map(|&p| format!("`{}`", node_name(&nodes[p]))).collect();
    Err(format!("the nodes {} form a cycle: each needs the result of the one before", names.join(", ")))
}

/// The names of what is computed from the network's input.
pub(crate) fn computed<'g>(graph: &'g GraphProto, order: &[usize]) -> BTreeSet<&'g str> {
    let stored: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let inputs = graph.input.iter().map(|input| input.name.as_str());
    let mut computed: BTreeSet<&str> = inputs.filter(|name| !stored.contains(name)).collect();
    for node in order.iter().filter_map(|&at| graph.node.get(at)) {
        if reads(node).into_iter().any(|name| computed.contains(name)) {
            computed.extend(node.output.iter().filter(|n| !n.is_empty()).map(String::as_str));
        }
    }
    computed
}

/// The running statistics of batch normalisation that are computed from the network's input.
pub(crate) fn batch_statistics<'g>(graph: &'g GraphProto, computed: &BTreeSet<&str>) -> BTreeSet<&'g str> {
    let statistics = graph.node.iter().flat_map(|node| {
        let inputs = node.input.iter().map(String::as_str).enumerate();
        inputs.filter(|&(position, _)| is_statistic(node, position)).map(|(_, name)| name)
    });
    statistics.filter(|name| computed.contains(name)).collect()
}

/// Which nodes the outputs need; what nothing else needs is left out if it is `unused`.
pub(crate) fn needed(nodes: &[NodeProto], order: &[usize], outputs: &[&str], unused: &BTreeSet<&str>) -> Vec<bool> {
    let mut names: BTreeSet<&str> = outputs.iter().copied().collect();
    let mut needed = vec![false; nodes.len()];
    for &at in order.iter().rev() {
        if nodes[at].output.iter().any(|name| !name.is_empty() && names.contains(name.as_str())) {
            needed[at] = true;
            let inputs = nodes[at].input.iter().map(String::as_str).enumerate();
            let skipped = |position: usize, name: &str| is_statistic(&nodes[at], position) && unused.contains(name);
            names.extend(inputs.filter(|&(position, name)| !skipped(position, name)).map(|(_, name)| name));
            names.extend(captures(&nodes[at]));
        }
    }
    needed
}

/// Whether an input is a running statistic of batch normalisation.
pub(crate) fn is_statistic(node: &NodeProto, position: usize) -> bool {
    node.op_type == "BatchNormalization" && (position == 3 || position == 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, inputs: &[&str], output: &str) -> NodeProto {
        let input = inputs.iter().map(|s| s.to_string()).collect();
        NodeProto { name: name.into(), input, output: vec![output.into()], ..NodeProto::default() }
    }

    #[test]
    fn keeps_the_order_of_a_sorted_file_and_repairs_another_stably() {
        let sorted = [node("a", &["x"], "a"), node("b", &["x"], "b"), node("c", &["a", "b"], "c")];
        assert_eq!(execution_order(&sorted), Ok(vec![0, 1, 2]));
        let unsorted = [node("c", &["a", "b"], "c"), node("b", &["x"], "b"), node("a", &["x"], "a")];
        assert_eq!(execution_order(&unsorted), Ok(vec![1, 2, 0]));
    }

    #[test]
    fn names_the_nodes_of_a_cycle_and_no_others() {
        let nodes = [
            node("start", &["x"], "s"),
            node("a", &["c", "s"], "a"),
            node("b", &["a"], "b"),
            node("c", &["b"], "c"),
            node("end", &["c"], "e"),
        ];
        let error = execution_order(&nodes).unwrap_err();
        assert_eq!(error, "the nodes `b`, `c`, `a` form a cycle: each needs the result of the one before");
    }
}
