//! The class scores of a network that ends in a Softmax or LogSoftmax.

use bitbudget_ir::{Dim, Graph, NodeId, Op};

/// The Softmax or LogSoftmax over the classes that a forward graph ends in, if it ends in one: its operand holds the scores
/// that cross-entropy, which applies a softmax of its own, is to be computed of.
///
/// Reshapes, transpositions that move only dimensions of size one, and a logarithm may follow it.
pub fn closing_softmax(forward: &Graph) -> Option<NodeId> {
    let &(_, output) = forward.outputs().first()?;
    let mut id = output;
    loop {
        let operand = forward.operands(id).first().copied()?;
        match forward.op(id) {
            Op::Softmax(_) | Op::LogSoftmax(_) => break,
            Op::Reshape(_) => {}
            Op::Transpose(op) if keeps_order(forward, operand, &op.perm) => {}
            Op::Log(_) if matches!(forward.op(operand), Op::Softmax(_)) => {}
            _ => return None,
        }
        id = operand;
    }
    // The scores of an example are exactly one row of the softmax.
    let shape = &forward.ty(id).shape;
    let classes = shape.0.last()?.as_fixed()?;
    let is_row = shape.get(0) == Some(Dim::BATCH) && shape.symbolic_elements() == (classes, 1);
    is_row.then_some(id)
}

/// Whether a transposition leaves the elements in their order.
fn keeps_order(graph: &Graph, x: NodeId, perm: &[usize]) -> bool {
    let shape = &graph.ty(x).shape;
    let moved: Vec<usize> = perm.iter().copied().filter(|&axis| shape.get(axis) != Some(Dim::fixed(1))).collect();
    moved.is_sorted()
}
