//! Batch normalisation and its gradient by x, as affine functions with factors of each channel.

use std::borrow::Cow;

use crate::elementwise::function::Function;
use crate::elementwise::math::clamp;
use crate::words::simd::{mul_add, multiversion};

/// `1 / sqrt(var + epsilon)`.
pub(crate) fn reciprocal_deviation(var: f32, epsilon: f32) -> f64 {
    1.0 / (f64::from(var) + f64::from(epsilon)).sqrt()
}

/// How many numbers the rows of a function need of each channel.
pub(crate) fn tables(function: &Function) -> usize {
    match function {
        Function::Normalize { .. } | Function::NormalizeMask { .. } => 3,
        Function::NormalizeGradInput { .. } => 4,
        _ => 0,
    }
}

/// Writes these numbers to [`tables`], from the operands with one number for each channel; `count` is `n * s`.
///
/// Normalisation is `(x - mean) * factor + bias`, its gradient `dy * by_dy + (x - mean) * by_x + constant`.
pub(crate) fn factors(function: &Function, operands: &[Cow<'_, [f32]>], count: f64, tables: &mut [&mut [f32]]) {
    match (function, operands, tables) {
        (
            Function::Normalize { epsilon } | Function::NormalizeMask { epsilon, .. },
            [mean, var, scale, bias],
            [to_mean, to_factor, to_bias],
        ) => {
            to_mean[..mean.len()].copy_from_slice(mean);
            for ((to, scale), var) in to_factor.iter_mut().zip(&**scale).zip(&**var) {
                *to = (f64::from(*scale) * reciprocal_deviation(*var, *epsilon)) as f32;
            }
            to_bias[..bias.len()].copy_from_slice(bias);
        }
        (
            Function::NormalizeGradInput { epsilon },
            [mean, var, scale, dscale, dbias],
            [to_mean, to_by_dy, to_by_x, to_constant],
        ) => {
            to_mean[..mean.len()].copy_from_slice(mean);
            let of_channels = var.iter().zip(&**scale).zip(&**dscale).zip(&**dbias);
            for (channel, (((var, scale), dscale), dbias)) in of_channels.enumerate() {
                let r = reciprocal_deviation(*var, *epsilon);
                let by_dy = f64::from(*scale) * r;
                to_by_dy[channel] = by_dy as f32;
                to_by_x[channel] = (-by_dy * r * f64::from(*dscale) / count) as f32;
                to_constant[channel] = (-by_dy * f64::from(*dbias) / count) as f32;
            }
        }
        _ => {}
    }
}

/// Calls `$fixed` with a constant length of rows where they are short; else `$ones` or `$each`.
macro_rules! by_row_length {
    ($row:expr, $fixed:ident($($argument:expr),*), $ones:expr, $each:expr) => {
        match $row {
            1 => $ones,
            2 => $fixed::<FMA, 2>($($argument),*),
            4 => $fixed::<FMA, 4>($($argument),*),
            8 => $fixed::<FMA, 8>($($argument),*),
            _ => $each,
        }
    };
}

#[inline(always)]
fn affine<const FMA: bool>(x: f32, mean: f32, factor: f32, bias: f32) -> f32 {
    mul_add::<FMA>(x - mean, factor, bias)
}

#[inline(always)]
fn gradient<const FMA: bool>(dy: f32, x: f32, [mean, by_dy, by_x, constant]: [f32; 4]) -> f32 {
    mul_add::<FMA>(dy, by_dy, mul_add::<FMA>(x - mean, by_x, constant))
}

/// Normalises rows of `row` elements; the tables hold a number for each row.
#[inline(always)]
pub(crate) fn normalize_rows<const FMA: bool>(row: usize, x: &[f32], [mean, factor, bias]: [&[f32]; 3], y: &mut [f32]) {
    let of_rows = mean.iter().zip(factor).zip(bias);
    by_row_length!(
        row,
        normalize_fixed(x, mean, factor, bias, y),
        for ((y, x), ((mean, factor), bias)) in y.iter_mut().zip(x).zip(of_rows) {
            *y = affine::<FMA>(*x, *mean, *factor, *bias);
        },
        for ((y, x), ((mean, factor), bias)) in y.chunks_exact_mut(row).zip(x.chunks_exact(row)).zip(of_rows) {
            for (y, x) in y.iter_mut().zip(x) {
                *y = affine::<FMA>(*x, *mean, *factor, *bias);
            }
        }
    );
}

#[inline(always)]
fn normalize_fixed<const FMA: bool, const ROW: usize>(
    x: &[f32],
    mean: &[f32],
    factor: &[f32],
    bias: &[f32],
    y: &mut [f32],
) {
    let (x, y) = (x.as_chunks::<ROW>().0, y.as_chunks_mut::<ROW>().0);
    for ((y, x), ((mean, factor), bias)) in y.iter_mut().zip(x).zip(mean.iter().zip(factor).zip(bias)) {
        // Through copies, since the compiler cannot know that `x` and `y` lie apart.
        let (x, mut row) = (*x, [0.0; ROW]);
        for i in 0..ROW {
            row[i] = affine::<FMA>(x[i], *mean, *factor, *bias);
        }
        *y = row;
    }
}

/// The gradient of normalisation over rows of `row` elements; the tables hold a number for each row.
#[inline(always)]
pub(crate) fn gradient_rows<const FMA: bool>(row: usize, dy: &[f32], x: &[f32], tables: [&[f32]; 4], dx: &mut [f32]) {
    let [mean, by_dy, by_x, constant] = tables;
    let of_rows = || mean.iter().zip(by_dy).zip(by_x).zip(constant).map(|(((a, b), c), d)| [*a, *b, *c, *d]);
    by_row_length!(
        row,
        gradient_fixed(dy, x, tables, dx),
        for (((dx, dy), x), factors) in dx.iter_mut().zip(dy).zip(x).zip(of_rows()) {
            *dx = gradient::<FMA>(*dy, *x, factors);
        },
        {
            let rows = dx.chunks_exact_mut(row).zip(dy.chunks_exact(row)).zip(x.chunks_exact(row));
            for (((dx, dy), x), factors) in rows.zip(of_rows()) {
                for ((dx, dy), x) in dx.iter_mut().zip(dy).zip(x) {
                    *dx = gradient::<FMA>(*dy, *x, factors);
                }
            }
        }
    );
}

#[inline(always)]
fn gradient_fixed<const FMA: bool, const ROW: usize>(
    dy: &[f32],
    x: &[f32],
    [mean, by_dy, by_x, constant]: [&[f32]; 4],
    dx: &mut [f32],
) {
    let (dy, x, dx) = (dy.as_chunks::<ROW>().0, x.as_chunks::<ROW>().0, dx.as_chunks_mut::<ROW>().0);
    let factors = mean.iter().zip(by_dy).zip(by_x).zip(constant);
    for (((dx, dy), x), (((mean, by_dy), by_x), constant)) in dx.iter_mut().zip(dy).zip(x).zip(factors) {
        let (dy, x, mut row) = (*dy, *x, [0.0; ROW]);
        for i in 0..ROW {
            row[i] = gradient::<FMA>(dy[i], x[i], [*mean, *by_dy, *by_x, *constant]);
        }
        *dx = row;
    }
}

/// The function that follows a normalisation in the same loop.
#[derive(Clone, Copy)]
pub(crate) enum Kink {
    None,
    Relu,
    Clip { min: f32, max: f32 },
}

#[inline(always)]
fn rectified(x: f32) -> f32 {
    if x <= 0.0 { 0.0 } else { x }
}

multiversion! {
    /// Applies a kink to numbers where they are.
    pub(crate) fn clamp_all(kink: Kink, y: &mut [f32]) {
        match kink {
            Kink::None => {}
            Kink::Relu => y.iter_mut().for_each(|y| *y = rectified(*y)),
            Kink::Clip { min, max } => y.iter_mut().for_each(|y| *y = clamp(*y, min, max)),
        }
    }
}

multiversion! {
    /// Normalises rows of `row` elements, adds `skip` unless it is empty, and applies the kink.
    pub(crate) fn normalize_and_clamp(
        row: usize,
        x: &[f32],
        skip: &[f32],
        tables: [&[f32]; 3],
        kink: Kink,
        y: &mut [f32],
    ) {
        match (skip.is_empty(), kink) {
            (true, Kink::None) => rows_then::<FMA>(row, x, x, tables, y, |x, _| x),
            (true, Kink::Relu) => rows_then::<FMA>(row, x, x, tables, y, |x, _| rectified(x)),
            (true, Kink::Clip { min, max }) => rows_then::<FMA>(row, x, x, tables, y, |x, _| clamp(x, min, max)),
            (false, Kink::None) => rows_then::<FMA>(row, x, skip, tables, y, |x, skip| x + skip),
            (false, Kink::Relu) => rows_then::<FMA>(row, x, skip, tables, y, |x, skip| rectified(x + skip)),
            (false, Kink::Clip { min, max }) => {
                rows_then::<FMA>(row, x, skip, tables, y, |x, skip| clamp(x + skip, min, max));
            }
        }
    }
}

multiversion! {
    /// Normalises two tensors by rows of `row` elements, rectifies those that are to be, adds them and applies the kink.
    pub(crate) fn add_normalized(
        row: usize,
        xs: [&[f32]; 2],
        tables: [[&[f32]; 3]; 2],
        rectified: [bool; 2],
        kink: Kink,
        y: &mut [f32],
    ) {
        let [x, z] = xs;
        // Nothing is below a floor that is NaN.
        let floors = rectified.map(|rectified| if rectified { 0.0 } else { f32::NAN });
        let sum = |x: f32, z: f32| {
            let [x, z] = [(x, floors[0]), (z, floors[1])].map(|(x, floor)| if x <= floor { 0.0 } else { x });
            x + z
        };
        match kink {
            Kink::None => sum_rows::<FMA>(row, x, z, tables, y, sum),
            Kink::Relu => sum_rows::<FMA>(row, x, z, tables, y, |x, z| self::rectified(sum(x, z))),
            Kink::Clip { min, max } => sum_rows::<FMA>(row, x, z, tables, y, |x, z| clamp(sum(x, z), min, max)),
        }
    }
}

/// Applies `f` to elements that are normalised by tables of their own.
#[inline(always)]
fn sum_rows<const FMA: bool>(
    row: usize,
    x: &[f32],
    z: &[f32],
    [of_x, of_z]: [[&[f32]; 3]; 2],
    y: &mut [f32],
    f: impl Fn(f32, f32) -> f32,
) {
    let at = |[mean, factor, bias]: [&[f32]; 3], i: usize| [mean[i], factor[i], bias[i]];
    if row == 1 {
        for (i, ((y, x), z)) in y.iter_mut().zip(x).zip(z).enumerate() {
            let ([m, s, b], [n, t, c]) = (at(of_x, i), at(of_z, i));
            *y = f(affine::<FMA>(*x, m, s, b), affine::<FMA>(*z, n, t, c));
        }
        return;
    }
    let rows = y.chunks_exact_mut(row).zip(x.chunks_exact(row)).zip(z.chunks_exact(row));
    for (i, ((y, x), z)) in rows.enumerate() {
        let ([m, s, b], [n, t, c]) = (at(of_x, i), at(of_z, i));
        for ((y, x), z) in y.iter_mut().zip(x).zip(z) {
            *y = f(affine::<FMA>(*x, m, s, b), affine::<FMA>(*z, n, t, c));
        }
    }
}

/// Applies `f` to normalised elements and those of `skip`, over rows of `row` elements.
#[inline(always)]
pub(crate) fn rows_then<const FMA: bool>(
    row: usize,
    x: &[f32],
    skip: &[f32],
    [mean, factor, bias]: [&[f32]; 3],
    y: &mut [f32],
    f: impl Fn(f32, f32) -> f32,
) {
    let of_rows = mean.iter().zip(factor).zip(bias);
    if row == 1 {
        for (((y, x), skip), ((mean, factor), bias)) in y.iter_mut().zip(x).zip(skip).zip(of_rows) {
            *y = f(affine::<FMA>(*x, *mean, *factor, *bias), *skip);
        }
        return;
    }
    let rows = y.chunks_exact_mut(row).zip(x.chunks_exact(row)).zip(skip.chunks_exact(row));
    for (((y, x), skip), ((mean, factor), bias)) in rows.zip(of_rows) {
        for ((y, x), skip) in y.iter_mut().zip(x).zip(skip) {
            *y = f(affine::<FMA>(*x, *mean, *factor, *bias), *skip);
        }
    }
}
