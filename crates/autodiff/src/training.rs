//! The training graph: forward, loss, backward, update.

use crate::gradients::gradients;
use crate::optimizer::{Optimizer, Trained, Updates};
use crate::scores::{Closing, closing_sigmoid, closing_softmax};
use crate::targets::targets;
use crate::{loss, optimizer};
use bitbudget_ir::ops::{Cast, Input, Scalar};
use bitbudget_ir::{Graph, GraphError, Loss, Names, NodeId, Op, Reason, Role, ScalarKind, Shape, Stage, TensorType};
use std::collections::BTreeSet;

/// The training step of a forward graph, whose first output holds the class scores `[N, classes]`, or their softmax
/// ([`closing_softmax`]), which is left out; its loss is their cross-entropy.
///
/// Every parameter that the output depends on gets a rounded copy (a cast of role [`Role::Parameter`]) that forward and
/// backward pass read, while the optimizer updates the master. Outputs: `logits`, `log_probabilities`, `loss`,
/// `finite`. The gradient of the loss starts from the scalar `loss_scale`.
///
/// # Errors
/// If the output is no `[N, classes]`, depends on no parameter, or an operator has no derivative.
pub fn training(forward: &Graph, optimizer: &Optimizer) -> Result<Graph, GraphError> {
    training_with(forward, optimizer, Updates::IfFinite, &Loss::default())
}

/// Like [`training`], with the choice of when parameters are updated and of the loss. Output `finite` is there with
/// [`Updates::IfFinite`] only. Other losses than cross-entropy have other outputs: binary cross-entropy has `logits`, those of differences
/// have `predictions`, and one that the network computes itself has `loss` alone.
///
/// # Errors
/// As [`training`]; if the output does not fit the loss.
pub fn training_with(whole: &Graph, optimizer: &Optimizer, updates: Updates, loss: &Loss) -> Result<Graph, GraphError> {
    let mut pruned = whole.clone();
    let fault = |text: &str| GraphError::new("graph", whole.name(), &[], Reason::new(text));
    let Output { name, scores, left_out, loss } = trained_output(whole, loss).map_err(|text| fault(&text))?;
    pruned.clear_outputs();
    pruned.set_output(name, scores);
    let (forward, renamed) = pruned.without_dead_nodes();
    let scores = renamed[scores.index()].ok_or_else(|| fault("has no output"))?;
    let left_out: BTreeSet<NodeId> = left_out.into_iter().filter_map(|id| renamed[id.index()]).collect();

    let targets = if matches!(loss, Loss::Output { .. }) { targets(&forward) } else { Vec::new() };
    let compares = forward.dependents(&targets);
    let mut graph = Graph::new(forward.name());
    // Values are bound by name, those of parameters that the output does not depend on, too.
    let sources = whole.ids().filter_map(|id| whole.op(id).source_name());
    let mut names: Names = sources.map(str::to_string).collect();
    let mut copies = Vec::new();
    let mut copied = Vec::with_capacity(forward.len());
    for id in forward.ids() {
        let node = forward.node(id);
        let new = if node.op.source_name().is_some() {
            let op = match &node.op {
                Op::Input(op) if targets.contains(&id) => Input { target: true, ..op.clone() }.into(),
                op => op.clone(),
            };
            let source = graph.source(op, node.ty.clone());
            if matches!(node.op, Op::Parameter(_)) {
                let copy = graph.add_named(Cast {}, &[source], &node.name)?;
                graph.set_role(copy, Role::Parameter);
                copies.push((source, copy));
                copy
            } else {
                source
            }
        } else if left_out.contains(&id) {
            copied[forward.operands(id)[0].index()]
        } else {
            let operands: Vec<_> = forward.operands(id).iter().map(|o| copied[o.index()]).collect();
            let new = graph.add_named(node.op.clone(), &operands, &node.name)?;
            // The loss is not rounded.
            graph.set_role(new, if compares[id.index()] { Role::Internal } else { node.role });
            graph.set_onnx_type(new, &node.onnx_type);
            new
        };
        copied.push(new);
    }
    for &(target, value) in forward.updates() {
        graph.add_update(copied[target.index()], copied[value.index()]);
    }

    let loss = loss::append(&mut graph, copied[scores.index()], &loss, &mut names)?;
    let seed = graph.source(Scalar { kind: ScalarKind::LossScale }, TensorType::scalar());
    let targets: Vec<_> = copies.iter().map(|&(_, copy)| copy).collect();
    let gradients = gradients(&mut graph, loss, seed, &targets)?;
    let trained: Vec<Trained> = copies
        .iter()
        .zip(gradients)
        .filter_map(|(&(master, _), gradient)| Some(Trained { master, gradient: gradient? }))
        .collect();
    if trained.is_empty() {
        return Err(fault(
            "its output depends on no parameter, so there is nothing to train; export the network with its weights as initializers",
        ));
    }
    optimizer::append(&mut graph, optimizer, updates, &trained, &mut names)?;
    let mut graph = graph.without_dead_nodes().0;
    graph.set_stage(Stage::Training);
    Ok(graph)
}

/// The output that is trained.
struct Output {
    name: String,
    scores: NodeId,
    /// Nodes that are left out on the way to it.
    left_out: Vec<NodeId>,
    /// The loss, with the dimension of the classes if the network tells it.
    loss: Loss,
}

/// The output that is trained: what stands before the function which a loss applies itself, where the network ends in it.
fn trained_output(whole: &Graph, loss: &Loss) -> Result<Output, String> {
    let mut loss = loss.clone();
    if let Loss::Output { name } = &loss {
        let found = whole.outputs().iter().find(|(output, _)| output == name).cloned();
        let names: Vec<String> = whole.outputs().iter().map(|(name, _)| format!("`{name}`")).collect();
        let (name, scores) =
            found.ok_or_else(|| format!("has no output `{name}` to take for the loss; it has {}", names.join(", ")))?;
        return Ok(Output { name, scores, left_out: Vec::new(), loss });
    }
    let (name, scores) = whole.outputs().first().cloned().ok_or("has no output")?;
    let closing = match &loss {
        Loss::CrossEntropy { axis, .. } => closing_softmax(whole, *axis),
        Loss::BinaryCrossEntropy => closing_sigmoid(whole),
        _ => None,
    };
    let Some(Closing { scores, left_out, class_axis, .. }) = closing else {
        return Ok(Output { name, scores, left_out: Vec::new(), loss });
    };
    if let Loss::CrossEntropy { axis, .. } = &mut loss {
        *axis = class_axis;
    }
    Ok(Output { name, scores, left_out, loss })
}

/// Checks that every batch normalisation sees several values per channel in batches of a size: of one value the mean is that
/// value and the variance zero, so that its result is its bias, whatever the value.
///
/// # Errors
/// The first batch normalisation that sees one.
pub fn check_batch(training: &Graph, batch: usize) -> Result<(), GraphError> {
    for id in training.ids() {
        if !matches!(training.op(id), Op::BatchNormalize(_)) {
            continue;
        }
        let Some(&x) = training.operands(id).first() else { continue };
        let dims = &training.ty(x).shape.0;
        let but_channels = dims.iter().enumerate().filter(|(axis, _)| *axis != 1).map(|(_, &dim)| dim);
        if Shape(but_channels.collect()).elements(batch) == 1 {
            let reason = Reason::new(format!(
                "one value per channel with a batch of {batch}, so its result would be its bias, whatever the value; train \
                 with a batch of 2 or more"
            ));
            let types = [training.ty(x).to_string()];
            return Err(GraphError::new(training.op(id).name(), &training.node(id).name, &types, reason));
        }
    }
    Ok(())
}
