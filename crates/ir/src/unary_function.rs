//! Functions of one number that operators apply to every element.

use crate::attribute::{Attribute, AttributeValue};
use crate::expression::{Expression, number, x};
use std::f64::consts::FRAC_2_SQRT_PI;

/// A function of one number, with the names of ONNX. `alpha` and `gamma` are the operator's attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnaryFunction {
    /// `|x|`.
    Abs,
    /// -1, 0 or 1. Its derivative is zero.
    Sign,
    /// The sine.
    Sin,
    /// The cosine.
    Cos,
    /// The error function.
    Erf,
    /// `log(1 + e^x)`.
    Softplus,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `gamma * x` where positive, `gamma * alpha * (e^x - 1)` elsewhere: Elu, and Selu with a gamma.
    Elu,
    /// `x` where positive, `alpha * (e^(x / alpha) - 1)` elsewhere.
    Celu,
    /// `x * tanh(softplus(x))`.
    Mish,
    /// `x / (1 + e^(-alpha x))`.
    Swish,
    /// `x` above `alpha`, 0 elsewhere.
    ThresholdedRelu,
    /// `x^alpha`.
    Power,
    /// The largest whole number that is not above. Its derivative is zero, as that of the next two.
    Floor,
    /// The least whole number that is not below.
    Ceil,
    /// The nearest whole number, the even one of two.
    Round,
    /// The same, with the derivative of the identity: the straight-through estimator of quantisation.
    RoundThrough,
}

impl UnaryFunction {
    /// Every function.
    pub const ALL: [UnaryFunction; 17] = [
        UnaryFunction::Abs,
        UnaryFunction::Sign,
        UnaryFunction::Sin,
        UnaryFunction::Cos,
        UnaryFunction::Erf,
        UnaryFunction::Softplus,
        UnaryFunction::Softsign,
        UnaryFunction::Elu,
        UnaryFunction::Celu,
        UnaryFunction::Mish,
        UnaryFunction::Swish,
        UnaryFunction::ThresholdedRelu,
        UnaryFunction::Power,
        UnaryFunction::Floor,
        UnaryFunction::Ceil,
        UnaryFunction::Round,
        UnaryFunction::RoundThrough,
    ];

