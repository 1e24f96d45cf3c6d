//! Softmax cross-entropy of each row of scores.

use bitbudget_ir::ops::{Constant, Input, LogSoftmax, NllLoss, Reshape, Transpose};
use bitbudget_ir::{Dim, Graph, GraphError, Names, NodeId, Op, Real, Reason, Role, Shape, TensorType};

/// Appends log-softmax and negative log-likelihood, with label smoothing and class weights, to the class scores `[rows, classes]` and names
/// the results; returns the loss.
pub(crate) fn append(
    graph: &mut Graph,
    scores: NodeId,
    labelled: Shape,
    (smoothing, weights): (f64, &[f32]),
    names: &mut Names,
) -> Result<NodeId, GraphError> {
    let mut labels = graph.source(Input { name: names.fresh("labels"), target: true }, TensorType::i32(labelled));
    let rows = Shape(graph.ty(scores).shape.0[..1].to_vec());
    if graph.ty(labels).shape != rows {
        labels = graph.add(Reshape { shape: rows }, &[labels])?;
        graph.set_role(labels, Role::Internal);
    }
    let log_probabilities = graph.add_named(LogSoftmax {}, &[scores], "log_softmax")?;
    let mut operands = vec![log_probabilities, labels];
    if !weights.is_empty() {
        let classes = graph.ty(scores).shape.0[1];
        if classes != Dim::fixed(weights.len()) {
            let reason = Reason::new(format!(
                "{} class weights were given, but the network has {classes} classes",
                weights.len()
            ));
            return Err(GraphError::new("loss", &graph.node(scores).name, &[], reason));
        }
        operands.push(graph.source(Constant { name: names.fresh("class_weights") }, TensorType::f32([classes])));
    }
    let loss = graph.add_named(NllLoss { smoothing: Real(smoothing) }, &operands, "nll_loss")?;
    graph.set_output("logits", scores);
    graph.set_output("log_probabilities", log_probabilities);
    graph.set_output("loss", loss);
    Ok(loss)
}

/// The name of the constant that holds the weights of the classes in a training graph, where its loss has any.
pub fn class_weights(training: &Graph) -> Option<&str> {
    let loss = training.ids().find(|&id| matches!(training.op(id), Op::NllLoss(_)))?;
    training.op(*training.operands(loss).get(2)?).source_name()
}

/// The dimension of the classes in scores of a shape, where none is given: the last one, or the second one of images
/// (`[N, classes, height, width]`); as many dimensions of size one as there are others are left out first.
pub(crate) fn class_axis(graph: &Graph, shape: &Shape, given: Option<usize>) -> Option<usize> {
    let batch = examples(graph, shape)?;
    let others: Vec<usize> = (0..shape.rank()).filter(|&axis| axis != batch).collect();
    if given.is_some() {
        return given.filter(|axis| others.contains(axis));
    }
    let large: Vec<usize> = others.iter().copied().filter(|&axis| shape.0[axis] != Dim::fixed(1)).collect();
    match (large.as_slice(), others.as_slice()) {
        (_, []) => None,
        ([], [.., last]) => Some(*last),
        ([only], _) => Some(*only),
        _ if shape.rank() >= 4 => Some(others[0]),
        (_, [.., last]) => Some(*last),
    }
}

/// The dimension of the examples in a result of a shape.
pub(crate) fn examples(graph: &Graph, shape: &Shape) -> Option<usize> {
    let is_stated = || graph.fixed_batch().is_some_and(|batch| shape.get(0) == Some(Dim::fixed(batch)));
    shape.0.iter().position(|dim| dim.is_batch()).or_else(|| is_stated().then_some(0))
}

const NO_CLASSES: &str = "the network's output must hold scores of classes for each example, [N, classes], token, [N, tokens, classes], or pixel, \
     [N, classes, height, width]; choose the output with --output, the dimension of the classes with --class-axis, train numbers with \
     --loss mse, or truth values with --loss bce, or end the network in a linear layer";

/// The class scores as `[rows, classes]`, and the shape of the labels: one row of scores for each example, token or pixel.
pub(crate) fn rows(graph: &mut Graph, scores: NodeId, given: Option<usize>) -> Result<(NodeId, Shape), GraphError> {
    let shape = graph.ty(scores).shape.clone();
    let Some(axis) = class_axis(graph, &shape, given) else {
        let reason = match given {
            Some(axis) => Reason::new(format!(
                "dimension {axis} of the network's output, which is to hold the classes, does not exist or holds the examples; dimensions \
                 count from 0: the second one is --class-axis 1"
            )),
            None => Reason::new(NO_CLASSES),
        };
        let types = [graph.ty(scores).to_string()];
        return Err(GraphError::new("loss", &graph.node(scores).name, &types, reason));
    };
    let classes = shape.0[axis];
    let mut labelled: Vec<Dim> = (0..shape.rank()).filter(|&other| other != axis).map(|other| shape.0[other]).collect();
    let (factor, batches) = Shape(labelled.clone()).symbolic_elements();
    let all = if batches > 0 { Dim::batches(factor) } else { Dim::fixed(factor) };
    let is_each = examples(graph, &shape).is_some_and(|axis| shape.0[axis] == all);
    if is_each {
        labelled = vec![all];
    }
    let mut rows = scores;
    if !is_each && axis + 1 < shape.rank() {
        let perm = (0..shape.rank()).filter(|&other| other != axis).chain([axis]).collect();
        rows = graph.add(Transpose { perm }, &[rows])?;
    }
    let flat = Shape(vec![all, classes]);
    if graph.ty(rows).shape != flat {
        rows = graph.add(Reshape { shape: flat }, &[rows])?;
    }
    Ok((rows, Shape(labelled)))
}
