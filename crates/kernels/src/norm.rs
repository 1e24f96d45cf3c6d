//! Batch normalisation over `[n, c, s]`: batch, channels, and everything behind them.
//!
//! Sums run over rows of `s` elements in single-precision vectors and over the batch in double precision, in an order
//! that depends on the shape only.

use rayon::prelude::*;

use crate::error::{ShapeError, check, elements};
use crate::parallel::{CHUNK, fill_rows, rows_per_task};
use crate::simd::{mul_add, multiversion, reduce2};

multiversion! {
    fn row_sum(x: &[f32]) -> f64 {
        reduce2(x, x, |sum, x, _| sum + x)
    }
}

multiversion! {
    fn row_square(x: &[f32], mean: f32) -> f64 {
        reduce2(x, x, |sum, x, _| mul_add::<FMA>(x - mean, x - mean, sum))
    }
}

multiversion! {
    fn row_product(a: &[f32], b: &[f32], b_mean: f32) -> f64 {
        reduce2(a, b, |sum, a, b| mul_add::<FMA>(a, b - b_mean, sum))
    }
}

/// `out[c] = finish(sum over the batch of row(start of the row, c))`.
fn per_channel(
    n: usize,
    c: usize,
    s: usize,
    out: &mut [f32],
    row: impl Fn(usize, usize) -> f64 + Sync + Send,
    finish: impl Fn(f64, usize) -> f64 + Sync + Send,
) {
    let sum = |channel: usize| {
        let total: f64 = (0..n).map(|i| row((i * c + channel) * s, channel)).sum();
        finish(total, channel) as f32
    };
    if n * c * s <= CHUNK {
        out.iter_mut().enumerate().for_each(|(i, out)| *out = sum(i));
    } else {
        out.par_iter_mut().enumerate().for_each(|(i, out)| *out = sum(i));
    }
}

/// Sums of each channel: x `[n, c, s]`, out `[c]`.
pub fn channel_sum(n: usize, c: usize, s: usize, x: &[f32], out: &mut [f32]) -> Result<(), ShapeError> {
    check("channel_sum", &[("x", x.len(), elements(&[n, c, s])), ("out", out.len(), c)])?;
    per_channel(n, c, s, out, |at, _| row_sum(&x[at..at + s]), |sum, _| sum);
    Ok(())
}

/// Means of each channel: x `[n, c, s]`, mean `[c]`.
pub fn batch_mean(n: usize, c: usize, s: usize, x: &[f32], mean: &mut [f32]) -> Result<(), ShapeError> {
    check("batch_mean", &[("x", x.len(), elements(&[n, c, s])), ("mean", mean.len(), c)])?;
    per_channel(n, c, s, mean, |at, _| row_sum(&x[at..at + s]), |sum, _| sum / (n * s) as f64);
    Ok(())
}

/// Variances of each channel about `mean` (biased, that is divided by `n * s`): x `[n, c, s]`, mean and var `[c]`.
pub fn batch_variance(
    n: usize,
    c: usize,
    s: usize,
    x: &[f32],
    mean: &[f32],
    var: &mut [f32],
) -> Result<(), ShapeError> {
    let sizes = [("x", x.len(), elements(&[n, c, s])), ("mean", mean.len(), c), ("var", var.len(), c)];
    check("batch_variance", &sizes)?;
    per_channel(n, c, s, var, |at, i| row_square(&x[at..at + s], mean[i]), |sum, _| sum / (n * s) as f64);
    Ok(())
}

fn reciprocal_deviation(var: f32, eps: f32) -> f64 {
    1.0 / (f64::from(var) + f64::from(eps)).sqrt()
}

/// Normalisation (ONNX `BatchNormalization`): `y = (x - mean) / sqrt(var + eps) * scale + bias`; x and y `[n, c, s]`,
/// the rest `[c]`.
pub fn batch_normalize(
    n: usize,
    c: usize,
    s: usize,
    x: &[f32],
    mean: &[f32],
    var: &[f32],
    scale: &[f32],
    bias: &[f32],
    eps: f32,
    y: &mut [f32],
) -> Result<(), ShapeError> {
    let size = elements(&[n, c, s]);
    let of_channels = [("mean", mean.len(), c), ("var", var.len(), c), ("scale", scale.len(), c)];
    check("batch_normalize", &of_channels)?;
    check("batch_normalize", &[("bias", bias.len(), c), ("x", x.len(), size), ("y", y.len(), size)])?;
    fill_rows(y, rows_per_task(s) * s, |start, y| {
        for (i, y) in y.chunks_mut(s).enumerate() {
            let at = start + i * s;
            let channel = at / s % c;
            let factor = (f64::from(scale[channel]) * reciprocal_deviation(var[channel], eps)) as f32;
            affine(&x[at..at + s], mean[channel], factor, bias[channel], y);
        }
    });
    Ok(())
}

