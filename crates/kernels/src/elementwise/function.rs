//! The functions that chains are made of, and what is known of each: its operands, whose numbers it passes on, what stays finite.

use std::sync::Arc;

use crate::elementwise::formula::Formula;

/// A function of a chain's part, elementwise except that some operands have one number for each channel or for all.
///
/// NaN gives NaN in all of them, except that the gradients of what is flat take nothing from `dy`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Function {
    /// On x.
    Copy,
    /// On x: 0 where x <= 0, else x.
    Relu,
    /// On x: `alpha * x` where x < 0, else x.
    LeakyRelu { alpha: f32 },
    /// On x: the lower bound first, so that `max` wins over a `min` above it.
    Clip { min: f32, max: f32 },
    /// On x: `1 / (1 + e^-x)`, within 2.5 units in the last place.
    Sigmoid,
    /// On x: within 2 units in the last place.
    Tanh,
    /// On x: within 2 units in the last place.
    Exp,
    /// On x.
    Log,
    /// On x.
    Sqrt,
    /// On x: `by * x`.
    Scale { by: f32 },
    /// On a, b.
    Add,
    /// On a, b.
    Sub,
    /// On a, b.
    Mul,
    /// On a, b.
    Div,
    /// On any number of operands, added in their order; of none the sum is 0.
    Sum,
    /// On dy, y: the gradient of relu from its output (or input): 0 where y <= 0, else dy.
    ReluGrad,
    /// On dy, x: the gradient of clip from its input: dy where `min < x < max`, else 0.
    ClipGrad { min: f32, max: f32 },
    /// On dy, x: the gradient of leaky relu from its input: `alpha * dy` where x <= 0, else dy.
    LeakyReluGrad { alpha: f32 },
    /// On x and the channels' mean, var, scale, bias: `(x - mean) / sqrt(var + epsilon) * scale + bias` (ONNX
    /// `BatchNormalization`).
    Normalize { epsilon: f32 },
    /// On dy, x and the channels' mean, var, scale, bias: 0 where the normalised x is below `low`, or `high` or more, else dy. A
    /// bound that is NaN is none.
    NormalizeMask { epsilon: f32, low: f32, high: f32 },
    /// On dy, x and the channels' mean, var, scale, dscale, dbias: the gradient of [`Function::Normalize`] by x through
    /// the batch's mean and variance, `scale * r * (dy - dbias / m - (x - mean) * r * dscale / m)` with
    /// `r = 1 / sqrt(var + epsilon)` and `m = n * s`.
    NormalizeGradInput { epsilon: f32 },
    /// On running, x: `(1 - momentum) * running + momentum * correction * x`, where `correction` is `m / (m - 1)` if x
    /// is a biased variance of m elements and the unbiased one is to be kept, else 1.
    RunningAverage { momentum: f32, correction: f32 },
    /// On velocity, parameter, gradient and the number inverse_scale, which undoes the loss scale:
    /// `momentum * velocity + gradient * inverse_scale + weight_decay * parameter`.
    SgdVelocity { momentum: f32, weight_decay: f32 },
    /// On parameter, velocity and the number learning_rate: `parameter - learning_rate * velocity`.
    SgdParameter,
    /// On moment, gradient and the number inverse_scale: `beta * moment + (1 - beta) * gradient * inverse_scale`.
    AdamFirstMoment { beta: f32 },
    /// On moment, gradient and the number inverse_scale: `beta * moment + (1 - beta) * (gradient * inverse_scale)^2`.
    AdamSecondMoment { beta: f32 },
    /// On parameter, first moment m, second moment v and the numbers learning_rate, bias1 = `1 - beta1^step` and bias2 =
    /// `1 - beta2^step`: `parameter * (1 - learning_rate * weight_decay) - learning_rate * (m / bias1) / (sqrt(v /
    /// bias2) + epsilon)`, as PyTorch's AdamW.
    AdamwParameter { weight_decay: f32, epsilon: f32 },
    /// On any number of operands.
    Formula(Arc<Formula>),
}

/// Whose numbers a result holds, besides zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PassesOn {
    /// Those of all operands.
    All,
    /// Those of the first operand.
    First,
    /// None of an operand for certain.
    None,
}

