//! Products of two tensors that sum over some dimensions, as matrix products.

use crate::importer::Importer;
use bitbudget_ir::{Dim, NodeId, Op, Shape, ops};
use std::collections::BTreeMap;

/// The name of a dimension; dimensions of one name are one dimension of the product.
pub(super) type Label = usize;

/// A tensor with a label for each dimension, all distinct.
#[derive(Clone, Debug)]
pub(super) struct Labelled {
    pub(super) x: NodeId,
    pub(super) labels: Vec<Label>,
}

/// The labels of a product by where they occur, in the order of the result; summed ones in the order of the first operand.
struct Parts {
    shared: Vec<Label>,
    left: Vec<Label>,
    right: Vec<Label>,
    summed: Vec<Label>,
}

impl Parts {
    fn new(a: &[Label], b: &[Label], out: &[Label]) -> Parts {
        let pick = |in_a: bool, in_b: bool| {
            out.iter().copied().filter(|l| a.contains(l) == in_a && b.contains(l) == in_b).collect::<Vec<_>>()
        };
        let summed = a.iter().copied().filter(|l| !out.contains(l)).collect();
        Parts { shared: pick(true, true), left: pick(true, false), right: pick(false, true), summed }
    }

    /// The labels of the product of matrices.
    fn result(&self) -> Vec<Label> {
        [self.shared.as_slice(), &self.left, &self.right].concat()
    }
}

/// Whether the columns of the product of matrices are the last dimension of `out`, so that it can take a bias.
pub(super) fn takes_bias(a: &[Label], b: &[Label], out: &[Label]) -> bool {
    let parts = Parts::new(a, b, out);
    parts.right.len() == 1 && parts.result() == out
}

/// The sums over the dimensions of both operands that are not among those of the result, `out`, of the operands' products; plus a
/// bias where [`takes_bias`]. A dimension of one operand alone has to be one of the result.
///
/// The dimensions of both that are left make pairs of matrices; the others are their rows and columns. Operands that only swap these
/// are read transposed; others are transposed by a node.
pub(super) fn contract(
    importer: &mut Importer,
    name: &str,
    [a, b]: [Labelled; 2],
    out: &[Label],
    bias: Option<NodeId>,
) -> Result<NodeId, String> {
    let parts = Parts::new(&a.labels, &b.labels, out);
    let swapped = [parts.shared.as_slice(), &parts.right, &parts.left].concat();
    if bias.is_none() && parts.result() != out && swapped == out {
        return contract(importer, name, [b, a], out, None);
    }
    let sizes = sizes(importer, [&a, &b]);
    let dims = |labels: &[Label]| labels.iter().filter_map(|l| sizes.get(l).copied()).collect::<Vec<Dim>>();
    let Parts { shared, left, right, summed } = &parts;
    let (rows, columns, depth) = (joined(&dims(left))?, joined(&dims(right))?, joined(&dims(summed))?);
    let matrices = |trans: bool, sides: [Dim; 2]| {
        let sides = if trans { [sides[1], sides[0]] } else { sides };
        Shape([dims(shared).as_slice(), &sides].concat())
    };
    let (a, trans_a) = arranged(importer, name, a, [shared, left, summed])?;
    let a = importer.reshape(name, a, matrices(trans_a, [rows, depth]))?;
    let (b, trans_b) = arranged(importer, name, b, [shared, summed, right])?;
    let b = importer.reshape(name, b, matrices(trans_b, [depth, columns]))?;
    let operands: Vec<NodeId> = [a, b].into_iter().chain(bias).collect();
    let y = importer.emit(name, ops::Matmul { trans_a, trans_b }, &operands)?;
    let result = parts.result();
    let y = importer.reshape(name, y, Shape(dims(&result)))?;
    transposed(importer, name, Labelled { x: y, labels: result }, out)
}

/// The size of each label.
fn sizes(importer: &Importer, operands: [&Labelled; 2]) -> BTreeMap<Label, Dim> {
    let of = |operand: &Labelled| {
        let dims = importer.shape(operand.x).0;
        operand.labels.clone().into_iter().zip(dims).collect::<Vec<_>>()
    };
    operands.into_iter().flat_map(of).collect()
}

/// Dimensions as one.
fn joined(dims: &[Dim]) -> Result<Dim, String> {
    match Shape(dims.to_vec()).symbolic_elements() {
        (factor, 0) => Ok(Dim::fixed(factor)),
        (factor, 1) => Ok(Dim::batches(factor)),
        _ => Err(format!("the batch occurs twice in {}", Shape(dims.to_vec()))),
    }
}

/// The operand with its labels in the order of these parts, or with the last two parts swapped, which is said. A transposition before
/// that is skipped where it can be.
fn arranged(
    importer: &mut Importer,
    name: &str,
    operand: Labelled,
    [shared, first, second]: [&[Label]; 3],
) -> Result<(NodeId, bool), String> {
    let (straight, swapped) = ([shared, first, second].concat(), [shared, second, first].concat());
    let (mut found, mut at) = (None, operand);
    loop {
        if at.labels == straight {
            found = Some((at.x, false));
        } else if at.labels == swapped {
            found = Some((at.x, true));
        }
        let Op::Transpose(op) = importer.graph.op(at.x) else { break };
        let mut labels = at.labels.clone();
        op.perm.iter().zip(&at.labels).for_each(|(&axis, &label)| labels[axis] = label);
        at = Labelled { x: importer.graph.operand(at.x, 0).map_err(|e| e.to_string())?, labels };
    }
    match found {
        Some(found) => Ok(found),
        None => Ok((transposed(importer, name, at, &straight)?, false)),
    }
}

/// The tensor with its labels in another order.
pub(super) fn transposed(
    importer: &mut Importer,
    name: &str,
    operand: Labelled,
    order: &[Label],
) -> Result<NodeId, String> {
    if operand.labels == order {
        return Ok(operand.x);
    }
    let perm = order.iter().filter_map(|l| operand.labels.iter().position(|own| own == l)).collect();
    importer.emit(name, ops::Transpose { perm }, &[operand.x])
}
