//! Which nodes are computed together.
//!
//! A unit runs where its last node stands in the order. So a node may join another's unit if everything that reads a
//! node of the two, from outside, stands behind both.

use crate::tensors::Tensors;
use bitbudget_ir::{NodeId, Pass, Read, ops};
use std::collections::BTreeSet;

/// Nodes of one unit at most; their tiles share a core's cache.
const NODES: usize = 8;
/// Tensors that one unit reads from outside at most.
const OPERANDS: usize = 12;

/// How a node can be computed together with others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Element by element, from operands of its own shape and vectors over the channels.
    Elementwise,
    /// In one pass with another node over the first operand.
    Pass(Pass),
    /// By itself.
    Alone,
}

fn kind(tensors: &Tensors<'_>, id: NodeId) -> Kind {
    let facts = tensors.graph.facts(id);
    match facts.pass {
        _ if tensors.is_alias(id) => Kind::Alone,
        _ if facts.is_elementwise() => Kind::Elementwise,
        Some(pass) => Kind::Pass(pass),
        None => Kind::Alone,
    }
}

/// Which nodes of a unit are computed in one pass, element by element, and may take the place of what they read.
pub(crate) fn one_pass(tensors: &Tensors<'_>, nodes: &[NodeId]) -> Vec<bool> {
    let shape = |id: NodeId| &tensors.graph.ty(id).shape;
    let is_last = |i: usize| nodes.last().is_some_and(|&last| shape(last) == shape(nodes[i]));
    let joins = |i: usize| tensors.graph.facts(nodes[i]).is_elementwise() && is_last(i);
    ops::one_pass(nodes.len(), joins, |reader, i| tensors.graph.operands(nodes[reader]).contains(&nodes[i]))
}

/// Whether a node reads a storage in no other way than element by element, if at all.
pub(crate) fn reads_in_place(tensors: &Tensors<'_>, id: NodeId, storage: NodeId) -> bool {
    let graph = tensors.graph;
    let operands = graph.operands(id);
    let mut reads = operands.iter().enumerate().filter(|&(_, &operand)| tensors.root(operand) == storage);
    reads.all(|(position, _)| graph.facts(id).reads.of(position) == Read::Each)
}

/// Whether two nodes are computed in one pass over an operand that they share.
pub(crate) fn is_pair(tensors: &Tensors<'_>, first: NodeId, second: NodeId) -> bool {
    kind(tensors, first) != Kind::Elementwise && fits(tensors, first, second)
}

/// Whether two nodes can be computed in one pass.
fn fits(tensors: &Tensors<'_>, first: NodeId, second: NodeId) -> bool {
    let graph = tensors.graph;
    let (a, b) = (graph.operands(first), graph.operands(second));
    match (kind(tensors, first), kind(tensors, second)) {
        (Kind::Elementwise, Kind::Elementwise) => graph.ty(first).shape == graph.ty(second).shape && b.contains(&first),
        (Kind::Pass(first_pass), Kind::Pass(second_pass)) => {
            // A variance is one of two results only beside the mean that it reads.
            let is_of_mean = second_pass != Pass::Variance || b.get(1) == Some(&first);
            first_pass.is_one_with(second_pass) && a.first() == b.first() && is_of_mean
        }
        (Kind::Elementwise | Kind::Pass(_) | Kind::Alone, _) => false,
    }
}

struct Units<'a> {
    tensors: &'a Tensors<'a>,
    /// Position in the order, by node id.
    position: Vec<usize>,
    /// The unit of each node, by node id.
    unit: Vec<usize>,
    nodes: Vec<Vec<NodeId>>,
}

