//! Which nodes are computed together.
//!
//! A unit runs where its last node stands in the order. So a node may join another's unit if everything that reads a
//! node of the two, from outside, stands behind both.

use crate::Tensors;
use bitbudget_ir::{NodeId, Op, Shape, ops};
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
    /// Mean and variance of one tensor.
    Moments,
    /// The gradients of a normalisation by scale and bias.
    GradientSums,
    /// A maximum pooling and its indices.
    MaxPool,
    /// By itself.
    Alone,
}

fn kind(tensors: &Tensors<'_>, id: NodeId) -> Kind {
    match tensors.graph.op(id) {
        Op::Cast(_) if tensors.is_alias(id) => Kind::Alone,
        _ if is_elementwise(tensors, id) => Kind::Elementwise,
        Op::BatchMean(_) | Op::BatchVariance(_) => Kind::Moments,
        Op::BatchNormGradScale(_) => Kind::GradientSums,
        Op::ReduceSum(op) if !op.keep && is_over_channels(&op.axes, tensors, id) => Kind::GradientSums,
        Op::MaxPool(_) | Op::MaxPoolIndices(_) => Kind::MaxPool,
        _ => Kind::Alone,
    }
}

/// Whether a sum leaves the second axis of its operand only.
fn is_over_channels(axes: &[usize], tensors: &Tensors<'_>, id: NodeId) -> bool {
    let rank = tensors.graph.operands(id).first().map_or(0, |&o| tensors.graph.ty(o).shape.rank());
    rank > 1 && axes.iter().copied().eq((0..rank).filter(|&axis| axis != 1))
}

/// Whether a node is computed element by element.
fn is_elementwise(tensors: &Tensors<'_>, id: NodeId) -> bool {
    let graph = tensors.graph;
    let operands = graph.operands(id);
    let shapes: Vec<&Shape> = operands.iter().map(|&o| &graph.ty(o).shape).collect();
    graph.op(id).is_elementwise(&shapes, &graph.ty(id).shape)
}

/// Which nodes of a unit are computed in one pass, element by element, and may take the place of what they read.
pub(crate) fn one_pass(tensors: &Tensors<'_>, nodes: &[NodeId]) -> Vec<bool> {
    let shape = |id: NodeId| &tensors.graph.ty(id).shape;
    let joins =
        |i: usize| is_elementwise(tensors, nodes[i]) && nodes.last().is_some_and(|&l| shape(l) == shape(nodes[i]));
    ops::one_pass(nodes.len(), joins, |reader, i| tensors.graph.operands(nodes[reader]).contains(&nodes[i]))
}

/// Whether a node reads a storage in no other way than element by element, if at all.
pub(crate) fn reads_in_place(tensors: &Tensors<'_>, id: NodeId, storage: NodeId) -> bool {
    let graph = tensors.graph;
    let (count, shape) = (graph.op(id).elementwise(), &graph.ty(id).shape);
    let operands = graph.operands(id);
    let mut reads = operands.iter().enumerate().filter(|&(_, &operand)| tensors.root(operand) == storage);
    reads.all(|(position, &operand)| position < count && graph.ty(operand).shape == *shape)
}

/// Whether two nodes are computed in one pass over an operand that they share.
pub(crate) fn is_pair(tensors: &Tensors<'_>, first: NodeId, second: NodeId) -> bool {
    let kind = kind(tensors, first);
    kind != Kind::Elementwise && kind == self::kind(tensors, second) && fits(tensors, kind, first, second)
}

/// Whether two nodes of one kind can be computed in one pass.
fn fits(tensors: &Tensors<'_>, kind: Kind, first: NodeId, second: NodeId) -> bool {
    let graph = tensors.graph;
    let (a, b) = (graph.operands(first), graph.operands(second));
    match kind {
        Kind::Elementwise => {
            let one_shape = graph.ty(first).shape == graph.ty(second).shape;
            one_shape && b.contains(&first)
        }
        Kind::Moments => {
            let pair = (graph.op(first), graph.op(second));
            matches!(pair, (Op::BatchMean(_), Op::BatchVariance(_))) && a[0] == b[0] && b[1] == first
        }
        Kind::GradientSums => {
            let sums = |op: &Op| matches!(op, Op::ReduceSum(_));
            sums(graph.op(first)) != sums(graph.op(second)) && a[0] == b[0]
        }
        Kind::MaxPool => match (graph.op(first), graph.op(second)) {
            (Op::MaxPool(pool), Op::MaxPoolIndices(indices)) => pool.window() == indices.window() && a == b,
            _ => false,
        },
        Kind::Alone => false,
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
    let mut units = Units { tensors, position, unit, nodes: order.iter().map(|&id| vec![id]).collect() };
    for &id in order {
        let kind = kind(tensors, id);
        for other in units.candidates(kind, id) {
            // What a derived node reads need not run with the step that the node is computed in.
            let stays = tensors.is_derived(id) && !tensors.is_derived(other);
            if !stays && fits(tensors, kind, other, id) && self::kind(tensors, other) == kind {
                units.join(other, id);
            }
        }
    }
    for &id in order.iter().rev().filter(|&&id| tensors.is_derived(id)) {
        units.join_reader(id);
    }
    let mut units: Vec<Vec<NodeId>> = units.nodes.into_iter().filter(|nodes| !nodes.is_empty()).collect();
    let position = |nodes: &Vec<NodeId>| nodes.iter().filter_map(|id| order.iter().position(|o| o == id)).max();
    units.sort_by_cached_key(position);
    units
}

impl Units<'_> {
    /// Earlier nodes that `id` might be computed with.
    fn candidates(&self, kind: Kind, id: NodeId) -> Vec<NodeId> {
        let graph = self.tensors.graph;
        match kind {
            Kind::Alone => Vec::new(),
            Kind::Elementwise => {
                graph.operands(id).into_iter().filter(|o| self.unit[o.index()] != usize::MAX).collect()
            }
            Kind::Moments | Kind::GradientSums | Kind::MaxPool => {
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
        let operands = nodes.iter().flat_map(|&id| self.tensors.graph.operands(id)).filter(|o| !nodes.contains(o));
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
        let reads: BTreeSet<NodeId> = nodes.iter().flat_map(|&id| self.tensors.graph.operands(id)).collect();
        let only_here = |id: &&NodeId| !nodes.contains(id) && inside(**id) && self.tensors.is_computed(**id);
        let kept: usize = reads.iter().filter(only_here).map(|&id| self.tensors.size(id)).sum();
        kept <= saved
    }
}
