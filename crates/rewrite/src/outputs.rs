//! Gradients that read an output in place of the input.

use bitbudget_formats::{Format, Overflow, Rounder};
use bitbudget_ir::{Graph, GraphError, NodeId, Op};

/// Applies the rule to every gradient of a rectifier and of clipping.
pub(crate) fn apply(graph: &mut Graph, formats: &[Format]) -> Result<(), GraphError> {
    for id in graph.ids() {
        let op = graph.op(id).clone();
        let operands = graph.operands(id);
        let [dy, x] = operands[..] else { continue };
        let same = |y: &NodeId| formats[y.index()] == formats[x.index()] && *y < id && is_forward(&op, graph.op(*y));
        if !bounds_are_exact(&op, formats[x.index()]) {
            continue;
        }
        if let Some(y) = graph.readers(x).into_iter().find(same) {
            graph.replace(id, op, &[dy, y])?;
        }
    }
    Ok(())
}

/// Whether `forward` is the operator that `gradient` is the gradient of.
fn is_forward(gradient: &Op, forward: &Op) -> bool {
    match (gradient, forward) {
        (Op::ReluGrad(_), Op::Relu(_)) => true,
        (Op::LeakyReluGrad(gradient), Op::LeakyRelu(forward)) => gradient.alpha == forward.alpha,
        (Op::ClipGrad(gradient), Op::Clip(forward)) => (gradient.min, gradient.max) == (forward.min, forward.max),
        _ => false,
    }
}

/// Whether rounding the output moves no element to a bound or from it.
fn bounds_are_exact(gradient: &Op, format: Format) -> bool {
    let rounder = Rounder::new(format, Overflow::Saturate);
    let exact = |x: f64| x.is_infinite() || rounder.round(x as f32) == x as f32;
    match gradient {
        Op::ReluGrad(_) => true,
        // A negative slope keeps the sign, so that no negative input becomes a positive output.
        Op::LeakyReluGrad(op) => op.alpha.0 >= 0.0,
        Op::ClipGrad(op) => exact(op.min.0) && exact(op.max.0) && op.min.0 < op.max.0,
        _ => false,
    }
}
