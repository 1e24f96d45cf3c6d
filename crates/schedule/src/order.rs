//! The order of the nodes.

use crate::fuse;
use crate::tensors::Tensors;
use bitbudget_ir::{NodeId, Role};

struct Order<'a> {
    tensors: &'a Tensors<'a>,
    /// Per node, the operands that are not computed yet.
    missing: Vec<usize>,
    /// Per storage, the nodes that will still read it.
    readers: Vec<usize>,
    /// Tensors that stay to the end of the step.
    lasting: Vec<bool>,
    /// Nodes whose operands are all there.
    ready: Vec<NodeId>,
    placed: Vec<bool>,
    order: Vec<NodeId>,
}

/// The nodes that are computed, operands first: the graph's order, but rounded copies come just before their first
/// reader, what is computed in one pass comes together, and what frees at least as much as it takes as early as it can.
pub(crate) fn order(tensors: &Tensors<'_>) -> Vec<NodeId> {
    let graph = tensors.graph;
    let mut order = Order {
        tensors,
        missing: vec![0; graph.len()],
        readers: vec![0; graph.len()],
        lasting: vec![false; graph.len()],
        ready: Vec::new(),
        placed: vec![false; graph.len()],
        order: Vec::with_capacity(graph.len()),
    };
    for id in graph.ids().filter(|&id| tensors.is_computed(id)) {
        for root in roots(tensors, id) {
            order.readers[root.index()] += 1;
        }
        let mut operands = graph.operands(id).to_vec();
        operands.sort_unstable();
        operands.dedup();
        order.missing[id.index()] = operands.iter().filter(|&&o| waits_for(tensors, o)).count();
    }
    let outputs = graph.outputs().iter().map(|&(_, id)| id);
    for id in outputs.chain(graph.updates().iter().map(|&(_, value)| value)) {
        order.lasting[tensors.root(id).index()] = true;
    }
    for id in graph.ids().filter(|&id| waits_for(tensors, id)) {
        order.visit(id);
    }
    order.order
}

/// Whether a node has a place of its own in the order: rounded copies come with their first reader.
fn waits_for(tensors: &Tensors<'_>, id: NodeId) -> bool {
    tensors.is_computed(id) && !is_copy(tensors, id)
}

fn is_copy(tensors: &Tensors<'_>, id: NodeId) -> bool {
    tensors.is_computed(id) && (tensors.graph.node(id).role == Role::Parameter || tensors.is_rounded_input(id))
}

/// The storages that a node reads, each once.
fn roots(tensors: &Tensors<'_>, id: NodeId) -> Vec<NodeId> {
    let mut roots: Vec<NodeId> = tensors.graph.operands(id).iter().copied().map(|o| tensors.root(o)).collect();
    roots.sort_unstable();
    roots.dedup();
    roots
}

impl Order<'_> {
    /// Places a node, then all that are better placed now than later.
    fn visit(&mut self, id: NodeId) {
        if !self.placed[id.index()] {
            self.push_with_partner(id);
        }
        while let Some(&next) = self.ready.iter().find(|&&next| self.is_due(next)) {
            self.push_with_partner(next);
        }
    }

    /// Places a node and right behind it one that can be computed in the same pass.
    fn push_with_partner(&mut self, id: NodeId) {
        self.push(id);
        if let Some(&partner) = self.ready.iter().find(|&&next| fuse::is_pair(self.tensors, id, next)) {
            self.push(partner);
        }
    }

    fn push(&mut self, id: NodeId) {
        for &operand in self.tensors.graph.operands(id) {
            if is_copy(self.tensors, operand) && !self.placed[operand.index()] {
                self.push(operand);
            }
        }
        self.placed[id.index()] = true;
        self.ready.retain(|&other| other != id);
        self.order.push(id);
        for root in roots(self.tensors, id) {
            self.readers[root.index()] -= 1;
        }
        for reader in self.tensors.graph.readers(id) {
            if waits_for(self.tensors, id) && waits_for(self.tensors, reader) {
                self.missing[reader.index()] -= 1;
                if self.missing[reader.index()] == 0 && !self.placed[reader.index()] {
                    self.ready.push(reader);
                }
            }
        }
        self.ready.sort_unstable();
    }

    /// Whether a node that could be computed frees at least as much as it takes, or takes nothing.
    fn is_due(&self, id: NodeId) -> bool {
        if self.tensors.is_alias(id) {
            return true;
        }
        let taken = if self.lasting[id.index()] { 0 } else { self.tensors.size(id) };
        let computed = |root: &NodeId| self.tensors.is_computed(*root) && !self.lasting[root.index()];
        let ending = roots(self.tensors, id).into_iter().filter(|root| self.readers[root.index()] == 1);
        taken <= ending.filter(computed).map(|root| self.tensors.size(root)).sum()
    }
}
