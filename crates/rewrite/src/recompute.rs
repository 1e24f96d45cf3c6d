//! Tensors that the backward pass computes again.

use crate::writing::Writing;
use bitbudget_ir::{Graph, GraphError, NodeId, Op, Origin, TrainingId};

/// The graph in which the backward pass reads copies of the tensors in `again`, computed just before it needs them.
///
/// `steps` hold the nodes that are computed, operands first; copies come before the step that needs them. What only nodes of the
/// backward pass in its own step read belongs to the backward pass too. Copies read copies where their operands are in `again`
/// too, so a tensor is computed again at most once. Copies give the same bits.
///
/// # Errors
/// If `steps` are none of the graph.
pub fn recompute(graph: &Graph, steps: &[Vec<NodeId>], again: &[TrainingId]) -> Result<Graph, GraphError> {
    let mut marked: Vec<bool> = graph.ids().map(|id| again.iter().any(|&other| graph.stands_for(id, other))).collect();
    // What only shows a recomputed tensor is shown anew.
    for id in graph.ids().filter(|&id| matches!(graph.op(id), Op::Reshape(_))) {
        marked[id.index()] |= graph.operands(id).first().is_some_and(|operand| marked[operand.index()]);
    }
    let writing = Writing::begin(graph, steps)?;
    let mut copying = Copying { writing, again: &marked, copies: vec![None; graph.len()] };
    let mut late = graph.backward();
    for step in steps {
        mark_late(graph, step, &mut late);
        let reads_again =
            |id: NodeId, operand: NodeId| late[id.index()] && marked[operand.index()] && !late[operand.index()];
        for &id in step {
            for operand in graph.operands(id).iter().copied().filter(|&operand| reads_again(id, operand)) {
                copying.copy(operand)?;
            }
        }
        for &id in step {
            let mut operands = Vec::new();
            for &operand in graph.operands(id) {
                let copied = reads_again(id, operand);
                operands.push(if copied { copying.copy(operand)? } else { copying.writing.original(operand, id)? });
            }
            copying.writing.write(id, &operands)?;
        }
    }
    copying.writing.finish()
}

/// Marks what only late nodes of its own step read.
fn mark_late(graph: &Graph, step: &[NodeId], late: &mut [bool]) {
    for &id in step.iter().rev() {
        let readers = graph.readers(id);
        late[id.index()] |= !readers.is_empty() && readers.iter().all(|r| step.contains(r) && late[r.index()]);
    }
}

struct Copying<'a> {
    writing: Writing<'a>,
    again: &'a [bool],
    /// The copy of each node.
    copies: Vec<Option<NodeId>>,
}

impl Copying<'_> {
    fn copy(&mut self, id: NodeId) -> Result<NodeId, GraphError> {
        if let Some(copy) = self.copies[id.index()] {
            return Ok(copy);
        }
        let mut operands = Vec::new();
        for &operand in self.writing.source.operands(id) {
            let copied = self.again[operand.index()];
            operands.push(if copied { self.copy(operand)? } else { self.writing.original(operand, id)? });
        }
        let origin = self.writing.source.node(id).origin.clone();
        let copy = self.writing.copy(id, &operands, Origin { again: true, uncounted: true, ..origin })?;
        self.copies[id.index()] = Some(copy);
        Ok(copy)
    }
}
