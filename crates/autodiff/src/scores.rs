//! The scores of a network that ends in the function which its loss applies: Softmax or LogSoftmax, or Sigmoid.

use crate::cross_entropy::class_axis;
use bitbudget_ir::{Dim, Graph, NodeId, Op, Shape};

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
    // Each row of the softmax holds the scores that the loss takes as a row.
    let (shape, scores) = (&forward.ty(id).shape, &forward.ty(output).shape);
    let classes = shape.0.last()?.as_fixed()?;
    let is_last = class_axis(forward, scores).is_some_and(|axis| {
        let behind = Shape(scores.0[axis..].to_vec()).symbolic_elements();
        behind == (classes, 0) && scores.0[axis] == Dim::fixed(classes)
    });
    is_last.then_some(id)
}

/// The Sigmoid that a forward graph ends in, if it ends in one: its operand holds the logits that binary cross-entropy, which applies a
/// sigmoid of its own, is to be computed of. Reshapes may follow it.
pub fn closing_sigmoid(forward: &Graph) -> Option<NodeId> {
    let &(_, mut id) = forward.outputs().first()?;
    while matches!(forward.op(id), Op::Reshape(_)) {
        id = forward.operands(id).first().copied()?;
    }
    matches!(forward.op(id), Op::Sigmoid(_)).then_some(id)
}

/// Whether a transposition leaves the elements in their order.
fn keeps_order(graph: &Graph, x: NodeId, perm: &[usize]) -> bool {
    let shape = &graph.ty(x).shape;
    let moved: Vec<usize> = perm.iter().copied().filter(|&axis| shape.get(axis) != Some(Dim::fixed(1))).collect();
    moved.is_sorted()
}
