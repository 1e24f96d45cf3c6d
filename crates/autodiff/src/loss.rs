//! The loss behind the network's result, with the target that it is compared with.

use crate::cross_entropy::{self, examples};
use bitbudget_ir::ops::{Add, Clip, Input, Mul, ReduceMean, Scale, Sub, Unary};
use bitbudget_ir::{DType, Graph, GraphError, Loss, Names, NodeId, Op, Real, Reason, Role, TensorType, UnaryFunction};

/// Appends the loss to the network's result, with its target, and names the results; returns the loss, a scalar.
pub(crate) fn append(graph: &mut Graph, result: NodeId, loss: &Loss, names: &mut Names) -> Result<NodeId, GraphError> {
    loss.check().map_err(|reason| fault(graph, result, &reason))?;
    if graph.ty(result).dtype != DType::F32 {
        let reason = "the network's output holds whole numbers or truth values, which have no gradient; choose one of floating-point numbers \
                      with --output, or export the scores from which it is computed";
        return Err(fault(graph, result, reason));
    }
    let elements = match loss {
        Loss::CrossEntropy { smoothing, weights, axis } => {
            let (scores, labelled) = cross_entropy::rows(graph, result, *axis)?;
            return cross_entropy::append(graph, scores, labelled, (*smoothing, weights), names);
        }
        Loss::Output { .. } => result,
        Loss::BinaryCrossEntropy => {
            let target = target(graph, result, names)?;
            graph.set_output("logits", result);
            binary_cross_entropy(graph, result, target)?
        }
        Loss::MeanSquared | Loss::MeanAbsolute | Loss::Huber { .. } => {
            let target = target(graph, result, names)?;
            graph.set_output("predictions", result);
            let difference = internal(graph, Sub {}, &[result, target])?;
            match loss {
                Loss::Huber { delta } => huber(graph, difference, *delta)?,
                Loss::MeanAbsolute => internal(graph, unary(UnaryFunction::Abs), &[difference])?,
                _ => internal(graph, Mul {}, &[difference, difference])?,
            }
        }
    };
    let loss = mean(graph, elements)?;
    graph.set_output("loss", loss);
    Ok(loss)
}

/// Numbers for all elements of the network's result, which the data give.
fn target(graph: &mut Graph, result: NodeId, names: &mut Names) -> Result<NodeId, GraphError> {
    let shape = graph.ty(result).shape.clone();
    if examples(graph, &shape).is_none() {
        let reason = "the network's output has no dimension of examples; choose another one with --output, or say --loss output:NAME \
                      where the network computes its loss itself";
        return Err(fault(graph, result, reason));
    }
    Ok(graph.source(Input { name: names.fresh("targets"), target: true }, TensorType::f32(shape)))
}

/// `log(1 + e^-x) + x - t x`: neither exponential overflows, and what is near zero for a target of one stays exact.
fn binary_cross_entropy(graph: &mut Graph, x: NodeId, target: NodeId) -> Result<NodeId, GraphError> {
    let negative = internal(graph, Scale { by: Real(-1.0) }, &[x])?;
    let of_one = internal(graph, unary(UnaryFunction::Softplus), &[negative])?;
    let product = internal(graph, Mul {}, &[x, target])?;
    let rest = internal(graph, Sub {}, &[x, product])?;
    internal(graph, Add {}, &[of_one, rest])
}

/// `c (d - c / 2)` with `c` the difference up to delta: the half of its square, and linear above.
fn huber(graph: &mut Graph, difference: NodeId, delta: f64) -> Result<NodeId, GraphError> {
    let clipped = internal(graph, Clip { min: Real(-delta), max: Real(delta) }, &[difference])?;
    let half = internal(graph, Scale { by: Real(0.5) }, &[clipped])?;
    let rest = internal(graph, Sub {}, &[difference, half])?;
    internal(graph, Mul {}, &[clipped, rest])
}

/// The mean of all elements; a scalar is one already.
fn mean(graph: &mut Graph, elements: NodeId) -> Result<NodeId, GraphError> {
    let rank = graph.ty(elements).shape.rank();
    match rank {
        0 => Ok(elements),
        _ => internal(graph, ReduceMean { axes: (0..rank).collect(), keep: false }, &[elements]),
    }
}

fn unary(function: UnaryFunction) -> Unary {
    Unary { function, alpha: Real(1.0), gamma: Real(1.0) }
}

/// Adds a node that nothing rounds.
fn internal(graph: &mut Graph, op: impl Into<Op>, operands: &[NodeId]) -> Result<NodeId, GraphError> {
    let id = graph.add(op, operands)?;
    graph.set_role(id, Role::Internal);
    Ok(id)
}

fn fault(graph: &Graph, result: NodeId, reason: &str) -> GraphError {
    GraphError::new("loss", &graph.node(result).name, &[graph.ty(result).to_string()], Reason::new(reason))
}
