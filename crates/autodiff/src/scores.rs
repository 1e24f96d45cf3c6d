//! The scores of a network that ends in the function which its loss applies: Softmax or LogSoftmax, or Sigmoid.

use crate::cross_entropy;
use bitbudget_ir::{Dim, Graph, NodeId, Op, Shape};

/// The function that a network ends in and its loss applies itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The function.
    pub function: NodeId,
    /// What the loss is to be computed of.
    pub scores: NodeId,
    /// The nodes on the way to `scores` that are to be left out, as if each were its first operand.
    pub left_out: Vec<NodeId>,
    /// The dimension of the classes in `scores`, where the function tells it.
    pub class_axis: Option<usize>,
}

/// The Softmax or LogSoftmax over the classes that a forward graph ends in, if it ends in one: cross-entropy, which applies a softmax of
/// its own, is to be computed of the scores before it. `class_axis` is the dimension of the classes where it is given.
///
/// Reshapes, transpositions, a logarithm, and limits that hold all probabilities may follow it.
pub fn closing_softmax(forward: &Graph, class_axis: Option<usize>) -> Option<Closing> {
    let closing = softmax_at_end(forward, class_axis)?;
    let scores = &forward.ty(closing.scores).shape;
    cross_entropy::class_axis(forward, scores, closing.class_axis).map(|_| closing)
}

fn softmax_at_end(forward: &Graph, class_axis: Option<usize>) -> Option<Closing> {
    let &(_, output) = forward.outputs().first()?;
    let scores = &forward.ty(output).shape;
    // The dimension of the output that each one of `id` is; none behind a reshape.
    let mut dims: Option<Vec<usize>> = Some((0..scores.rank()).collect());
    let (mut id, mut left_out) = (output, Vec::new());
    loop {
        let operand = forward.operands(id).first().copied()?;
        match forward.op(id) {
            Op::Softmax(_) | Op::LogSoftmax(_) => break,
            Op::Reshape(_) => dims = None,
            Op::Transpose(op) => match &dims {
                Some(of) => {
                    let from = |dim: usize| op.perm.iter().position(|&from| from == dim).map(|at| of[at]);
                    dims = (0..of.len()).map(from).collect();
                }
                None if keeps_order(forward, operand, &op.perm) => {}
                None => return None,
            },
            Op::Clip(op) if op.min.0 <= LEAST_PROBABILITY && op.max.0 >= 1.0 - LEAST_PROBABILITY => left_out.push(id),
            Op::Log(_) if follows_softmax(forward, operand) => left_out.push(id),
            _ => return None,
        }
        id = operand;
    }
    left_out.push(id);
    let operand = forward.operands(id).first().copied()?;
    if let Some(dims) = dims.filter(|dims| !dims.is_sorted()) {
        let class_axis = dims.last().copied().filter(|axis| class_axis.is_none_or(|given| given == *axis))?;
        let class_axis = Some(class_axis);
        return Some(match turned(forward, operand, &dims) {
            Some(scores) => Closing { function: id, scores, left_out: Vec::new(), class_axis },
            None => Closing { function: id, scores: output, left_out, class_axis },
        });
    }
    // Each row of the softmax holds the scores that the loss takes as a row.
    let is_same = forward.ty(id).shape == *scores;
    let axis = match class_axis {
        None if is_same => scores.rank().checked_sub(1)?,
        _ => cross_entropy::class_axis(forward, scores, class_axis)?,
    };
    let shape = &forward.ty(id).shape;
    let classes = shape.0.last()?.as_fixed()?;
    let behind = Shape(scores.0[axis..].to_vec()).symbolic_elements();
    let is_row = behind == (classes, 0) && scores.0[axis] == Dim::fixed(classes);
    let class_axis = Some(shape.rank() - 1);
    is_row.then_some(Closing { function: id, scores: operand, left_out: Vec::new(), class_axis })
}

/// Probabilities that networks limit from below are not larger.
const LEAST_PROBABILITY: f64 = 1e-3;

/// The operand of the transposition before a softmax, where what follows turns its dimensions back: those of the output are `dims`.
fn turned(graph: &Graph, operand: NodeId, dims: &[usize]) -> Option<NodeId> {
    let Op::Transpose(there) = graph.op(operand) else { return None };
    let is_back = there.perm == dims;
    graph.operands(operand).first().copied().filter(|_| is_back)
}

/// Whether a node is a softmax with nothing but limits and other orders behind it.
fn follows_softmax(graph: &Graph, mut id: NodeId) -> bool {
    while let (Op::Clip(_) | Op::Transpose(_) | Op::Reshape(_), Some(&operand)) =
        (graph.op(id), graph.operands(id).first())
    {
        id = operand;
    }
    matches!(graph.op(id), Op::Softmax(_))
}

/// The Sigmoid that a forward graph ends in, if it ends in one: binary cross-entropy, which applies a sigmoid of its own, is to be computed
/// of the logits before it. Reshapes, transpositions, and limits that hold all probabilities may follow it.
pub fn closing_sigmoid(forward: &Graph) -> Option<Closing> {
    let &(_, output) = forward.outputs().first()?;
    let (mut id, mut left_out, mut is_turned) = (output, Vec::new(), false);
    loop {
        match forward.op(id) {
            Op::Sigmoid(_) => break,
            Op::Reshape(_) => {}
            Op::Transpose(_) => is_turned = true,
            Op::Clip(op) if op.min.0 <= LEAST_PROBABILITY && op.max.0 >= 1.0 - LEAST_PROBABILITY => left_out.push(id),
            _ => return None,
        }
        id = forward.operands(id).first().copied()?;
    }
    left_out.push(id);
    let operand = forward.operands(id).first().copied()?;
    let class_axis = None;
    Some(match is_turned {
        true => Closing { function: id, scores: output, left_out, class_axis },
        false => Closing { function: id, scores: operand, left_out: Vec::new(), class_axis },
    })
}

/// Whether a transposition leaves the elements in their order.
fn keeps_order(graph: &Graph, x: NodeId, perm: &[usize]) -> bool {
    let shape = &graph.ty(x).shape;
    let moved: Vec<usize> = perm.iter().copied().filter(|&axis| shape.get(axis) != Some(Dim::fixed(1))).collect();
    moved.is_sorted()
}
