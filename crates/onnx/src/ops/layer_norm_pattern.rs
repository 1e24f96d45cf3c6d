//! Layer normalisation as exporters write it before operator set 17: ReduceMean, Sub, Pow, ReduceMean, Add, Sqrt, Div, Mul, Add.

use crate::importer::{Importer, Node};
use bitbudget_ir::{NodeId, Op, Real, Shape, ops};

/// What `layer_normalization` needs.
struct Found {
    x: NodeId,
    axis: usize,
    epsilon: Real,
    scale: NodeId,
    bias: NodeId,
}

/// The normalisation whose last step is the sum of two operands; the steps before are dropped where nothing else reads them.
pub(super) fn recognised(importer: &mut Importer, node: &Node, a: NodeId, b: NodeId) -> Result<Option<NodeId>, String> {
    let found = scaled(importer, a, b).or_else(|| scaled(importer, b, a));
    let Some(Found { x, axis, epsilon, scale, bias }) = found else { return Ok(None) };
    let y = importer.emit(node.name, ops::LayerNormalization { axis, epsilon }, &[x, scale, bias])?;
    importer.graph.set_onnx_type(y, "LayerNormalization");
    Ok(Some(y))
}

/// The operands of a node of two, in both orders.
fn either(importer: &Importer, id: NodeId) -> Vec<(NodeId, NodeId)> {
    match *importer.graph.operands(id) {
        [a, b] => vec![(a, b), (b, a)],
        _ => Vec::new(),
    }
}

fn scaled(importer: &Importer, product: NodeId, bias: NodeId) -> Option<Found> {
    if !matches!(importer.graph.op(product), Op::Mul(_)) {
        return None;
    }
    either(importer, product).into_iter().find_map(|(quotient, scale)| {
        let (x, axis, epsilon) = normalised(importer, quotient)?;
        let row = Shape(importer.shape(x).0[axis..].to_vec());
        let fits = importer.shape(scale) == row && importer.shape(bias) == row;
        fits.then_some(Found { x, axis, epsilon, scale, bias })
    })
}

/// The input, the first normalised dimension, and the number for stability of `(x - mean) / sqrt(variance + epsilon)`.
fn normalised(importer: &Importer, quotient: NodeId) -> Option<(NodeId, usize, Real)> {
    let graph = &importer.graph;
    let &[centred, root] = graph.operands(quotient) else { return None };
    if !matches!((graph.op(quotient), graph.op(root)), (Op::Div(_), Op::Sqrt(_))) {
        return None;
    }
    let sum = *graph.operands(root).first()?;
    let (Op::Add(_), &Op::Sub(_)) = (graph.op(sum), graph.op(centred)) else { return None };
    let (variance, epsilon) = either(importer, sum).into_iter().find_map(|(variance, epsilon)| {
        let Op::Constant(constant) = graph.op(epsilon) else { return None };
        match importer.values.get(&constant.name)?.as_slice() {
            &[number] if number > 0.0 && number.is_finite() => Some((variance, Real(crate::importer::decimal(number)))),
            _ => None,
        }
    })?;
    let (squares, axes) = mean(importer, variance)?;
    let &[x, average] = graph.operands(centred) else { return None };
    let is_square = matches!(graph.op(squares), Op::Mul(_)) && graph.operands(squares) == [centred, centred];
    let rank = importer.shape(x).rank();
    let axis = rank.checked_sub(axes.len())?;
    let is_trailing = axes.iter().copied().eq(axis..rank) && axis < rank;
    (is_square && is_trailing && mean(importer, average) == Some((x, axes))).then_some((x, axis, epsilon))
}

/// The operand and the axes of a mean that keeps them.
fn mean(importer: &Importer, id: NodeId) -> Option<(NodeId, &[usize])> {
    match importer.graph.op(id) {
        Op::ReduceMean(op) if op.keep => Some((*importer.graph.operands(id).first()?, op.axes.as_slice())),
        _ => None,
    }
}
