//! The facts about a network that a training needs.

use crate::trainer::is_trainer;
use crate::{Compiled, Error, ErrorKind, Graph, LossScaling, Model, Options, Updates};
use bitbudget_autodiff::check_batch;
use bitbudget_ir::Op;
use bitbudget_train::data::Network;
use std::collections::BTreeMap;

/// The input and classes of a network, which data have to fit, before it is compiled.
///
/// # Errors
/// If it cannot be trained with the options, or its input or classes vary.
pub fn data_network(model: &Model, options: &Options) -> Result<Network, Error> {
    // Labels are an input of the training graph.
    network(&bitbudget_autodiff::training(&model.graph, &options.optimizer)?)
}

/// The Softmax or LogSoftmax that a network ends in, as ONNX names it, with the node's name; the scores before it are trained.
pub fn closing_softmax(forward: &Graph) -> Option<(&'static str, &str)> {
    let node = forward.node(bitbudget_autodiff::closing_softmax(forward)?);
    let operator = if matches!(node.op, Op::LogSoftmax(_)) { "LogSoftmax" } else { "Softmax" };
    Some((operator, &node.name))
}

/// When a run with this loss scale updates parameters.
pub fn updates(scaling: LossScaling) -> Updates {
    match scaling {
        LossScaling::None => Updates::Always,
        LossScaling::Dynamic | LossScaling::Fixed(_) => Updates::IfFinite,
    }
}

/// The parameters of a graph with their values.
pub fn parameters<'v>(
    graph: &'v Graph,
    values: &'v BTreeMap<String, Vec<f32>>,
) -> impl Iterator<Item = (&'v str, &'v [f32])> {
    graph.ids().filter_map(|id| match graph.op(id) {
        Op::Parameter(op) => Some((op.name.as_str(), values.get(&op.name)?.as_slice())),
        _ => None,
    })
}

impl Compiled {
    /// The input and classes, which data have to fit.
    ///
    /// # Errors
    /// If an input dimension or the number of classes varies.
    pub fn network(&self) -> Result<Network, Error> {
        network(&self.training)
    }

    /// Checks that it can be trained with a batch size, not only evaluated.
    ///
    /// # Errors
    /// If a batch normalisation would see one value per channel.
    pub fn check_training(&self, batch: usize) -> Result<(), Error> {
        Ok(check_batch(&self.training, batch)?)
    }

    /// Whether bytes are those of a trainer file.
    pub fn recognise(bytes: &[u8]) -> bool {
        is_trainer(bytes)
    }
}

fn network(graph: &Graph) -> Result<Network, Error> {
    let place = format!("graph `{}`", graph.name());
    let fault = |reason| {
        Error::new(
            ErrorKind::Unsupported,
            &place,
            reason,
            "it needs an input of fixed size with labels, and scores [N, classes]",
        )
    };
    let source =
        |wanted: fn(&Op) -> bool, reason| graph.ids().find(|&id| wanted(graph.op(id))).ok_or_else(|| fault(reason));
    let input = source(|op| matches!(op, Op::Input(_)), "the network has no input")?;
    let dims = graph.ty(input).shape.0.iter().skip(1);
    let shape = dims.map(|d| d.as_fixed().ok_or_else(|| fault("an input dimension varies")));
    let logits = graph.output("logits").ok_or_else(|| fault("the network has no class scores"))?;
    let classes = graph.ty(logits).shape.get(1).and_then(|d| d.as_fixed());
    let classes = classes.ok_or_else(|| fault("the number of classes varies"))?;
    let labels = source(|op| matches!(op, Op::Label(_)), "the network has no labels")?;
    let name = |id| graph.op(id).source_name().unwrap_or_default().to_string();
    Ok(Network { input: name(input), shape: shape.collect::<Result<_, _>>()?, labels: name(labels), classes })
}