    /// The name in the text form.
    pub fn name(self) -> &'static str {
        match self {
            UnaryFunction::Abs => "abs",
            UnaryFunction::Sign => "sign",
            UnaryFunction::Sin => "sin",
            UnaryFunction::Cos => "cos",
            UnaryFunction::Erf => "erf",
            UnaryFunction::Softplus => "softplus",
            UnaryFunction::Softsign => "softsign",
            UnaryFunction::Elu => "elu",
            UnaryFunction::Celu => "celu",
            UnaryFunction::Mish => "mish",
            UnaryFunction::Swish => "swish",
            UnaryFunction::ThresholdedRelu => "thresholded_relu",
            UnaryFunction::Power => "power",
            UnaryFunction::Floor => "floor",
            UnaryFunction::Ceil => "ceil",
            UnaryFunction::Round => "round",
            UnaryFunction::RoundThrough => "round_through",
        }
    }

    /// Whether a few instructions compute it and its derivative.
    pub(crate) fn is_cheap(self) -> bool {
        match self {
            UnaryFunction::Abs | UnaryFunction::Sign | UnaryFunction::Softsign | UnaryFunction::ThresholdedRelu => true,
            UnaryFunction::Floor | UnaryFunction::Ceil | UnaryFunction::Round | UnaryFunction::RoundThrough => true,
            UnaryFunction::Sin
            | UnaryFunction::Cos
            | UnaryFunction::Erf
            | UnaryFunction::Softplus
            | UnaryFunction::Elu
            | UnaryFunction::Celu
            | UnaryFunction::Mish
            | UnaryFunction::Swish
            | UnaryFunction::Power => false,
        }
    }

    /// Whether its derivative is zero wherever it has one.
    pub(crate) fn is_step(self) -> bool {
        matches!(self, UnaryFunction::Sign | UnaryFunction::Floor | UnaryFunction::Ceil | UnaryFunction::Round)
    }

    /// The function of an operand's element.
    pub(crate) fn value(self, operand: usize, alpha: f64, gamma: f64) -> Expression {
        let x = || x(operand);
        match self {
            UnaryFunction::Abs => magnitude(operand),
            UnaryFunction::Sign => x().less(number(0.0), number(-1.0), number(0.0).less(x(), number(1.0), x())),
            UnaryFunction::Sin => x().sin(),
            UnaryFunction::Cos => x().cos(),
            UnaryFunction::Erf => x().erf(),
            // The exponential of a number that is not positive does not overflow.
            UnaryFunction::Softplus => x().less(number(0.0), number(0.0), x()) + (-magnitude(operand)).exp().log_1p(),
            UnaryFunction::Softsign => x() / (number(1.0) + magnitude(operand)),
            UnaryFunction::Elu => {
                let below = number(gamma * alpha) * exp_minus_1(x());
                x().at_most(number(0.0), below, if gamma == 1.0 { x() } else { number(gamma) * x() })
            }
            UnaryFunction::Celu => {
                let below = number(alpha) * exp_minus_1(x() * number(1.0 / alpha));
                x().at_most(number(0.0), below, x())
            }
            UnaryFunction::Mish => x() * mish_gate(operand),
            UnaryFunction::Swish => x() / (number(1.0) + (number(-alpha) * x()).exp()),
            UnaryFunction::ThresholdedRelu => number(alpha).less(x(), x(), number(0.0)),
            UnaryFunction::Power => x().pow(number(alpha)),
            UnaryFunction::Floor => x().floor(),
            UnaryFunction::Ceil => -(-x()).floor(),
            UnaryFunction::Round | UnaryFunction::RoundThrough => x().round(),
        }
    }

    /// The derivative at an operand's element. At a kink it is PyTorch's.
    pub(crate) fn slope(self, operand: usize, alpha: f64, gamma: f64) -> Expression {
        let x = || x(operand);
        let one = || number(1.0);
        match self {
            UnaryFunction::Abs => UnaryFunction::Sign.value(operand, alpha, gamma),
            UnaryFunction::Sign => number(0.0),
            UnaryFunction::Sin => x().cos(),
            UnaryFunction::Cos => -x().sin(),
            UnaryFunction::Erf => number(FRAC_2_SQRT_PI) * (-(x() * x())).exp(),
            UnaryFunction::Softplus => one() / (one() + (-x()).exp()),
            UnaryFunction::Softsign => {
                let root = || one() + magnitude(operand);
                one() / (root() * root())
            }
            UnaryFunction::Elu => x().at_most(number(0.0), number(gamma * alpha) * x().exp(), number(gamma)),
            UnaryFunction::Celu => x().at_most(number(0.0), (x() * number(1.0 / alpha)).exp(), one()),
            UnaryFunction::Mish => {
                let e = || mish_exponential(operand);
                let denominator = || e() * (e() + number(2.0)) + number(2.0);
                let slope = number(4.0) * e() * (e() + one()) / (denominator() * denominator());
                x().mul_add(slope, mish_gate(operand))
            }
            UnaryFunction::Swish => {
                let gate = || one() / (one() + (number(-alpha) * x()).exp());
                gate() * (one() + number(alpha) * x() * (one() - gate()))
            }
            UnaryFunction::ThresholdedRelu => number(alpha).less(x(), one(), number(0.0)),
            UnaryFunction::Power => number(alpha) * x().pow(number(alpha - 1.0)),
            UnaryFunction::Floor | UnaryFunction::Ceil | UnaryFunction::Round => number(0.0),
            UnaryFunction::RoundThrough => number(1.0),
        }
    }
}

/// `|x|`, of an operand; that of -0 is 0.
fn magnitude(operand: usize) -> Expression {
    x(operand).at_most(number(0.0), number(0.0) - x(operand), x(operand))
}

/// `e^a - 1`, exact near zero: `tanh(a / 2) * (e^a + 1)`.
fn exp_minus_1(a: Expression) -> Expression {
    (number(0.5) * a.clone()).tanh() * (a.exp() + number(1.0))
}

/// `e^x` up to where the hyperbolic tangent of Mish is 1 in FP32.
fn mish_exponential(operand: usize) -> Expression {
    number(20.0).less(x(operand), number(20.0), x(operand)).exp()
}

/// `tanh(log(1 + e))` with `e = e^x`: `e (e + 2) / (e (e + 2) + 2)`.
fn mish_gate(operand: usize) -> Expression {
    let product = || mish_exponential(operand) * (mish_exponential(operand) + number(2.0));
    product() / (product() + number(2.0))
}

impl AttributeValue for UnaryFunction {
    fn to_attribute(&self) -> Attribute {
        Attribute::Text(self.name().into())
    }

    fn from_attribute(attribute: &Attribute) -> Option<Self> {
        match attribute {
            Attribute::Text(text) => UnaryFunction::ALL.into_iter().find(|function| function.name() == text),
            _ => None,
        }
    }
}
