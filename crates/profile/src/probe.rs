//! Which nodes of a network tell what rounding its tensors costs.

use bitbudget_ir::{Graph, NodeId, Op, Precision, Role};
use bitbudget_precision::{Kind, Tensor};
use std::collections::BTreeSet;

/// Two graphs whose named results tell what rounding costs, named by [`result`].
#[derive(Clone, Debug)]
pub struct Probe {
    /// Forward and backward pass: parameters, outputs, and all contributions to their gradients.
    pub step: Graph,
    /// The forward pass again, for other parameters: outputs whose gradients training computes.
    pub forward: Graph,
    pub(crate) tensors: Vec<Probed>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) timed: Vec<(NodeId, String)>,
}

/// A tensor with what is read of it.
#[derive(Clone, Debug)]
pub(crate) struct Probed {
    pub(crate) tensor: Tensor,
    pub(crate) name: String,
    /// The contributions to its gradient, or to that of the tensor whose gradient it is.
    pub(crate) contributions: Vec<NodeId>,
    /// Whether the training step computes that gradient too.
    pub(crate) trained: bool,
}

/// A master with its rounded copy and the contributions to its gradient.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) copy: NodeId,
    pub(crate) contributions: Vec<NodeId>,
}

/// The name under which a probe's graphs return the result of a node.
pub fn result(node: NodeId) -> String {
    node.to_string()
}

impl Probe {
    /// The probe of `tensors` of a training graph.
    ///
    /// `differentiated` is that graph with gradients with respect to parameters and inputs, its other gradients having no
    /// role. Training needs no gradient in front of the first parameter, but rounding there changes the loss as well.
    pub fn new(training: &Graph, differentiated: &Graph, tensors: &[Tensor]) -> Probe {
        let contributions = contributions(differentiated);
        let trained: BTreeSet<NodeId> = training.ids().filter_map(|id| gradient_of(training.node(id).role)).collect();
        let probed = |&tensor: &Tensor| Probed {
            tensor,
            name: name(training, tensor.node),
            contributions: contributions[tensor.node.index()].clone(),
            trained: trained.contains(&tensor.node),
        };
        let parameter = |copy: NodeId| {
            let master = *differentiated.operands(copy).first()?;
            let Op::Parameter(op) = differentiated.op(master) else { return None };
            let contributions = contributions[copy.index()].clone();
            Some(Parameter { name: op.name.clone(), copy, contributions })
        };
        let copies = differentiated.ids().filter(|&id| differentiated.node(id).role == Role::Parameter);
        let parameters: Vec<Parameter> = copies.filter_map(parameter).collect();
        let tensors: Vec<Probed> = tensors.iter().map(probed).collect();
        let mut step = differentiated.clone();
        step.clear_outputs();
        step.clear_updates();
        let mut forward = step.clone();
        let own = tensors.iter().filter(|t| !t.tensor.kind.is_gradient()).map(|t| t.tensor.node);
        let gradients = contributions.iter().flatten().copied();
        for id in own.chain(parameters.iter().map(|p| p.copy)).chain(gradients).collect::<BTreeSet<_>>() {
            step.set_output(result(id), id);
        }
        for id in tensors.iter().filter(|t| t.moves()).map(|t| t.tensor.node).collect::<BTreeSet<_>>() {
            forward.set_output(result(id), id);
        }
        Probe { step, forward, tensors, parameters, timed: timed(training) }
    }
}

impl Probed {
    /// Whether it is a gradient whose tensor is looked at after an update.
    pub(crate) fn moves(&self) -> bool {
        self.tensor.kind == Kind::OutputGradient && self.trained
    }
}

/// A node's name, or what it computes.
fn name(graph: &Graph, id: NodeId) -> String {
    match graph.node(id).name.as_str() {
        "" => format!("{} {id}", graph.op(id).name()),
        name => name.to_string(),
    }
}

fn gradient_of(role: Role) -> Option<NodeId> {
    match role {
        Role::OutputGradient { of } | Role::ParameterGradient { of } => Some(of),
        Role::Internal | Role::Output | Role::Parameter => None,
    }
}

/// The contributions whose sum is the gradient of a node's result, by node id.
///
/// Readers of a relabelled tensor contribute to its gradient in another shape; what is relabelled back is counted, so
/// they are left out. The gradient of a recurrent layer's gates has the format of that of its states, but is no part of it.
fn contributions(graph: &Graph) -> Vec<Vec<NodeId>> {
    let mut contributions: Vec<Vec<NodeId>> = vec![Vec::new(); graph.len()];
    let mut relabelled = vec![false; graph.len()];
    // What is relabelled back stands behind what it is made of.
    for id in graph.ids().rev() {
        let Some(of) = gradient_of(graph.node(id).role) else { continue };
        if !relabelled[id.index()] && !matches!(graph.op(id), Op::RecurrentGrad(_)) {
            contributions[of.index()].insert(0, id);
        }
        let mut pending = vec![id];
        while let Some(node) = pending.pop() {
            let passes = graph.op(node).precision() == Precision::Relabel;
            if !(passes || matches!(graph.op(node), Op::Cast(_) | Op::Sum(_))) {
                continue;
            }
            for &operand in graph.operands(node) {
                match gradient_of(graph.node(operand).role) {
                    Some(other) => relabelled[operand.index()] |= other == of,
                    None => pending.push(operand),
                }
            }
        }
    }
    contributions
}

/// The operators that lead to the loss, with their names. An update in place has the place of a source, which is none.
fn timed(training: &Graph) -> Vec<(NodeId, String)> {
    let mut forward = training.clone();
    forward.clear_outputs();
    forward.clear_updates();
    if let Some(loss) = training.output("loss") {
        forward.set_output("loss", loss);
    }
    let live = forward.live();
    let computes = |id: &NodeId| live[id.index()] && training.op(*id).source_name().is_none();
    training.ids().filter(computes).map(|id| (id, name(training, id))).collect()
}
