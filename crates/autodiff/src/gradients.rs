//! The backward walk.

use bitbudget_ir::ops::{Broadcast, Cast, ReduceSum, Reshape, Sum};
use bitbudget_ir::{Dim, Graph, GraphError, NodeId, Op, Precision, Role};

/// Emits the gradients of `y` with respect to `targets`, given the gradient `dy` of some number with respect to `y`.
///
/// Each reader's contribution is a node of role [`Role::OutputGradient`] or, for a tensor of role
/// [`Role::Parameter`], [`Role::ParameterGradient`]; several are added in FP32 as they
/// come, two at a time, by internal nodes: a term can go before the next one is computed. What an operator emits besides is internal,
/// unless it gave it a role. `None` for a target on which `y` does not depend.
///
/// # Errors
/// If an operator between the targets and `y` has no derivative.
pub fn gradients(
    graph: &mut Graph,
    y: NodeId,
    dy: NodeId,
    targets: &[NodeId],
) -> Result<Vec<Option<NodeId>>, GraphError> {
    let mut is_target = vec![false; y.index() + 1];
    targets.iter().filter(|id| id.index() <= y.index()).for_each(|id| is_target[id.index()] = true);
    let depends = dependents(graph, &is_target);
    let mut totals = vec![None; y.index() + 1];
    totals[y.index()] = Some(dy);
    for id in (0..=y.0).rev().map(NodeId).filter(|id| depends[id.index()] && !is_target[id.index()]) {
        let Some(total) = totals[id.index()] else { continue };
        let first = graph.len();
        let emitted = Op::gradient(graph, id, total)?;
        for fresh in graph.ids().skip(first) {
            if graph.node(fresh).role == Role::Output {
                graph.set_role(fresh, Role::Internal);
            }
        }
        for (operand, gradient) in graph.operands(id).to_vec().into_iter().zip(emitted) {
            if let (Some(gradient), true) = (gradient, depends[operand.index()]) {
                let summed = sum_to_shape(graph, operand, gradient)?;
                let term = contribution(graph, operand, summed, summed != gradient, first)?;
                totals[operand.index()] = Some(match totals[operand.index()] {
                    None => term,
                    Some(terms) => sum(graph, terms, term)?,
                });
            }
        }
    }
    Ok(targets.iter().map(|t| totals.get(t.index()).copied().flatten()).collect())
}

/// Which of the first nodes depend on targets, or are some.
fn dependents(graph: &Graph, is_target: &[bool]) -> Vec<bool> {
    let mut depends = is_target.to_vec();
    for id in graph.ids().take(depends.len()) {
        depends[id.index()] |= graph.operands(id).iter().any(|o| depends[o.index()]);
    }
    depends
}

fn sum(graph: &mut Graph, terms: NodeId, term: NodeId) -> Result<NodeId, GraphError> {
    let sum = graph.add(Sum {}, &[terms, term])?;
    graph.set_role(sum, Role::Internal);
    Ok(sum)
}

/// Undoes broadcasting: a gradient of the result's shape becomes one of the operand's shape.
fn sum_to_shape(graph: &mut Graph, operand: NodeId, gradient: NodeId) -> Result<NodeId, GraphError> {
    let (to, from) = (graph.ty(operand).shape.clone(), graph.ty(gradient).shape.clone());
    if to == from {
        return Ok(gradient);
    }
    if from.rank() < to.rank() {
        let spread = graph.add(Broadcast { shape: to }, &[gradient])?;
        graph.set_role(spread, Role::Internal);
        return Ok(spread);
    }
    let lead = from.rank() - to.rank();
    let one = Dim::fixed(1);
    let stretched = |&axis: &usize| axis < lead || (to.0[axis - lead] == one && from.0[axis] != one);
    let axes = (0..from.rank()).filter(stretched).collect();
    let sum = graph.add(ReduceSum { axes, keep: false }, &[gradient])?;
    graph.set_role(sum, Role::Internal);
    if graph.ty(sum).shape == to {
        return Ok(sum);
    }
    let shaped = graph.add(Reshape { shape: to }, &[sum])?;
    graph.set_role(shaped, Role::Internal);
    Ok(shaped)
}

/// Gives a gradient its role; one that something else reads too, or that is older, is copied, for its rounding must not
/// be seen elsewhere.
fn contribution(
    graph: &mut Graph,
    operand: NodeId,
    gradient: NodeId,
    summed: bool,
    first: usize,
) -> Result<NodeId, GraphError> {
    let fresh =
        gradient.index() >= first && !graph.has_readers(gradient) && graph.node(gradient).role == Role::Internal;
    let relabels = graph.op(gradient).precision() == Precision::Relabel;
    let of = graph.owner(operand);
    let role = match graph.node(of).role {
        Role::Parameter => Role::ParameterGradient { of },
        _ => Role::OutputGradient { of },
    };
    // A relabelled gradient takes the format of what it relabels, which for a sum and for a parameter is not that of the
    // gradient.
    let own = fresh && !(relabels && (summed || graph.node(of).role == Role::Parameter));
    let node = if own { gradient } else { graph.add(Cast {}, &[gradient])? };
    graph.set_role(node, role);
    Ok(node)
}
