//! The network's operators, and to which of them each node of the training graph belongs.

use bitbudget_ir::{Graph, NodeId, Role};
use bitbudget_precision::{Assignment, Kind, node_names};
use bitbudget_report::Node;
use std::collections::{BTreeMap, BTreeSet};

/// The operators in the paper's sense.
pub(super) struct Operators {
    pub(super) nodes: Vec<Node>,
    /// The operator of each node of the training graph, by node id.
    of: Vec<Option<usize>>,
    positions: BTreeMap<NodeId, usize>,
}

impl Operators {
    /// The position of an operator.
    pub(super) fn position(&self, id: NodeId) -> Option<usize> {
        self.positions.get(&id).copied()
    }

    /// The position of the operator that a node belongs to.
    pub(super) fn of(&self, id: NodeId) -> Option<usize> {
        self.of[id.index()]
    }
}

/// The operators of a training graph.
pub(super) fn operators(graph: &Graph, assignment: &Assignment) -> Operators {
    let names = node_names(graph);
    let outputs = assignment.tensors.iter().filter(|tensor| tensor.kind == Kind::Output);
    let positions: BTreeMap<NodeId, usize> = outputs.clone().enumerate().map(|(at, t)| (t.operator, at)).collect();
    let node = |tensor: &bitbudget_precision::Tensor| Node {
        name: names[tensor.operator.index()].clone().unwrap_or_default(),
        op: graph.op(tensor.operator).name().to_string(),
        inputs: inputs(graph, &positions, tensor.operator),
        group: tensor.group,
    };
    let nodes = outputs.map(node).collect();
    let of = owners(graph, assignment, &positions);
    Operators { nodes, of, positions }
}

/// The operators whose results an operator reads, through statistics and what relabels too.
fn inputs(graph: &Graph, positions: &BTreeMap<NodeId, usize>, id: NodeId) -> Vec<usize> {
    let (mut found, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut next = graph.operands(id).to_vec();
    while let Some(operand) = next.pop() {
        match positions.get(&operand) {
            Some(&at) => {
                found.insert(at);
            }
            None if seen.insert(operand) => next.extend(graph.operands(operand)),
            None => {}
        }
    }
    found.into_iter().collect()
}

/// The operator of each node: its own, that of the tensor whose gradient it is, or that of what reads it, is read by it or
/// becomes its next value.
fn owners(graph: &Graph, assignment: &Assignment, positions: &BTreeMap<NodeId, usize>) -> Vec<Option<usize>> {
    let shown = |id: NodeId| {
        let tensor = assignment.forward_tensor(graph, id)?;
        positions.get(&assignment.tensors[tensor].operator).copied()
    };
    let own = |id: NodeId| match graph.node(id).role {
        Role::Output | Role::Parameter => shown(id),
        Role::OutputGradient { of } | Role::ParameterGradient { of } => shown(of),
        Role::Internal => None,
    };
    let mut owners: Vec<Option<usize>> = graph.ids().map(own).collect();
    // Statistics and sums belong to what reads them first.
    let by_readers = |owners: &mut Vec<Option<usize>>| {
        for id in graph.ids().rev().filter(|&id| graph.node(id).role == Role::Internal) {
            let first = || graph.readers(id).into_iter().min().and_then(|reader| owners[reader.index()]);
            owners[id.index()] = owners[id.index()].or_else(first);
        }
    };
    by_readers(&mut owners);
    for &(target, value) in graph.updates() {
        let (old, new) = (owners[target.index()], owners[value.index()]);
        owners[value.index()] = new.or(old);
    }
    by_readers(&mut owners);
    for id in graph.ids() {
        let operand = || graph.operands(id).iter().copied().rev().find_map(|operand| owners[operand.index()]);
        owners[id.index()] = owners[id.index()].or_else(operand);
    }
    by_readers(&mut owners);
    owners
}
