//! The verifier. What holds for every graph:
//!
//! 1. Operands stand before their readers.
//! 2. Every type is the one that its operator infers from its operands.
//! 3. Names of sources are unique and not empty; scalars are bound by their kind, so these may share a name with another source.
//! 4. Outputs and updates name nodes of the graph; an update's target is a parameter or a state, occurs once, and its
//!    value has the target's type.
//! 5. A gradient's role points to an earlier node.
//! 6. Batch normalisation reads the mean and variance of its own input (or of a copy of it), or two states (running statistics).
//! 7. Before formats are assigned every tensor is in FP32, and an imported graph has no gradients. Before rewriting every node stands for
//!    one node of the training graph. Before the order is fixed none is computed again, in passing or without being counted. What a
//!    node stands for is listed in order.

use crate::error::{GraphError, Reason};
use crate::graph::{Graph, Node};
use crate::layout::Layout;
use crate::ops::Op;
use crate::origin::Stage;
use crate::role::{NodeId, Role};
use bitbudget_formats::Format;
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
    check_stage(graph, id)?;
    if let (Op::BatchNormalize(_), [x, mean, variance, ..]) = (&node.op, operands) {
        // Copies of one tensor have one origin.
        let is_input = |id: NodeId| id == *x || graph.origin(id).is_some() && graph.origin(id) == graph.origin(*x);
        let own = |statistic: NodeId| graph.operands(statistic).first().is_some_and(|&id| is_input(id));
        let (m, v) = (graph.op(*mean), graph.op(*variance));
        let batch = matches!((m, v), (Op::BatchMean(_), Op::BatchVariance(_))) && own(*mean) && own(*variance);
        let running = matches!((m, v), (Op::State(_), Op::State(_)));
        if !batch && !running {
            return Err(Reason::new("its statistics are neither those of its own input nor running ones"));
        }
    }
    Ok(())
}

/// Checks a node against the graph's stage.
fn check_stage(graph: &Graph, id: NodeId) -> Result<(), Reason> {
    let (stage, Node { stored, origin, .. }) = (graph.stage(), graph.node(id));
    let fault = |what: &str| Err(Reason::new(format!("{what}, but the graph's stage is `{stage}`")));
    if stage < Stage::Assigned && stored.format != Format::FP32 {
        return fault(&format!("it has the format {}", stored.format));
    }
    if stage < Stage::Rewritten && stored.layout != Layout::ROWS {
        return fault("its channels lie last");
    }
    if usize::from(stored.layout.last) >= graph.ty(id).shape.rank().max(1) {
        return fault("more axes lie last than there are");
    }
    if stage == Stage::Imported && graph.is_gradient(id) {
        return fault("it is a gradient");
    }
    if stage < Stage::Rewritten && origin.stands_for.len() != 1 {
        return fault(&format!("it stands for {} training nodes", origin.stands_for.len()));
    }
    if stage < Stage::Ordered && (origin.again || origin.in_passing || origin.uncounted) {
        return fault("it is a copy");
    }
    match origin.stands_for.is_sorted_by(|a, b| a < b) {
        true => Ok(()),
        false => fault("the training nodes that it stands for are not in ascending order"),
    }
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
