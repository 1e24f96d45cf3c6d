//! The facts about a network that a training needs.

use crate::trainer::is_trainer;
use crate::{Compiled, Error, ErrorKind, Graph, Loss, LossScaling, Model, Options, Updates};
use bitbudget_autodiff::{check_batch, closing_sigmoid, training_with};
use bitbudget_ir::{DType, Dim, GraphError, Node, NodeId, Op, Reason};
use bitbudget_train::data::{Interface, Network, Port};
use std::collections::BTreeMap;

/// Everything that a step of a network is given, which data have to fit, before it is compiled.
///
/// # Errors
/// If it cannot be trained with the options, or the number of its classes varies.
pub fn data_interface(model: &Model, options: &Options) -> Result<Interface, Error> {
    // Targets are inputs of the training graph.
    let training = training_with(&model.graph, &options.optimizer, options.updates, &options.loss)?;
    interface(&training, &options.loss)
}

/// The function that a network ends in and that its loss applies itself (Softmax, LogSoftmax or Sigmoid), as ONNX names it, with the node's
/// name; what stands before it is trained.
pub fn closing_function<'g>(forward: &'g Graph, loss: &Loss) -> Option<(&'static str, &'g str)> {
    let closing = match loss {
        Loss::CrossEntropy { axis, .. } => bitbudget_autodiff::closing_softmax(forward, *axis)?,
        Loss::BinaryCrossEntropy => closing_sigmoid(forward)?,
        _ => return None,
    };
    let node = forward.node(closing.function);
    let operator = match node.op {
        Op::LogSoftmax(_) => "LogSoftmax",
        Op::Sigmoid(_) => "Sigmoid",
        _ => "Softmax",
    };
    Some((operator, &node.name))
}

/// When a run with this loss scale updates parameters.
pub fn updates(scaling: LossScaling) -> Updates {
    match scaling {
        LossScaling::None => Updates::Always,
        LossScaling::Dynamic | LossScaling::Fixed(_) => Updates::IfFinite,
    }
}

/// Checks that a graph takes so many examples at a time.
pub(crate) fn check_fixed_batch(graph: &Graph, batch: usize) -> Result<(), GraphError> {
    match graph.fixed_batch().filter(|&fixed| fixed != batch) {
        None => Ok(()),
        Some(fixed) => {
            let examples = if fixed == 1 { "1 example".to_string() } else { format!("{fixed} examples") };
            let reason = format!(
                "it takes {examples} at a time, not {batch}; use a batch of {fixed}, or export it with a variable batch \
                 (`bitbudget inspect` says which nodes need {fixed})"
            );
            Err(GraphError::new("graph", graph.name(), &[], Reason::new(reason)))
        }
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
        self.interface()?.network().ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                &format!("graph `{}`", self.training.name()),
                "it does not take one input of numbers with one class for each example",
                "give its inputs and targets as arrays by name",
            )
        })
    }

    /// Everything that a step is given: inputs by name, and targets.
    ///
    /// # Errors
    /// If there is no input, no target, or a varying number of classes.
    pub fn interface(&self) -> Result<Interface, Error> {
        interface(&self.training, self.loss())
    }

    /// The loss that training minimises.
    pub fn loss(&self) -> &Loss {
        &self.asked.loss
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

fn interface(graph: &Graph, loss: &Loss) -> Result<Interface, Error> {
    let place = format!("graph `{}`", graph.name());
    let fault =
        |reason| Error::new(ErrorKind::Unsupported, &place, reason, "it needs labelled inputs, and scores of classes");
    let scores = graph.output("logits").filter(|_| matches!(loss, Loss::CrossEntropy { .. }));
    let classes = match scores.map(|scores| graph.ty(scores).shape.get(1).and_then(Dim::as_fixed)) {
        Some(classes) => classes.ok_or_else(|| fault("the number of classes varies"))?,
        None => 0,
    };
    let batch = graph.fixed_batch();
    let port = |id: NodeId| {
        let (ty, node) = (graph.ty(id), graph.node(id));
        let (mut shape, mut axis): (Vec<usize>, _) =
            (ty.shape.0.iter().map(|dim| dim.factor()).collect(), ty.shape.0.iter().position(|dim| dim.is_batch()));
        if batch.is_some() && shape.first() == batch.as_ref() {
            (shape[0], axis) = (1, Some(0));
        }
        let integers = ty.dtype != DType::F32;
        let is_label = node.is_target() && classes > 0;
        Port {
            name: node.op.source_name().unwrap_or_default().to_string(),
            integers,
            below: if is_label { Some(classes) } else { indexed(graph, id).filter(|_| integers) },
            shape,
            axis,
        }
    };
    let ports = |is_meant: fn(&Node) -> bool| graph.ids().filter(move |&id| is_meant(graph.node(id))).map(port);
    let (inputs, targets): (Vec<Port>, Vec<Port>) = (ports(Node::is_input).collect(), ports(Node::is_target).collect());
    if targets.is_empty() && !matches!(loss, Loss::Output { .. }) {
        return Err(fault("the network has no labels"));
    }
    match inputs.is_empty() {
        true => Err(fault("the network has no input")),
        false => Ok(Interface { inputs, targets, loss: loss.clone(), classes }),
    }
}

/// The size of the smallest dimension that all numbers of an input index, perhaps in another shape.
fn indexed(graph: &Graph, input: NodeId) -> Option<usize> {
    let sizes = graph.readers(input).into_iter().filter_map(|reader| match graph.op(reader) {
        Op::Gather(op) if graph.operands(reader).get(1) == Some(&input) => {
            graph.ty(*graph.operands(reader).first()?).shape.get(op.axis)?.as_fixed()
        }
        Op::NllLoss(_) if graph.operands(reader).get(1) == Some(&input) => {
            graph.ty(*graph.operands(reader).first()?).shape.get(1)?.as_fixed()
        }
        Op::Reshape(_) | Op::Transpose(_) | Op::Convert(_) | Op::Broadcast(_) => indexed(graph, reader),
        _ => None,
    });
    sizes.min()
}
