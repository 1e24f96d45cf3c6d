//! The evaluation graph: the training graph's forward part with running statistics and without dropout.

use bitbudget_ir::{Graph, GraphError, NodeId, Op, Reason, Stage};

/// The forward part of a training graph, with batch statistics replaced by the running ones that the step updates, and without dropout.
///
/// Its outputs are `logits` and `log_probabilities`, and it has no updates. Each node stands for the one that it is in the training graph.
///
/// # Errors
/// If a batch normalisation has no running statistics.
pub fn evaluation(training: &Graph) -> Result<Graph, GraphError> {
    let mut graph = Graph::new(training.name());
    graph.set_stage(Stage::Training);
    let mut copied: Vec<Option<NodeId>> = vec![None; training.len()];
    // Running statistics may stand after their readers in the training graph, so states come first.
    let states = |id: &NodeId| matches!(training.op(*id), Op::State(_));
    for id in training.ids().filter(states) {
        let state = graph.source(training.op(id).clone(), training.ty(id).clone());
        graph.set_origin(state, training.node(id).origin.clone());
        copied[id.index()] = Some(state);
    }
    let wanted = needed(training);
    for id in training.ids().filter(|id| wanted[id.index()]) {
        let node = training.node(id);
        let mut operands = training.operands(id).to_vec();
        if let (Op::BatchNormalize(_), [_, mean, variance, ..]) = (&node.op, operands.as_mut_slice()) {
            *mean = running(training, *mean)?;
            *variance = running(training, *variance)?;
        }
        if copied[id.index()].is_some() {
            continue;
        }
        let operands: Vec<_> = operands.iter().filter_map(|o| copied[o.index()]).collect();
        if let (Op::Dropout(_), [x, ..]) = (&node.op, operands.as_slice()) {
            copied[id.index()] = Some(*x);
            continue;
        }
        let new = match node.op.source_name() {
            Some(_) => graph.source(node.op.clone(), node.ty.clone()),
            None => graph.add_named(node.op.clone(), &operands, &node.name)?,
        };
        graph.set_role(new, node.role);
        graph.set_origin(new, node.origin.clone());
        copied[id.index()] = Some(new);
    }
    for name in OUTPUTS {
        if let Some(id) = training.output(name).and_then(|id| copied[id.index()]) {
            graph.set_output(name, id);
        }
    }
    Ok(graph.without_dead_nodes().0)
}

const OUTPUTS: [&str; 2] = ["logits", "log_probabilities"];

/// The nodes that the evaluation's outputs depend on.
fn needed(training: &Graph) -> Vec<bool> {
    let mut outputs = training.clone();
    outputs.clear_outputs();
    outputs.clear_updates();
    for name in OUTPUTS {
        if let Some(id) = training.output(name) {
            outputs.set_output(name, id);
        }
    }
    outputs.live()
}

/// The state in which a batch statistic is averaged.
fn running(training: &Graph, statistic: NodeId) -> Result<NodeId, GraphError> {
    if matches!(training.op(statistic), Op::State(_)) {
        return Ok(statistic);
    }
    let averages = |&&(_, value): &&(NodeId, NodeId)| {
        matches!(training.op(value), Op::RunningAverage(_) | Op::RunningVariance(_))
            && training.operands(value).get(1) == Some(&statistic)
    };
    training.updates().iter().find(averages).map(|&(state, _)| state).ok_or_else(|| {
        let reason = Reason::new("no running average of it is kept, so the network cannot be evaluated");
        GraphError::new(training.op(statistic).name(), &training.node(statistic).name, &[], reason)
    })
}
