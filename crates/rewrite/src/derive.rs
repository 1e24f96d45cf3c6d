//! Tensors that are stored nowhere: whatever reads one computes it in passing.

use crate::writing::Writing;
use bitbudget_ir::{Graph, GraphError, NodeId, Origin};
use std::collections::BTreeMap;

/// The graph in which every step that reads a derived tensor has a copy of it for itself.
///
/// `steps` hold the nodes that are computed, operands first. `derived` has the derived nodes, each with the step whose copy
/// counts what overflows. A copy stands just before the nodes of its step, and reads copies where its
/// operands are derived too. Copies give the same bits.
///
/// # Errors
/// If `steps` are none of the graph, or a derived node is a result of the graph.
pub fn derive(graph: &Graph, steps: &[Vec<NodeId>], derived: &BTreeMap<NodeId, usize>) -> Result<Graph, GraphError> {
    let mut writing = Writing::begin(graph, steps)?;
    for (at, step) in steps.iter().enumerate() {
        let mut copies = Copies { derived, step: at, made: BTreeMap::new() };
        for &id in step.iter().filter(|id| !derived.contains_key(id)) {
            let operands = copies.operands(&mut writing, id)?;
            writing.write(id, &operands)?;
        }
    }
    writing.finish()
}

/// The copies that one step reads.
struct Copies<'a> {
    derived: &'a BTreeMap<NodeId, usize>,
    step: usize,
    made: BTreeMap<NodeId, NodeId>,
}

impl Copies<'_> {
    /// The operands of a node, in the new graph's ids.
    fn operands(&mut self, writing: &mut Writing<'_>, reader: NodeId) -> Result<Vec<NodeId>, GraphError> {
        let operands = writing.source.operands(reader);
        operands.iter().map(|&operand| self.operand(writing, operand, reader)).collect()
    }

    fn operand(&mut self, writing: &mut Writing<'_>, id: NodeId, reader: NodeId) -> Result<NodeId, GraphError> {
        let Some(counted) = self.derived.get(&id) else { return writing.original(id, reader) };
        if let Some(&made) = self.made.get(&id) {
            return Ok(made);
        }
        let operands = self.operands(writing, id)?;
        let origin = &writing.source.node(id).origin;
        let uncounted = origin.uncounted || *counted != self.step;
        let origin = Origin { in_passing: true, uncounted, ..origin.clone() };
        let copy = writing.copy(id, &operands, origin)?;
        self.made.insert(id, copy);
        Ok(copy)
    }
}
