//! The verifier. What holds for every graph:
//!
//! 1. Operands stand before their readers.
//! 2. Every type is the one that its operator infers from its operands.
//! 3. Names of sources are unique and not empty; scalars are bound by their kind, so these may share a name with another source.
//! 4. Outputs and updates name nodes of the graph; an update's target is a parameter or a state, occurs once, and its
//!    value has the target's type.
//! 5. A gradient's role points to an earlier node.
//! 6. Batch normalisation reads the mean and variance of its own input, or two states (running statistics).

use crate::error::{GraphError, Reason};
use crate::graph::{Graph, NodeId, Role};
use crate::ops::Op;
use std::collections::BTreeSet;

/// Checks every invariant that the module lists.
///
/// # Errors
/// All faults that were found, in execution order.
pub fn verify(graph: &Graph) -> Result<(), Vec<GraphError>> {
    let mut faults = Vec::new();
    let mut names = BTreeSet::new();
    for id in graph.ids() {
        if let Err(reason) = check_node(graph, id, &mut names) {
            faults.push(fault(graph, id, reason));
        }
    }
    for (name, id) in graph.outputs() {
        if !graph.contains(*id) {
            let reason = Reason::new(format!("output {id} is not a node of the graph"));
            faults.push(GraphError::new("output", name, &[], reason));
        }
    }
    let mut targets = BTreeSet::new();
    for &(target, value) in graph.updates() {
        if let Err(reason) = check_update(graph, target, value, &mut targets) {
            faults.push(GraphError::new("update", &target.to_string(), &[], reason));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn fault(graph: &Graph, id: NodeId, reason: Reason) -> GraphError {
    let types: Vec<String> = graph.operands(id).iter().map(|&o| graph.ty(o).to_string()).collect();
    let name = if graph.node(id).name.is_empty() { id.to_string() } else { graph.node(id).name.clone() };
    GraphError::new(graph.op(id).name(), &name, &types, reason)
}

fn check_node<'g>(graph: &'g Graph, id: NodeId, names: &mut BTreeSet<&'g str>) -> Result<(), Reason> {
    let node = graph.node(id);
    let operands = graph.operands(id);
    if let Some(late) = operands.iter().find(|&&o| o >= id) {
        return Err(Reason::new(format!("operand {late} does not stand before it")));
    }
    if let Some(name) = node.op.source_name() {
        if name.is_empty() {
            return Err(Reason::new("a source needs a name"));
        }
        if !matches!(node.op, Op::Scalar(_)) && !names.insert(name) {
            return Err(Reason::new(format!("two sources are named `{name}`")));
        }
    } else {
        let types: Vec<_> = operands.iter().map(|&o| graph.ty(o)).collect();
        let inferred = node.op.infer(&types)?;
        if inferred != node.ty {
            return Err(Reason::new(format!("its type is {}, but its operands give {inferred}", node.ty)));
        }
    }
    match node.role {
        Role::OutputGradient { of } | Role::ParameterGradient { of } if of >= id => {
            return Err(Reason::new(format!("it is the gradient of {of}, which does not stand before it")));
        }
        _ => {}
    }
    if let (Op::BatchNormalize(_), [x, mean, variance, ..]) = (&node.op, operands) {
        let own = |statistic: NodeId| graph.operands(statistic).first() == Some(x);
        let (m, v) = (graph.op(*mean), graph.op(*variance));
        let batch = matches!((m, v), (Op::BatchMean(_), Op::BatchVariance(_))) && own(*mean) && own(*variance);
        let running = matches!((m, v), (Op::State(_), Op::State(_)));
        if !batch && !running {
            return Err(Reason::new("its statistics are neither those of its own input nor running ones"));
        }
    }
    Ok(())
}

fn check_update(graph: &Graph, target: NodeId, value: NodeId, targets: &mut BTreeSet<NodeId>) -> Result<(), Reason> {
    if !graph.contains(target) || !graph.contains(value) {
        return Err(Reason::new(format!("{target} <- {value} names no node of the graph")));
    }
    if !matches!(graph.op(target), Op::Parameter(_) | Op::State(_)) {
        return Err(Reason::new(format!("{target} is neither a parameter nor a state")));
    }
    if !targets.insert(target) {
        return Err(Reason::new(format!("{target} is updated twice")));
    }
    if graph.ty(target) != graph.ty(value) {
        return Err(Reason::new(format!("{} cannot take a value of type {}", graph.ty(target), graph.ty(value))));
    }
    Ok(())
}
