//! The sources: operators without operands, whose values are bound by name. They compute nothing, so they share a file.

use super::{Operator, Precision, Sample, Work, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::{Attribute, AttributeValue, operator};
use crate::error::Reason;
use crate::facts::Facts;
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// An array that each step is given.
    pub struct Input {
        /// The name that binds its value.
        name: String,
        /// Whether it is the result that the network is trained to give for the examples, such as their classes.
        target: bool = false,
    }
}

operator! {
    /// A trained tensor: the FP32 master that the optimizer updates.
    pub struct Parameter {
        /// The name that binds its value.
        name: String,
    }
}

operator! {
    /// A tensor that is kept from step to step but not trained: momentum, running statistics. Zeros at first, unless
    /// the model has a value for it.
    pub struct State {
        /// The name that binds its value.
        name: String,
    }
}

operator! {
    /// A tensor that never changes.
    pub struct Constant {
        /// The name that binds its value.
        name: String,
    }
}

operator! {
    /// A number that the training loop sets in each step.
    pub struct Scalar {
        /// Which number.
        kind: ScalarKind,
    }
}

/// The numbers that the training loop gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScalarKind {
    /// The gradient of the loss with respect to itself.
    LossScale,
    /// One over the loss scale.
    InverseLossScale,
    /// The learning rate.
    LearningRate,
    /// 1 - beta1^t of Adam at update t.
    FirstBias,
    /// 1 - beta2^t of Adam at update t.
    SecondBias,
    /// The seed of random numbers, a whole number below 2^24.
    Seed,
    /// The updates so far, modulo 2^24.
    Update,
}

impl ScalarKind {
    /// Every kind.
    pub const ALL: [ScalarKind; 7] = [
        ScalarKind::LossScale,
        ScalarKind::InverseLossScale,
        ScalarKind::LearningRate,
        ScalarKind::FirstBias,
        ScalarKind::SecondBias,
        ScalarKind::Seed,
        ScalarKind::Update,
    ];

    /// The name that binds its value.
    pub fn name(self) -> &'static str {
        match self {
            ScalarKind::LossScale => "loss_scale",
            ScalarKind::InverseLossScale => "inverse_loss_scale",
            ScalarKind::LearningRate => "learning_rate",
            ScalarKind::FirstBias => "first_bias",
            ScalarKind::SecondBias => "second_bias",
            ScalarKind::Seed => "seed",
            ScalarKind::Update => "update",
        }
    }
}

impl AttributeValue for ScalarKind {
    fn to_attribute(&self) -> Attribute {
        Attribute::Text(self.name().into())
    }

    fn from_attribute(attribute: &Attribute) -> Option<Self> {
        match attribute {
            Attribute::Text(text) => ScalarKind::ALL.into_iter().find(|kind| kind.name() == text),
            _ => None,
        }
    }
}

macro_rules! source {
    ($op:ident, $name:literal, $precision:ident) => {
        impl Operator for $op {
            const NAME: &'static str = $name;

            fn infer(&self, _: &[&TensorType]) -> Result<TensorType, Reason> {
                Err(Reason::new("a source's type is given, not inferred"))
            }

            fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
                Err(no_derivative(Self::NAME))
            }

            fn precision(&self) -> Precision {
                Precision::$precision
            }

            fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::source()
    }

    fn work(&self, _: &[&TensorType], _: &TensorType, _: usize) -> Work {
                Work::default()
            }

            fn evaluate<F: Float>(&self, _: &[&Array<F>], shape: &[usize]) -> Array<F> {
                Array::zeros(shape)
            }

            fn samples() -> Vec<Sample> {
                Vec::new()
            }
        }
    };
}

source!(Input, "input", Input);
source!(Parameter, "parameter", Full);
source!(State, "state", Full);
source!(Constant, "constant", Full);
source!(Scalar, "scalar", Full);
