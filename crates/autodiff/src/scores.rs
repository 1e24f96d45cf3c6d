//! The scores of a network that ends in the function which its loss applies: Softmax or LogSoftmax, or Sigmoid.

use crate::cross_entropy;
use bitbudget_ir::{Dim, Graph, NodeId, Op, Shape};

/// The function that a network ends in and its loss applies itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The function.
    pub function: NodeId,
    /// What the loss is to be computed of.
    pub scores: NodeId,
}

/// The Softmax or LogSoftmax over the classes that a forward graph ends in, if it ends in one: cross-entropy, which applies a softmax of
/// its own, is to be computed of the scores before it. `class_axis` is the dimension of the classes where it is given.
///
/// Reshapes, transpositions that move only dimensions of size one, and a logarithm may follow it. It may stand between a transposition
/// and the one back, by which softmax is taken over the channels of images.
pub fn closing_softmax(forward: &Graph, class_axis: Option<usize>) -> Option<Closing> {
    let &(_, output) = forward.outputs().first()?;
    let scores = &forward.ty(output).shape;
    let axis = cross_entropy::class_axis(forward, scores, class_axis)?;
    let (mut id, mut back) = (output, None);
    loop {
        let operand = forward.operands(id).first().copied()?;
        match forward.op(id) {
            Op::Softmax(_) | Op::LogSoftmax(_) => break,
            Op::Reshape(_) if back.is_none() => {}
            Op::Transpose(op) if keeps_order(forward, operand, &op.perm) => {}
            Op::Transpose(op) if id == output => back = Some(&op.perm),
            Op::Log(_) if matches!(forward.op(operand), Op::Softmax(_)) => {}
            _ => return None,
        }
        id = operand;
    }
    let operand = forward.operands(id).first().copied()?;
    if let Some(back) = back {
        // Dimension `axis` of the output is the last one of the softmax, and its operand is the scores with that one last.
        let Op::Transpose(there) = forward.op(operand) else { return None };
        let is_back = back.iter().enumerate().all(|(at, &from)| there.perm.get(from) == Some(&at));
        let is_last = back.get(axis) == Some(&(scores.rank() - 1));
        let scores = forward.operands(operand).first().copied()?;
        return (is_back && is_last).then_some(Closing { function: id, scores });
    }
    // Each row of the softmax holds the scores that the loss takes as a row.
    let classes = forward.ty(id).shape.0.last()?.as_fixed()?;
    let behind = Shape(scores.0[axis..].to_vec()).symbolic_elements();
    let is_row = behind == (classes, 0) && scores.0[axis] == Dim::fixed(classes);
    is_row.then_some(Closing { function: id, scores: operand })
}

/// The Sigmoid that a forward graph ends in, if it ends in one: binary cross-entropy, which applies a sigmoid of its own, is to be computed
/// of the logits before it. Reshapes may follow it.
pub fn closing_sigmoid(forward: &Graph) -> Option<Closing> {
    let &(_, mut id) = forward.outputs().first()?;
    while matches!(forward.op(id), Op::Reshape(_)) {
        id = forward.operands(id).first().copied()?;
    }
    let scores = forward.operands(id).first().copied()?;
    matches!(forward.op(id), Op::Sigmoid(_)).then_some(Closing { function: id, scores })
}

/// Whether a transposition leaves the elements in their order.
fn keeps_order(graph: &Graph, x: NodeId, perm: &[usize]) -> bool {
    let shape = &graph.ty(x).shape;
    let moved: Vec<usize> = perm.iter().copied().filter(|&axis| shape.get(axis) != Some(Dim::fixed(1))).collect();
    moved.is_sorted()
}
