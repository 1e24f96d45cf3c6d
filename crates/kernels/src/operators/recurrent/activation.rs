//! The functions that recurrent layers apply, over slices.

use crate::elementwise::math::{exp, sigmoid, tanh};
use crate::words::simd::multiversion;

/// A function with its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `x` above zero, 0 elsewhere.
    Relu,
    /// The first times x, plus the second.
    Affine(f32, f32),
    /// `x` above zero, the number times x elsewhere.
    LeakyRelu(f32),
    /// `x` from the number on, 0 elsewhere.
    ThresholdedRelu(f32),
    /// The first times the hyperbolic tangent of the second times x.
    ScaledTanh(f32, f32),
    /// The first times x, plus the second, between 0 and 1.
    HardSigmoid(f32, f32),
    /// `x` above zero, the number times `e^x - 1` elsewhere.
    Elu(f32),
    /// `x / (1 + |x|)`.
    Softsign,
    /// `log(1 + e^x)`.
    Softplus,
}

impl Activation {
    /// Applies it to numbers, of magnitude `clip` at most unless that is zero: `before` are the numbers, `after` the results.
    pub(super) fn apply(self, clip: f32, before: &[f32], after: &mut [f32]) {
        match clip > 0.0 {
            true => after.iter_mut().zip(before).for_each(|(y, x)| *y = x.clamp(-clip, clip)),
            false => after.copy_from_slice(before),
        }
        values(self, after);
    }

    /// Multiplies a gradient with the derivative.
    pub(super) fn multiply_slope(self, clip: f32, before: &[f32], after: &[f32], gradient: &mut [f32]) {
        slopes(self, before, after, gradient);
        if clip > 0.0 {
            gradient.iter_mut().zip(before).filter(|(_, x)| x.abs() > clip).for_each(|(d, _)| *d = 0.0);
        }
    }
}

#[inline(always)]
fn each(x: &mut [f32], f: impl Fn(f32) -> f32) {
    x.iter_mut().for_each(|x| *x = f(*x));
}

multiversion! {
    fn values(activation: Activation, x: &mut [f32]) {
        match activation {
            Activation::Sigmoid => each(x, sigmoid::<FMA>),
            Activation::Tanh => each(x, tanh::<FMA>),
            Activation::Relu => each(x, |x| if x < 0.0 { 0.0 } else { x }),
            Activation::Affine(alpha, beta) => each(x, |x| alpha * x + beta),
            Activation::LeakyRelu(alpha) => each(x, |x| if x < 0.0 { alpha * x } else { x }),
            Activation::ThresholdedRelu(alpha) => each(x, |x| if x < alpha { 0.0 } else { x }),
            Activation::ScaledTanh(alpha, beta) => each(x, |x| alpha * tanh::<FMA>(beta * x)),
            Activation::HardSigmoid(alpha, beta) => each(x, |x| (alpha * x + beta).clamp(0.0, 1.0)),
            Activation::Elu(alpha) => each(x, |x| if x < 0.0 { alpha * libm::expm1f(x) } else { x }),
            Activation::Softsign => each(x, |x| x / (1.0 + x.abs())),
            Activation::Softplus => each(x, |x| x.max(0.0) + libm::log1pf(exp::<FMA>(-x.abs()))),
        }
    }
}

#[inline(always)]
fn scaled(x: &[f32], y: &[f32], gradient: &mut [f32], slope: impl Fn(f32, f32) -> f32) {
    for ((d, x), y) in gradient.iter_mut().zip(x).zip(y) {
        *d *= slope(*x, *y);
    }
}

#[inline(always)]
fn step(is_one: bool) -> f32 {
    if is_one { 1.0 } else { 0.0 }
}

multiversion! {
    fn slopes(activation: Activation, x: &[f32], y: &[f32], gradient: &mut [f32]) {
        match activation {
            Activation::Sigmoid => scaled(x, y, gradient, |_, y| y * (1.0 - y)),
            Activation::Tanh => scaled(x, y, gradient, |_, y| 1.0 - y * y),
            Activation::Relu => scaled(x, y, gradient, |x, _| step(x > 0.0)),
            Activation::Affine(alpha, _) => scaled(x, y, gradient, |_, _| alpha),
            Activation::LeakyRelu(alpha) => scaled(x, y, gradient, |x, _| if x < 0.0 { alpha } else { 1.0 }),
            Activation::ThresholdedRelu(alpha) => scaled(x, y, gradient, |x, _| step(x >= alpha)),
            Activation::ScaledTanh(alpha, beta) => scaled(x, y, gradient, |x, _| {
                let root = tanh::<FMA>(beta * x);
                alpha * beta * (1.0 - root * root)
            }),
            Activation::HardSigmoid(alpha, _) => scaled(x, y, gradient, |_, y| alpha * step(y > 0.0 && y < 1.0)),
            Activation::Elu(alpha) => scaled(x, y, gradient, |x, _| if x < 0.0 { alpha * exp::<FMA>(x) } else { 1.0 }),
            Activation::Softsign => scaled(x, y, gradient, |x, _| 1.0 / ((1.0 + x.abs()) * (1.0 + x.abs()))),
            Activation::Softplus => scaled(x, y, gradient, |x, _| sigmoid::<FMA>(x)),
        }
    }
}
