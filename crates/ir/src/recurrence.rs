//! Recurrent layers: their kinds, directions and activations.

use crate::array::Float;
use crate::attribute::{Attribute, AttributeValue, Real};
use std::borrow::Borrow;

/// The equations of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cell {
    /// Long short-term memory, with the gates input, output, forget and cell in this order.
    Lstm,
    /// Gated recurrent unit, with the gates update, reset and hidden in this order.
    Gru,
    /// One product and an activation.
    Rnn,
}

impl Cell {
    /// Every kind.
    pub const ALL: [Cell; 3] = [Cell::Lstm, Cell::Gru, Cell::Rnn];

    /// The name in the text form.
    pub fn name(self) -> &'static str {
        match self {
            Cell::Lstm => "lstm",
            Cell::Gru => "gru",
            Cell::Rnn => "rnn",
        }
    }

    /// How many matrices of the hidden size lie behind each other in a weight.
    pub fn gates(self) -> usize {
        match self {
            Cell::Lstm => 4,
            Cell::Gru => 3,
            Cell::Rnn => 1,
        }
    }

    /// The activations of one direction if nothing else is said.
    pub fn standard_activations(self) -> &'static [ActivationFunction] {
        use ActivationFunction::{Sigmoid, Tanh};
        match self {
            Cell::Lstm => &[Sigmoid, Tanh, Tanh],
            Cell::Gru => &[Sigmoid, Tanh],
            Cell::Rnn => &[Tanh],
        }
    }
}

/// The order in which a layer reads the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From the first step to the last.
    Forward,
    /// From the last step to the first.
    Reverse,
    /// Two layers side by side, one in each order.
    Bidirectional,
}

impl Direction {
    /// Every direction.
    pub const ALL: [Direction; 3] = [Direction::Forward, Direction::Reverse, Direction::Bidirectional];

    /// The name in the text form and in ONNX.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Forward => "forward",
            Direction::Reverse => "reverse",
            Direction::Bidirectional => "bidirectional",
        }
    }

    /// For each layer that it stands for, whether it begins at the last step.
    pub fn is_reversed(self) -> &'static [bool] {
        match self {
            Direction::Forward => &[false],
            Direction::Reverse => &[true],
            Direction::Bidirectional => &[false, true],
        }
    }
}

/// A function that a recurrent layer applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActivationFunction {
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `x` above zero, 0 elsewhere.
    Relu,
    /// `alpha x + beta`.
    Affine,
    /// `x` above zero, `alpha x` elsewhere.
    LeakyRelu,
    /// `x` from `alpha` on, 0 elsewhere.
    ThresholdedRelu,
    /// `alpha tanh(beta x)`.
    ScaledTanh,
    /// `alpha x + beta` between 0 and 1.
    HardSigmoid,
    /// `x` above zero, `alpha (e^x - 1)` elsewhere.
    Elu,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `log(1 + e^x)`.
    Softplus,
}

impl ActivationFunction {
    /// Every function.
    pub const ALL: [ActivationFunction; 11] = [
        ActivationFunction::Sigmoid,
        ActivationFunction::Tanh,
        ActivationFunction::Relu,
        ActivationFunction::Affine,
        ActivationFunction::LeakyRelu,
        ActivationFunction::ThresholdedRelu,
        ActivationFunction::ScaledTanh,
        ActivationFunction::HardSigmoid,
        ActivationFunction::Elu,
        ActivationFunction::Softsign,
        ActivationFunction::Softplus,
    ];

    /// The name in the text form and in ONNX.
    pub fn name(self) -> &'static str {
        match self {
            ActivationFunction::Sigmoid => "Sigmoid",
            ActivationFunction::Tanh => "Tanh",
            ActivationFunction::Relu => "Relu",
            ActivationFunction::Affine => "Affine",
            ActivationFunction::LeakyRelu => "LeakyRelu",
            ActivationFunction::ThresholdedRelu => "ThresholdedRelu",
            ActivationFunction::ScaledTanh => "ScaledTanh",
            ActivationFunction::HardSigmoid => "HardSigmoid",
            ActivationFunction::Elu => "Elu",
            ActivationFunction::Softsign => "Softsign",
            ActivationFunction::Softplus => "Softplus",
        }
    }

    /// How many of alpha and beta it has.
    pub fn parameters(self) -> usize {
        match self {
            ActivationFunction::Sigmoid
            | ActivationFunction::Tanh
            | ActivationFunction::Relu
            | ActivationFunction::Softsign
            | ActivationFunction::Softplus => 0,
            ActivationFunction::LeakyRelu | ActivationFunction::ThresholdedRelu | ActivationFunction::Elu => 1,
            ActivationFunction::Affine | ActivationFunction::ScaledTanh | ActivationFunction::HardSigmoid => 2,
        }
    }
}

/// A function with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Activation {
    /// The function.
    pub function: ActivationFunction,
    /// Its first parameter; 0 where it has none.
    pub alpha: Real,
    /// Its second parameter; 0 where it has none.
    pub beta: Real,
}