multiversion! {
    fn affine(x: &[f32], mean: f32, factor: f32, bias: f32, y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = mul_add::<FMA>(*x - mean, factor, bias);
        }
    }
}

/// Gradient of [`batch_normalize`] by its scale: `dscale[c] = sum of dy * (x - mean) / sqrt(var + eps)`.
pub fn batch_norm_grad_scale(
    n: usize,
    c: usize,
    s: usize,
    dy: &[f32],
    x: &[f32],
    mean: &[f32],
    var: &[f32],
    eps: f32,
    dscale: &mut [f32],
) -> Result<(), ShapeError> {
    let size = elements(&[n, c, s]);
    let of_channels = [("mean", mean.len(), c), ("var", var.len(), c), ("dscale", dscale.len(), c)];
    check("batch_norm_grad_scale", &of_channels)?;
    check("batch_norm_grad_scale", &[("dy", dy.len(), size), ("x", x.len(), size)])?;
    let row = |at: usize, i: usize| row_product(&dy[at..at + s], &x[at..at + s], mean[i]);
    per_channel(n, c, s, dscale, row, |sum, i| sum * reciprocal_deviation(var[i], eps));
    Ok(())
}

/// Gradient of [`batch_normalize`] by x through batch mean and variance:
/// `dx = scale * r * (dy - dbias / m - (x - mean) * r * dscale / m)` with `r = 1 / sqrt(var + eps)` and `m = n * s`.
///
/// `dscale` is what [`batch_norm_grad_scale`] gives and `dbias` the [`channel_sum`] of dy.
pub fn batch_norm_grad_input(
    n: usize,
    c: usize,
    s: usize,
    dy: &[f32],
    x: &[f32],
    mean: &[f32],
    var: &[f32],
    scale: &[f32],
    dscale: &[f32],
    dbias: &[f32],
    eps: f32,
    dx: &mut [f32],
) -> Result<(), ShapeError> {
    let size = elements(&[n, c, s]);
    let of_channels = [("mean", mean.len(), c), ("var", var.len(), c), ("scale", scale.len(), c)];
    check("batch_norm_grad_input", &of_channels)?;
    check("batch_norm_grad_input", &[("dscale", dscale.len(), c), ("dbias", dbias.len(), c)])?;
    check("batch_norm_grad_input", &[("dy", dy.len(), size), ("x", x.len(), size), ("dx", dx.len(), size)])?;
    let count = (n * s) as f64;
    fill_rows(dx, rows_per_task(s) * s, |start, dx| {
        for (i, dx) in dx.chunks_mut(s).enumerate() {
            let at = start + i * s;
            let channel = at / s % c;
            let r = reciprocal_deviation(var[channel], eps);
            let by_dy = f64::from(scale[channel]) * r;
            let by_x = -by_dy * r * f64::from(dscale[channel]) / count;
            let constant = -by_dy * f64::from(dbias[channel]) / count;
            let (x, dy) = (&x[at..at + s], &dy[at..at + s]);
            grad_row(dy, x, mean[channel], by_dy as f32, by_x as f32, constant as f32, dx);
        }
    });
    Ok(())
}

multiversion! {
    fn grad_row(dy: &[f32], x: &[f32], mean: f32, by_dy: f32, by_x: f32, constant: f32, dx: &mut [f32]) {
        for ((dx, dy), x) in dx.iter_mut().zip(dy).zip(x) {
            *dx = mul_add::<FMA>(*dy, by_dy, mul_add::<FMA>(*x - mean, by_x, constant));
        }
    }
}

/// Running statistics: `out = (1 - momentum) * running + momentum * correction * x`, elementwise.
///
/// `correction` is `m / (m - 1)` where `x` is a biased variance of `m` elements and the unbiased one is to be kept.
pub fn running_average(
    running: &[f32],
    x: &[f32],
    momentum: f32,
    correction: f32,
    out: &mut [f32],
) -> Result<(), ShapeError> {
    check("running_average", &[("running", running.len(), out.len()), ("x", x.len(), out.len())])?;
    for ((out, running), x) in out.iter_mut().zip(running).zip(x) {
        *out = (1.0 - momentum) * running + momentum * correction * x;
    }
    Ok(())
}