/// The required kind of an operand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Takes {
    /// One number for each element; those of a channel, or one number, are repeated.
    Each,
    /// One number for each channel.
    Channel,
    /// One number.
    Scalar,
}

/// The facts known about a function, whatever it reads.
struct Declaration {
    /// Names and kinds of the operands; [`Function::Sum`] and [`Function::Formula`] take any number, one for each element.
    operands: &'static [(&'static str, Takes)],
    passes_on: PassesOn,
    /// Whether finite operands give finite numbers once these saturate: nothing that is not a number comes of them.
    keeps_finite: bool,
}

const fn declared(operands: &'static [(&'static str, Takes)], passes_on: PassesOn, keeps_finite: bool) -> Declaration {
    Declaration { operands, passes_on, keeps_finite }
}

impl Function {
    /// The table of all functions.
    fn declaration(&self) -> Declaration {
        use PassesOn::{All, First, None};
        use Takes::{Channel, Each, Scalar};
        match self {
            Function::Copy | Function::Relu => declared(&[("x", Each)], All, true),
            Function::LeakyRelu { .. } | Function::Clip { .. } => declared(&[("x", Each)], None, true),
            Function::Sigmoid | Function::Tanh | Function::Exp | Function::Log | Function::Sqrt => {
                declared(&[("x", Each)], None, false)
            }
            Function::Scale { .. } => declared(&[("x", Each)], None, false),
            Function::Add | Function::Sub => declared(&[("a", Each), ("b", Each)], None, true),
            Function::Mul | Function::Div => declared(&[("a", Each), ("b", Each)], None, false),
            Function::Sum => declared(&[], None, true),
            Function::ReluGrad => declared(&[("dy", Each), ("y", Each)], First, false),
            Function::ClipGrad { .. } | Function::LeakyReluGrad { .. } => {
                declared(&[("dy", Each), ("x", Each)], None, false)
            }
            Function::Normalize { .. } => declared(
                &[("x", Each), ("mean", Channel), ("var", Channel), ("scale", Channel), ("bias", Channel)],
                None,
                true,
            ),
            Function::NormalizeMask { .. } => declared(
                &[
                    ("dy", Each),
                    ("x", Each),
                    ("mean", Channel),
                    ("var", Channel),
                    ("scale", Channel),
                    ("bias", Channel),
                ],
                First,
                false,
            ),
            Function::NormalizeGradInput { .. } => declared(
                &[
                    ("dy", Each),
                    ("x", Each),
                    ("mean", Channel),
                    ("var", Channel),
                    ("scale", Channel),
                    ("dscale", Channel),
                    ("dbias", Channel),
                ],
                None,
                false,
            ),
            Function::RunningAverage { .. } => declared(&[("running", Each), ("x", Each)], None, false),
            Function::SgdVelocity { .. } => declared(
                &[("velocity", Each), ("parameter", Each), ("gradient", Each), ("inverse_scale", Scalar)],
                None,
                false,
            ),
            Function::SgdParameter => {
                declared(&[("parameter", Each), ("velocity", Each), ("learning_rate", Scalar)], None, false)
            }
            Function::AdamFirstMoment { .. } | Function::AdamSecondMoment { .. } => {
                declared(&[("moment", Each), ("gradient", Each), ("inverse_scale", Scalar)], None, false)
            }
            Function::AdamwParameter { .. } => declared(
                &[
                    ("parameter", Each),
                    ("first moment", Each),
                    ("second moment", Each),
                    ("learning_rate", Scalar),
                    ("bias1", Scalar),
                    ("bias2", Scalar),
                ],
                None,
                false,
            ),
            Function::Formula(_) => declared(&[], None, false),
        }
    }

    /// Whose numbers the result holds, besides zeros.
    pub(crate) fn passes_on(&self) -> PassesOn {
        self.declaration().passes_on
    }

    /// Whether finite operands give finite numbers once these saturate: nothing that is not a number comes of them.
    pub(crate) fn keeps_finite(&self) -> bool {
        self.declaration().keeps_finite
    }