/// The nodes of `order` in units, each unit's nodes in order.
pub(crate) fn units(tensors: &Tensors<'_>, order: &[NodeId]) -> Vec<Vec<NodeId>> {
    let mut position = vec![0; tensors.graph.len()];
    let mut unit = vec![usize::MAX; tensors.graph.len()];
    for (at, id) in order.iter().enumerate() {
        (position[id.index()], unit[id.index()]) = (at, at);
    }
    let in_order = position.clone();
    let mut units = Units { tensors, position, unit, nodes: order.iter().map(|&id| vec![id]).collect() };
    let derived = units.derived(order);
    let is_derived = |id: NodeId| derived[id.index()];
    for &id in order {
        let kind = kind(tensors, id);
        for other in units.candidates(kind, id) {
            // What a derived node reads need not run with the step that the node is computed in.
            let stays = is_derived(id) && !is_derived(other);
            // Kernels of what is not elementwise compute two results at most.
            let alone = |id: NodeId| units.nodes[units.unit[id.index()]].len() == 1;
            let room = kind == Kind::Elementwise || alone(other) && alone(id);
            if !stays && room && fits(tensors, other, id) {
                units.join(other, id);
            }
        }
    }
    for &id in order.iter().rev().filter(|&&id| is_derived(id)) {
        units.join_reader(id);
    }
    let mut units: Vec<Vec<NodeId>> = units.nodes.into_iter().filter(|nodes| !nodes.is_empty()).collect();
    units.sort_by_key(|nodes| nodes.iter().map(|id| in_order[id.index()]).max());
    units
}

