//! The loss: softmax cross-entropy.

use bitbudget_ir::ops::{Label, LogSoftmax, NllLoss, Reshape};
use bitbudget_ir::{DType, Dim, Graph, GraphError, Names, NodeId, Reason, Shape, TensorType};

/// Appends log-softmax and negative log-likelihood to the class scores and names the results; returns the loss.
pub(crate) fn append(graph: &mut Graph, scores: NodeId, names: &mut Names) -> Result<NodeId, GraphError> {
    let scores = rows(graph, scores)?;
    let labels = TensorType { dtype: DType::Label, shape: [Dim::BATCH].into() };
    let labels = graph.source(Label { name: names.fresh("labels") }, labels);
    let log_probabilities = graph.add_named(LogSoftmax {}, &[scores], "log_softmax")?;
    let loss = graph.add_named(NllLoss {}, &[log_probabilities, labels], "nll_loss")?;
    graph.set_output("logits", scores);
    graph.set_output("log_probabilities", log_probabilities);
    graph.set_output("loss", loss);
    Ok(loss)
}

/// The class scores as `[N, classes]`: other dimensions of size one are dropped.
fn rows(graph: &mut Graph, scores: NodeId) -> Result<NodeId, GraphError> {
    let shape = graph.ty(scores).shape.clone();
    match shape.0.as_slice() {
        [Dim::BATCH, classes] if !classes.is_batch() => Ok(scores),
        [Dim::BATCH, rest @ ..] if rest.iter().filter(|&&d| d != Dim::fixed(1)).count() <= 1 && !rest.is_empty() => {
            let classes = rest.iter().copied().find(|&d| d != Dim::fixed(1)).unwrap_or(Dim::fixed(1));
            graph.add(Reshape { shape: Shape(vec![Dim::BATCH, classes]) }, &[scores])
        }
        _ => {
            let reason = Reason::new(
                "the network's output must hold one score per class for each example, [N, classes]; end the network in \
                 a flatten or a linear layer",
            );
            let types = [graph.ty(scores).to_string()];
            Err(GraphError::new("loss", &graph.node(scores).name, &types, reason))
        }
    }
}
