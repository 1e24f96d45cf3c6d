//! The facts about a network that a training needs.

use crate::trainer::is_trainer;
use crate::{Compiled, Error, ErrorKind, Graph, LossScaling, Model, Options, Updates};
use bitbudget_autodiff::check_batch;
use bitbudget_ir::{DType, Node, NodeId, Op};
use bitbudget_train::data::{Interface, Network, Port};
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
    /// The input and classes, which data of images or rows of numbers have to fit.
    ///
    /// # Errors
    /// If it has several inputs, an input of whole numbers, or a class for more than each example.
    pub fn network(&self) -> Result<Network, Error> {
        network(&self.training)
    }

    /// Everything that a step is given: inputs by name and labels.
    ///
    /// # Errors
    /// If there is no input, no label, or a varying number of classes.
    pub fn interface(&self) -> Result<Interface, Error> {
        interface(&self.training)
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
    interface(graph)?.network().ok_or_else(|| {
        Error::new(
            ErrorKind::Unsupported,
            &format!("graph `{}`", graph.name()),
            "it does not take one input of numbers with one class for each example",
            "give its inputs as arrays by name, with --data npz:FILE of `train` and `eval`",
        )
    })
}

fn interface(graph: &Graph) -> Result<Interface, Error> {
    let place = format!("graph `{}`", graph.name());
    let fault =
        |reason| Error::new(ErrorKind::Unsupported, &place, reason, "it needs labelled inputs, and scores of classes");
    let port = |id: NodeId| {
        let (ty, node) = (graph.ty(id), graph.node(id));
        Port {
            name: node.op.source_name().unwrap_or_default().to_string(),
            integers: ty.dtype != DType::F32,
            shape: ty.shape.0.iter().map(|dim| dim.factor()).collect(),
            axis: ty.shape.0.iter().position(|dim| dim.is_batch()),
        }
    };
    let ports = |is_meant: fn(&Node) -> bool| graph.ids().filter(move |&id| is_meant(graph.node(id))).map(port);
    let inputs: Vec<Port> = ports(Node::is_input).collect();
    let labels = ports(Node::is_target).next().ok_or_else(|| fault("the network has no labels"))?;
    let logits = graph.output("logits").ok_or_else(|| fault("the network has no class scores"))?;
    let classes = graph.ty(logits).shape.get(1).and_then(|d| d.as_fixed());
    let classes = classes.ok_or_else(|| fault("the number of classes varies"))?;
    match inputs.is_empty() {
        true => Err(fault("the network has no input")),
        false => Ok(Interface { inputs, labels, classes }),
    }
}
