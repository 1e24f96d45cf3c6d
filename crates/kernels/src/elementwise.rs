//! Elementwise functions and their gradients.

use crate::error::{ShapeError, check};
use crate::parallel::fill;
use crate::simd::multiversion;

/// A function of one number. NaN gives NaN, in every one of them.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)]
pub enum Unary {
    Copy,
    Sqrt,
    Exp,
    Log,
    Tanh,
    Sigmoid,
    Relu,
    LeakyRelu {
        alpha: f32,
    },
    Clip {
        min: f32,
        max: f32,
    },
    /// `by * x`.
    Scale {
        by: f32,
    },
}

/// A function of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
}

/// Lower bound first, so that a NaN stays and `max` wins over a `min` above it.
#[inline(always)]
fn clamp(x: f32, min: f32, max: f32) -> f32 {
    let x = if x < min { min } else { x };
    if x > max { max } else { x }
}

#[inline(always)]
fn map(x: &[f32], y: &mut [f32], f: impl Fn(f32) -> f32) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = f(*x);
    }
}

#[inline(always)]
pub(crate) fn map2(a: &[f32], b: &[f32], y: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
        *y = f(*a, *b);
    }
}

multiversion! {
    fn unary_chunk(kind: Unary, x: &[f32], y: &mut [f32]) {
        match kind {
            Unary::Copy => y.copy_from_slice(x),
            Unary::Sqrt => map(x, y, f32::sqrt),
            Unary::Exp => map(x, y, f32::exp),
            Unary::Log => map(x, y, f32::ln),
            Unary::Tanh => map(x, y, f32::tanh),
            Unary::Sigmoid => map(x, y, |x| 1.0 / (1.0 + (-x).exp())),
            Unary::Relu => map(x, y, |x| if x <= 0.0 { 0.0 } else { x }),
            Unary::LeakyRelu { alpha } => map(x, y, |x| if x < 0.0 { alpha * x } else { x }),
            Unary::Clip { min, max } => map(x, y, |x| clamp(x, min, max)),
            Unary::Scale { by } => map(x, y, |x| by * x),
        }
    }
}

multiversion! {
    fn binary_chunk(kind: Binary, a: &[f32], b: &[f32], y: &mut [f32]) {
        match kind {
            Binary::Add => map2(a, b, y, |a, b| a + b),
            Binary::Sub => map2(a, b, y, |a, b| a - b),
            Binary::Mul => map2(a, b, y, |a, b| a * b),
            Binary::Div => map2(a, b, y, |a, b| a / b),
        }
    }
}

impl Binary {
    /// `y = a op b`, for slices of one length.
    pub(crate) fn rows(self, a: &[f32], b: &[f32], y: &mut [f32]) {
        binary_chunk(self, a, b, y);
    }

    /// `y = a op b`, or `b op a` with `swap`.
    pub(crate) fn row_scalar(self, a: &[f32], b: f32, swap: bool, y: &mut [f32]) {
        scalar_chunk(self, a, b, swap, y);
    }
}

multiversion! {
    fn scalar_chunk(kind: Binary, a: &[f32], b: f32, swap: bool, y: &mut [f32]) {
        match (kind, swap) {
            (Binary::Add, _) => map(a, y, |a| a + b),
            (Binary::Mul, _) => map(a, y, |a| a * b),
            (Binary::Sub, false) => map(a, y, |a| a - b),
            (Binary::Sub, true) => map(a, y, |a| b - a),
            (Binary::Div, false) => map(a, y, |a| a / b),
            (Binary::Div, true) => map(a, y, |a| b / a),
        }
    }
}

/// `y = kind(x)`, elementwise.
pub fn unary(kind: Unary, x: &[f32], y: &mut [f32]) -> Result<(), ShapeError> {
    check("unary", &[("x", x.len(), y.len())])?;
    fill(y, |start, y| unary_chunk(kind, &x[start..start + y.len()], y));
    Ok(())
}

/// `y = a kind b`, elementwise, for slices of one length; [`crate::binary_broadcast`] takes any shapes.
pub fn binary(kind: Binary, a: &[f32], b: &[f32], y: &mut [f32]) -> Result<(), ShapeError> {
    check("binary", &[("a", a.len(), y.len()), ("b", b.len(), y.len())])?;
    fill(y, |start, y| {
        let end = start + y.len();
        binary_chunk(kind, &a[start..end], &b[start..end], y);
    });
    Ok(())
}

/// `y = inputs[0] + inputs[1] + ...`, elementwise and in this order; no input gives zeros.
pub fn sum(inputs: &[&[f32]], y: &mut [f32]) -> Result<(), ShapeError> {
    for x in inputs {
        check("sum", &[("inputs", x.len(), y.len())])?;
    }
    fill(y, |start, y| {
        let part = |x: &'_ [f32]| -> std::ops::Range<usize> { start..(start + y.len()).min(x.len()) };
        match inputs {
            [] => y.fill(0.0),
            [x] => {
                let range = part(x);
                y.copy_from_slice(&x[range]);
            }
            [a, b, rest @ ..] => {
                let range = part(a);
                binary_chunk(Binary::Add, &a[range.clone()], &b[range.clone()], y);
                for x in rest {
                    add_to(&x[range.clone()], y);
                }
            }
        }
    });
    Ok(())
}

multiversion! {
    /// `y += x`.
    pub(crate) fn add_to(x: &[f32], y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y += x;
        }
    }
}

macro_rules! gradient {
    ($(#[$meta:meta])* $name:ident, $chunk:ident, ($a:ident, $b:ident $(, $parameter:ident)*), $value:expr) => {
        multiversion! {
            fn $chunk($a: &[f32], $b: &[f32], $($parameter: f32,)* dx: &mut [f32]) {
                map2($a, $b, dx, |$a, $b| $value);
            }
        }

        $(#[$meta])*
        pub fn $name($a: &[f32], $b: &[f32], $($parameter: f32,)* dx: &mut [f32]) -> Result<(), ShapeError> {
            let len = dx.len();
            check(stringify!($name), &[(stringify!($a), $a.len(), len), (stringify!($b), $b.len(), len)])?;
            fill(dx, |start, dx| {
                let end = start + dx.len();
                $chunk(&$a[start..end], &$b[start..end], $($parameter,)* dx);
            });
            Ok(())
        }
    };
}

gradient! {
    /// Gradient of relu from its output: `dx = dy`, and 0 where `y <= 0`.
    relu_grad, relu_grad_chunk, (dy, y), if y <= 0.0 { 0.0 } else { dy }
}

gradient! {
    /// Gradient of [`Unary::Clip`] from its input: `dx = dy` where `min < x < max`, else 0.
    clip_grad, clip_grad_chunk, (dy, x, min, max), if x <= min || x >= max { 0.0 } else { dy }
}

gradient! {
    /// Gradient of [`Unary::LeakyRelu`] from its input: `dx = dy`, and `alpha * dy` where `x <= 0`.
    leaky_relu_grad, leaky_relu_grad_chunk, (dy, x, alpha), if x <= 0.0 { alpha * dy } else { dy }
}
