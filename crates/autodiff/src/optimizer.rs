//! Optimizer updates as graph nodes.

use bitbudget_ir::ops::{
    AdamFirstMoment, AdamSecondMoment, AdamwParameter, AllFinite, Scalar, SgdParameter, SgdVelocity, State,
};
use bitbudget_ir::{Graph, GraphError, Names, NodeId, Real, Role, ScalarKind, TensorType};

/// How parameters are updated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Stochastic gradient descent with momentum; the decay is added to the gradient.
    Sgd {
        /// The factor of the old velocity.
        momentum: f64,
        /// The factor of the parameter in the gradient.
        weight_decay: f64,
    },
    /// Adam with decoupled weight decay.
    AdamW {
        /// The decay of the first and second moment.
        betas: [f64; 2],
        /// Added to the denominator.
        epsilon: f64,
        /// The decoupled weight decay.
        weight_decay: f64,
    },
}

impl Optimizer {
    /// The paper's: momentum 0.9, weight decay 5e-4.
    pub fn sgd() -> Optimizer {
        Optimizer::Sgd { momentum: 0.9, weight_decay: 5e-4 }
    }

    /// PyTorch's defaults: betas 0.9 and 0.999, epsilon 1e-8, weight decay 0.01.
    pub fn adamw() -> Optimizer {
        Optimizer::AdamW { betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.01 }
    }
}

/// When parameters are updated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Updates {
    /// When all gradients of a step are finite, which loss scaling needs; so gradients are kept until the last is there.
    #[default]
    IfFinite,
    /// As soon as a parameter's gradient is there, whatever it holds.
    Always,
}

/// A parameter's master with the gradient of its rounded copy.
pub(crate) struct Trained {
    pub(crate) master: NodeId,
    pub(crate) gradient: NodeId,
}

/// Appends the updates of all masters; with [`Updates::IfFinite`] they are skipped when a gradient is not finite (output
/// `finite` is then 0).
pub(crate) fn append(
    graph: &mut Graph,
    optimizer: &Optimizer,
    updates: Updates,
    trained: &[Trained],
    names: &mut Names,
) -> Result<(), GraphError> {
    let scalar = |graph: &mut Graph, kind| graph.source(Scalar { kind }, TensorType::scalar());
    let finite = match updates {
        Updates::IfFinite => {
            let gradients: Vec<NodeId> = trained.iter().map(|t| t.gradient).collect();
            let finite = internal(graph, AllFinite {}, &gradients)?;
            graph.set_output("finite", finite);
            Some(finite)
        }
        Updates::Always => None,
    };
    let inverse_scale = scalar(graph, ScalarKind::InverseLossScale);
    // Only zero stops an update, and a reciprocal is never zero.
    let finite = finite.unwrap_or(inverse_scale);
    let rate = scalar(graph, ScalarKind::LearningRate);
    match *optimizer {
        Optimizer::Sgd { momentum, weight_decay } => {
            let (momentum, weight_decay) = (Real(momentum), Real(weight_decay));
            for &Trained { master, gradient } in trained {
                let velocity = state(graph, names, master, "velocity");
                let op = SgdVelocity { momentum, weight_decay };
                let new = internal(graph, op, &[velocity, master, gradient, inverse_scale, finite])?;
                graph.add_update(velocity, new);
                let stepped = internal(graph, SgdParameter {}, &[master, new, rate, finite])?;
                graph.add_update(master, stepped);
            }
        }
        Optimizer::AdamW { betas: [beta1, beta2], epsilon, weight_decay } => {
            let first_bias = scalar(graph, ScalarKind::FirstBias);
            let second_bias = scalar(graph, ScalarKind::SecondBias);
            let op = AdamwParameter { weight_decay: Real(weight_decay), epsilon: Real(epsilon) };
            for &Trained { master, gradient } in trained {
                let first = state(graph, names, master, "first_moment");
                let second = state(graph, names, master, "second_moment");
                let operands = |moment| [moment, gradient, inverse_scale, finite];
                let m = internal(graph, AdamFirstMoment { beta: Real(beta1) }, &operands(first))?;
                let v = internal(graph, AdamSecondMoment { beta: Real(beta2) }, &operands(second))?;
                let stepped = internal(graph, op.clone(), &[master, m, v, rate, first_bias, second_bias, finite])?;
                for (target, value) in [(first, m), (second, v), (master, stepped)] {
                    graph.add_update(target, value);
                }
            }
        }
    }
    Ok(())
}

/// A state of the optimizer, under a name that no value of the network has.
fn state(graph: &mut Graph, names: &mut Names, master: NodeId, what: &str) -> NodeId {
    let name = names.fresh(&format!("{}.{what}", graph.node(master).name));
    let ty = graph.ty(master).clone();
    graph.source(State { name }, ty)
}

fn internal(graph: &mut Graph, op: impl Into<bitbudget_ir::Op>, operands: &[NodeId]) -> Result<NodeId, GraphError> {
    let id = graph.add(op, operands)?;
    graph.set_role(id, Role::Internal);
    Ok(id)
}
