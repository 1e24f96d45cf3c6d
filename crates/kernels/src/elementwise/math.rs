//! Elementwise functions over slices of one length.

use crate::words::simd::{mul_add, multiversion};

/// A function of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
    Pow,
}

/// Lower bound first, so that a NaN stays and `max` wins over a `min` above it.
#[inline(always)]
pub(crate) fn clamp(x: f32, min: f32, max: f32) -> f32 {
    let x = if x < min { min } else { x };
    if x > max { max } else { x }
}

#[inline(always)]
pub(crate) fn map(x: &[f32], y: &mut [f32], f: impl Fn(f32) -> f32) {
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

#[inline(always)]
pub(crate) fn map3(a: &[f32], b: &[f32], c: &[f32], y: &mut [f32], f: impl Fn(f32, f32, f32) -> f32) {
    for (((y, a), b), c) in y.iter_mut().zip(a).zip(b).zip(c) {
        *y = f(*a, *b, *c);
    }
}

/// `y += x`.
#[inline(always)]
pub(crate) fn add_to(x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

/// The larger number; a NaN that comes first stays.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a < b { b } else { a }
}

/// The smaller number; a NaN that comes first stays.
#[inline(always)]
fn smaller(a: f32, b: f32) -> f32 {
    if b < a { b } else { a }
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
    fn binary_chunk(kind: Binary, a: &[f32], b: &[f32], y: &mut [f32]) {
        match kind {
            Binary::Add => map2(a, b, y, |a, b| a + b),
            Binary::Sub => map2(a, b, y, |a, b| a - b),
            Binary::Mul => map2(a, b, y, |a, b| a * b),
            Binary::Div => map2(a, b, y, |a, b| a / b),
            Binary::Max => map2(a, b, y, larger),
            Binary::Min => map2(a, b, y, smaller),
            Binary::Pow => map2(a, b, y, libm::powf),
        }
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
            (Binary::Max, false) => map(a, y, |a| larger(a, b)),
            (Binary::Max, true) => map(a, y, |a| larger(b, a)),
            (Binary::Min, false) => map(a, y, |a| smaller(a, b)),
            (Binary::Min, true) => map(a, y, |a| smaller(b, a)),
            (Binary::Pow, false) => map(a, y, |a| libm::powf(a, b)),
            (Binary::Pow, true) => map(a, y, |a| libm::powf(b, a)),
        }
    }
}

/// `e^x` within two units in the last place (subnormal results included), without a branch, so that loops over it run in
/// vectors; the polynomial is that of Cephes' `expf`.
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f32) -> f32 {
    // Beyond these bounds the result is infinity or zero, and the steps below say so. A NaN passes.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    // Adding this moves the integer nearest to x / ln 2 to the low bits.
    const SHIFT: f32 = 12_582_912.0;
    let shifted = mul_add::<FMA>(x, std::f32::consts::LOG2_E, SHIFT);
    let n = shifted - SHIFT;
    // ln 2 in two parts, of which the first times n is exact.
    let r = mul_add::<FMA>(n, 2.121_944_4e-4, mul_add::<FMA>(n, -0.693_359_4, x));
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = mul_add::<FMA>(p, r, coefficient);
    }
    let p = mul_add::<FMA>(p, r * r, r) + 1.0;
    // In two factors, since 2^n may be beyond the largest number or below the smallest normal one.
    let n = (shifted.to_bits() as i32).wrapping_sub(SHIFT.to_bits() as i32);
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) as u32) << 23);
    let half = n >> 1;
    p * power(half) * power(n.wrapping_sub(half))
}

/// `1 / (1 + e^-x)` within two and a half units in the last place.
#[inline(always)]
pub(crate) fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    let e = exp::<FMA>(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

/// The error function within two units in the last place: `x + x p(x^2)` near zero, `1 - e^(-x q(x))` farther out, with
/// polynomials of least error over their ranges.
#[inline(always)]
pub(crate) fn erf<const FMA: bool>(x: f32) -> f32 {
    let (t, square) = (x.abs(), x * x);
    let mut p = 8.327_487e-5;
    for coefficient in [-8.133_215e-4, 5.200_261e-3, -2.685_912e-2, 1.128_369_1e-1, -3.761_263_5e-1, 1.283_791_7e-1] {
        p = mul_add::<FMA>(p, square, coefficient);
    }
    let small = mul_add::<FMA>(p, x, x);
    // The result is 1 from there on. A NaN passes.
    let t = if t > 4.0 { 4.0 } else { t };
    let mut q = 5.429_105e-7;
    for coefficient in [
        -1.098_674_5e-5,
        9.702_732e-5,
        -4.716_784e-4,
        1.160_730_3e-3,
        7.285_186_4e-4,
        -2.009_852e-2,
        1.033_880_8e-1,
        6.363_975_4e-1,
        1.128_414_3,
    ] {
        q = mul_add::<FMA>(q, t, coefficient);
    }
    let large = (1.0 - exp::<FMA>(-(q * t))).copysign(x);
    if t < 0.9277 { small } else { large }
}

/// The hyperbolic tangent within two units in the last place; the polynomial is that of Cephes' `tanhf`.
#[inline(always)]
pub(crate) fn tanh<const FMA: bool>(x: f32) -> f32 {
    let square = x * x;
    let mut p = -5.704_988_7e-3;
    for coefficient in [2.063_909e-2, -5.373_971_5e-2, 1.333_144_2e-1, -3.333_328e-1] {
        p = mul_add::<FMA>(p, square, coefficient);
    }
    let small = mul_add::<FMA>(p * square, x, x);
    let large = (1.0 - 2.0 / (exp::<FMA>(2.0 * x.abs()) + 1.0)).copysign(x);
    if x.abs() < 0.625 { small } else { large }
}