    /// How many operands there are, where that is fixed.
    pub(crate) fn arity(&self) -> Option<usize> {
        match self {
            Function::Sum => None,
            Function::Formula(formula) => Some(formula.operands),
            _ => Some(self.declaration().operands.len()),
        }
    }

    /// Name and kind of operand `index`.
    pub(crate) fn takes(&self, index: usize) -> Option<(&'static str, Takes)> {
        self.declaration().operands.get(index).copied()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Function, PassesOn, Takes};
    use crate::elementwise::formula::{Formula, Word};
    use crate::{Elements, Operand, Output, Part, chain};

    /// Every function, with whether finite operands give numbers, saturated or not.
    fn functions() -> Vec<(Function, PassesOn, bool)> {
        use PassesOn::{All, First, None};
        let doubled = Formula::new(vec![Word::Operand(0), Word::Number(2.0), Word::Mul], 1).unwrap();
        vec![
            (Function::Copy, All, true),
            (Function::Relu, All, true),
            (Function::LeakyRelu { alpha: 0.25 }, None, true),
            (Function::Clip { min: -0.5, max: 1.5 }, None, true),
            (Function::Sigmoid, None, false),
            (Function::Tanh, None, false),
            (Function::Exp, None, false),
            (Function::Log, None, false),
            (Function::Sqrt, None, false),
            (Function::Scale { by: 3.0 }, None, false),
            (Function::Add, None, true),
            (Function::Sub, None, true),
            (Function::Mul, None, false),
            (Function::Div, None, false),
            (Function::Sum, None, true),
            (Function::ReluGrad, First, false),
            (Function::ClipGrad { min: -0.5, max: 1.5 }, None, false),
            (Function::LeakyReluGrad { alpha: 0.25 }, None, false),
            (Function::Normalize { epsilon: 1e-3 }, None, true),
            (Function::NormalizeMask { epsilon: 1e-3, low: 0.5, high: f32::NAN }, First, false),
            (Function::NormalizeGradInput { epsilon: 1e-3 }, None, false),
            (Function::RunningAverage { momentum: 0.1, correction: 1.5 }, None, false),
            (Function::SgdVelocity { momentum: 0.9, weight_decay: 1e-3 }, None, false),
            (Function::SgdParameter, None, false),
            (Function::AdamFirstMoment { beta: 0.9 }, None, false),
            (Function::AdamSecondMoment { beta: 0.9 }, None, false),
            (Function::AdamwParameter { weight_decay: 1e-2, epsilon: 1e-8 }, None, false),
            (Function::Formula(doubled.into()), None, false),
        ]
    }

    #[test]
    fn what_is_declared_holds() {
        // Any number of each operand meets any of the others.
        let each = [-f32::MAX, -2.0, -0.25, 0.0, 0.25, 1.0, 7.0, f32::MAX];
        let len = each.len().pow(2);
        let columns = [0, 1].map(|k| (0..len).map(|i| each[i / each.len().pow(k) % each.len()]).collect::<Vec<f32>>());
        for (function, passes_on, keeps_finite) in functions() {
            assert_eq!((function.passes_on(), function.keeps_finite()), (passes_on, keeps_finite), "{function:?}");
            let operand = |k: usize| match function.takes(k) {
                Some((_, Takes::Channel)) => Operand::Channel([0.5].as_slice().into()),
                Some((_, Takes::Scalar)) => Operand::Scalar(0.5),
                _ => Operand::Elements(Elements::from(columns[k % 2].as_slice())),
            };
            let operands = (0..function.arity().unwrap_or(2)).map(operand).collect();
            let mut y = vec![f32::NAN; len];
            let parts = [Part { function: function.clone(), operands, rounding: None, output: Some(0) }];
            chain([1, 1, len], &parts, &mut [Output::from(y.as_mut_slice())]).unwrap();
            if keeps_finite {
                assert!(y.iter().all(|y| !y.is_nan()), "{function:?} gives {y:?}");
            }
            if passes_on != PassesOn::None {
                assert!(y.iter().zip(&columns[0]).all(|(y, x)| *y == 0.0 || y == x), "{function:?} gives {y:?}");
            }
        }
    }
}
