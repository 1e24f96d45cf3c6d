//! Questions of the passes about a graph's tensors.

use crate::setting::Storage;
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId, Op, Stored};

/// The most bytes that a tensor counts, 64 TiB, so that sums cannot overflow. Such a program is refused later.
pub(crate) const MOST: usize = 1 << 46;

/// A graph with what the passes ask of its tensors.
pub(crate) struct Tensors<'a> {
    pub(crate) graph: &'a Graph,
    batch: usize,
    storage: Storage,
    live: Vec<bool>,
}

impl<'a> Tensors<'a> {
    /// The tensors in the bits of their formats.
    pub(crate) fn packed(graph: &'a Graph, batch: usize) -> Tensors<'a> {
        Tensors::stored(graph, batch, Storage::Packed)
    }

    pub(crate) fn stored(graph: &'a Graph, batch: usize, storage: Storage) -> Tensors<'a> {
        Tensors { graph, batch, storage, live: graph.live() }
    }

    /// Whether a step computes the node: everything that something needs but sources, of which only rounded inputs.
    pub(crate) fn is_computed(&self, id: NodeId) -> bool {
        let source = self.graph.op(id).source_name().is_some();
        self.live[id.index()] && (!source || self.is_rounded_input(id))
    }

    /// Whether the node is an input that is stored in a format of its own.
    pub(crate) fn is_rounded_input(&self, id: NodeId) -> bool {
        matches!(self.graph.op(id), Op::Input(_)) && self.graph.format(id) != Format::FP32
    }

    /// Whether the node is computed inside the step that reads it.
    pub(crate) fn is_derived(&self, id: NodeId) -> bool {
        self.graph.node(id).origin.in_passing
    }

    /// The node whose storage the result of `id` lies in.
    pub(crate) fn root(&self, id: NodeId) -> NodeId {
        self.graph.storage(id)
    }

    pub(crate) fn is_alias(&self, id: NodeId) -> bool {
        self.graph.is_alias(id)
    }

    /// Bytes of a tensor, at most [`MOST`].
    pub(crate) fn bytes(&self, id: NodeId) -> usize {
        match self.storage {
            Storage::Packed => self.graph.bytes(id, self.batch).min(MOST),
            Storage::Simulated => self.size(id),
        }
    }

    /// Bytes of a tensor before formats are chosen. Order and steps go by these, so that they are the same for all formats.
    pub(crate) fn size(&self, id: NodeId) -> usize {
        let node = self.graph.node(id);
        let exact = Stored::of(node.role, Format::FP32);
        exact.bytes(node.ty.dtype, node.ty.shape.elements(self.batch)).min(MOST)
    }
}