impl Units<'_> {
    /// The nodes that are computed inside one unit: those that are to be, unless what reads them cannot run together.
    ///
    /// The readers of a derived node ran in one step when it was derived, so they are put into one unit first.
    fn derived(&mut self, order: &[NodeId]) -> Vec<bool> {
        let tensors = self.tensors;
        let mut heads: Vec<BTreeSet<NodeId>> = vec![BTreeSet::new(); tensors.graph.len()];
        for &id in order.iter().rev().filter(|&&id| tensors.is_derived(id)) {
            for reader in tensors.graph.readers(id) {
                match tensors.is_derived(reader) {
                    true => heads[id.index()] = &heads[id.index()] | &heads[reader.index()],
                    false if tensors.is_computed(reader) => drop(heads[id.index()].insert(reader)),
                    false => {}
                }
            }
            self.join_all(order, &heads[id.index()]);
        }
        let is_one = |id: NodeId| {
            let mut units = heads[id.index()].iter().map(|head| self.unit[head.index()]);
            let first = units.next();
            units.all(|unit| Some(unit) == first)
        };
        tensors.graph.ids().map(|id| tensors.is_derived(id) && is_one(id)).collect()
    }

    /// Puts nodes and those between them into one unit if they can be computed together.
    fn join_all(&mut self, order: &[NodeId], heads: &BTreeSet<NodeId>) {
        let positions = || heads.iter().map(|head| self.position[head.index()]);
        let (Some(first), Some(last)) = (positions().min(), positions().max()) else { return };
        let between = order[first..=last].iter().filter(|&&id| !self.tensors.is_derived(id));
        let mut nodes: Vec<NodeId> = between.flat_map(|id| self.nodes[self.unit[id.index()]].iter().copied()).collect();
        nodes.sort_unstable_by_key(|id| self.position[id.index()]);
        nodes.dedup();
        let shape = |id: NodeId| &self.tensors.graph.ty(id).shape;
        let fits = match nodes.as_slice() {
            &[first, second] if is_pair(self.tensors, first, second) => true,
            [first, ..] => {
                nodes.iter().all(|&id| kind(self.tensors, id) == Kind::Elementwise && shape(id) == shape(*first))
            }
            [] => false,
        };
        if fits && nodes.len() <= NODES && self.operands(&nodes) <= OPERANDS && self.is_legal(&nodes) {
            let to = self.unit[nodes[0].index()];
            for id in &nodes {
                self.nodes[self.unit[id.index()]].clear();
                self.unit[id.index()] = to;
            }
            self.nodes[to] = nodes;
        }
    }

    /// Earlier nodes that `id` might be computed with.
    fn candidates(&self, kind: Kind, id: NodeId) -> Vec<NodeId> {
        let graph = self.tensors.graph;
        match kind {
            Kind::Alone => Vec::new(),
            Kind::Elementwise => {
                graph.operands(id).iter().copied().filter(|o| self.unit[o.index()] != usize::MAX).collect()
            }
            Kind::Pass(_) => {
                let earlier = |&other: &NodeId| {
                    self.unit[other.index()] != usize::MAX && self.position[other.index()] < self.position[id.index()]
                };
                let first = graph.operands(id).first().copied();
                first.map_or(Vec::new(), |operand| graph.readers(operand).into_iter().filter(earlier).collect())
            }
        }
    }

    /// Puts a derived node's unit into that of its readers.
    fn join_reader(&mut self, id: NodeId) {
        let readers = self.tensors.graph.readers(id);
        let mut units = readers.iter().map(|reader| self.unit[reader.index()]);
        let (from, Some(to)) = (self.unit[id.index()], units.next()) else { return };
        if from != to && to != usize::MAX && units.all(|unit| unit == to) {
            let mut nodes = [std::mem::take(&mut self.nodes[from]), std::mem::take(&mut self.nodes[to])].concat();
            nodes.sort_unstable_by_key(|id| self.position[id.index()]);
            nodes.iter().for_each(|id| self.unit[id.index()] = to);
            self.nodes[to] = nodes;
        }
    }

    /// Puts two nodes' units together if nothing forbids it.
    fn join(&mut self, first: NodeId, second: NodeId) {
        let (from, to) = (self.unit[first.index()], self.unit[second.index()]);
        if from == to {
            return;
        }
        let mut nodes = [self.nodes[from].as_slice(), self.nodes[to].as_slice()].concat();
        nodes.sort_unstable_by_key(|id| self.position[id.index()]);
        if nodes.len() <= NODES && self.operands(&nodes) <= OPERANDS && self.is_legal(&nodes) && self.is_lean(&nodes) {
            nodes.iter().for_each(|id| self.unit[id.index()] = to);
            self.nodes[from].clear();
            self.nodes[to] = nodes;
        }
    }

    fn operands(&self, nodes: &[NodeId]) -> usize {
        let operands =
            nodes.iter().flat_map(|&id| self.tensors.graph.operands(id).iter().copied()).filter(|o| !nodes.contains(o));
        operands.collect::<BTreeSet<NodeId>>().len()
    }

    /// Whether everything outside that reads one of the nodes stands behind all of them.
    fn is_legal(&self, nodes: &[NodeId]) -> bool {
        let last = nodes.iter().map(|id| self.position[id.index()]).max().unwrap_or(0);
        let readers = nodes.iter().flat_map(|&id| self.tensors.graph.readers(id));
        let outside = readers.filter(|r| self.tensors.is_computed(*r) && !nodes.contains(r));
        outside.into_iter().all(|r| self.position[r.index()] > last)
    }

    /// Whether computing the nodes later does not keep more alive than it saves: what only they read, against those of
    /// their results that are not stored then.
    fn is_lean(&self, nodes: &[NodeId]) -> bool {
        let (Some(first), Some(last)) = (nodes.first(), nodes.last()) else { return true };
        if self.position[last.index()] - self.position[first.index()] < nodes.len() {
            return true;
        }
        let graph = self.tensors.graph;
        let inside = |id: NodeId| graph.readers(id).iter().all(|r| nodes.contains(r));
        let saved: usize = nodes.iter().filter(|&&id| inside(id)).map(|&id| self.tensors.size(id)).sum();
        let reads: BTreeSet<NodeId> =
            nodes.iter().flat_map(|&id| self.tensors.graph.operands(id).iter().copied()).collect();
        let only_here = |id: &&NodeId| !nodes.contains(id) && inside(**id) && self.tensors.is_computed(**id);
        let kept: usize = reads.iter().filter(only_here).map(|&id| self.tensors.size(id)).sum();
        kept <= saved
    }
}