impl From<ActivationFunction> for Activation {
    fn from(function: ActivationFunction) -> Self {
        Activation { function, alpha: Real(0.0), beta: Real(0.0) }
    }
}

impl Activation {
    /// The function of a number.
    pub(crate) fn value<F: Float>(self, x: F) -> F {
        let (alpha, beta, zero, one) = (F::of(self.alpha.0), F::of(self.beta.0), F::zero(), F::one());
        match self.function {
            ActivationFunction::Sigmoid => one / (one + (-x).exp()),
            ActivationFunction::Tanh => x.tanh(),
            ActivationFunction::Relu => x.max(zero),
            ActivationFunction::Affine => alpha * x + beta,
            ActivationFunction::LeakyRelu => {
                if x < zero {
                    alpha * x
                } else {
                    x
                }
            }
            ActivationFunction::ThresholdedRelu => {
                if x < alpha {
                    zero
                } else {
                    x
                }
            }
            ActivationFunction::ScaledTanh => alpha * (beta * x).tanh(),
            ActivationFunction::HardSigmoid => (alpha * x + beta).max(zero).min(one),
            ActivationFunction::Elu => {
                if x < zero {
                    alpha * x.exp_m1()
                } else {
                    x
                }
            }
            ActivationFunction::Softsign => x / (one + x.abs()),
            ActivationFunction::Softplus => x.max(zero) + (-x.abs()).exp().ln_1p(),
        }
    }

    /// The derivative at a number.
    pub(crate) fn slope<F: Float>(self, x: F) -> F {
        let (alpha, beta, zero, one) = (F::of(self.alpha.0), F::of(self.beta.0), F::zero(), F::one());
        let step = |is_one: bool| if is_one { one } else { zero };
        match self.function {
            ActivationFunction::Sigmoid => self.value(x) * (one - self.value(x)),
            ActivationFunction::Tanh => one - x.tanh().powi(2),
            ActivationFunction::Relu => step(x > zero),
            ActivationFunction::Affine => alpha,
            ActivationFunction::LeakyRelu => {
                if x < zero {
                    alpha
                } else {
                    one
                }
            }
            ActivationFunction::ThresholdedRelu => step(x >= alpha),
            ActivationFunction::ScaledTanh => alpha * beta * (one - (beta * x).tanh().powi(2)),
            ActivationFunction::HardSigmoid => alpha * step(alpha * x + beta > zero && alpha * x + beta < one),
            ActivationFunction::Elu => {
                if x < zero {
                    alpha * x.exp()
                } else {
                    one
                }
            }
            ActivationFunction::Softsign => (one + x.abs()).powi(-2),
            ActivationFunction::Softplus => one / (one + (-x).exp()),
        }
    }
}

/// The activations of a layer, direction by direction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Activations(pub Vec<Activation>);

impl Activations {
    /// Those of a layer if nothing else is said.
    pub fn standard(cell: impl Borrow<Cell>, direction: impl Borrow<Direction>) -> Activations {
        let one = cell.borrow().standard_activations().iter().map(|&function| function.into());
        Activations(direction.borrow().is_reversed().iter().flat_map(|_| one.clone()).collect())
    }
}

impl AttributeValue for Activations {
    fn to_attribute(&self) -> Attribute {
        let text = |activation: &Activation| {
            let parameters = [activation.alpha, activation.beta];
            let parameters: Vec<String> =
                parameters[..activation.function.parameters()].iter().map(|x| format!("{:?}", x.0)).collect();
            match parameters.as_slice() {
                [] => activation.function.name().to_string(),
                some => format!("{}({})", activation.function.name(), some.join(" ")),
            }
        };
        Attribute::Text(self.0.iter().map(text).collect::<Vec<_>>().join(","))
    }

    fn from_attribute(attribute: &Attribute) -> Option<Self> {
        let Attribute::Text(text) = attribute else { return None };
        let parse = |text: &str| {
            let (name, parameters) = match text.strip_suffix(')') {
                Some(rest) => rest.split_once('(')?,
                None => (text, ""),
            };
            let function = ActivationFunction::ALL.into_iter().find(|function| function.name() == name)?;
            let parameters: Vec<f64> =
                parameters.split_whitespace().map(|x| x.parse().ok()).collect::<Option<Vec<f64>>>()?;
            let parameter = |i: usize| Real(parameters.get(i).copied().unwrap_or(0.0));
            (parameters.len() == function.parameters()).then(|| Activation {
                function,
                alpha: parameter(0),
                beta: parameter(1),
            })
        };
        text.split(',').map(parse).collect::<Option<Vec<_>>>().map(Activations)
    }
}

macro_rules! by_name {
    ($type:ty) => {
        impl AttributeValue for $type {
            fn to_attribute(&self) -> Attribute {
                Attribute::Text(self.name().into())
            }

            fn from_attribute(attribute: &Attribute) -> Option<Self> {
                match attribute {
                    Attribute::Text(text) => <$type>::ALL.into_iter().find(|value| value.name() == text),
                    _ => None,
                }
            }
        }
    };
}

by_name!(Cell);
by_name!(Direction);
