//! Batch statistics and sums of each channel over `[n, c, s]`: batch, channels, and everything behind them; normalisation of
//! rows in [`layer`].
//!
//! Sums run over short pieces in single-precision vectors and in double precision above, in an order that depends on the
//! shape only. Scratch memory is at most some 150 KiB a thread; partial results take 16 bytes for each channel and share
//! of 16 images.

mod layer;
#[cfg(target_arch = "x86_64")]
mod registers;
mod row;
mod sums;

use crate::elementwise::normalize::reciprocal_deviation;
use crate::error::{ShapeError, check, elements};
use crate::tensors::elements::Elements;
pub use layer::{layer_norm, layer_norm_grad_input, layer_norm_grad_scale, layer_norm_scratch, layer_norm_workspace};
use row::Sums;
use sums::{Moments, by_share, moments_of_share, sums_of_share};

/// The totals of two sums for each channel.
fn totals(shape: [usize; 3], sums: Sums, x: Elements<'_>, y: Elements<'_>, mean: &[f32]) -> Vec<[f64; 2]> {
    let mut totals = vec![[0.0; 2]; shape[1]];
    for (channels, partial) in by_share(shape, |share| sums_of_share(shape, share, sums, x, y, mean)) {
        for (total, partial) in totals[channels].iter_mut().zip(partial) {
            total[0] += partial[0];
            total[1] += partial[1];
        }
    }
    totals
}

/// Sums of each channel: x `[n, c, s]`, out `[c]`.
///
/// # Errors
/// If a size is wrong.
pub fn channel_sum(n: usize, c: usize, s: usize, x: Elements<'_>, out: &mut [f32]) -> Result<(), ShapeError> {
    check("channel_sum", &[("x", x.len(), elements(&[n, c, s])), ("out", out.len(), c)])?;
    let totals = totals([n, c, s], Sums::Total, x, x, &[]);
    out.iter_mut().zip(totals).for_each(|(out, [sum, _])| *out = sum as f32);
    Ok(())
}

/// Count, mean and squared deviations of each channel.
///
/// Every piece of the data has its sums about a number near its own mean, and pieces are combined in double precision (Chan,
/// Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979).
fn moments(shape: [usize; 3], x: Elements<'_>) -> Vec<Moments> {
    let mut totals = vec![Moments::default(); shape[1]];
    for (channels, partial) in by_share(shape, |share| moments_of_share(shape, share, x)) {
        totals[channels].iter_mut().zip(partial).for_each(|(total, partial)| total.add(partial));
    }
    totals
}

/// Means of each channel: x `[n, c, s]`, mean `[c]`. The bits are those of [`batch_moments`].
///
/// # Errors
/// If a size is wrong.
pub fn batch_mean(n: usize, c: usize, s: usize, x: Elements<'_>, mean: &mut [f32]) -> Result<(), ShapeError> {
    check("batch_mean", &[("x", x.len(), elements(&[n, c, s])), ("mean", mean.len(), c)])?;
    mean.iter_mut().zip(moments([n, c, s], x)).for_each(|(mean, total)| *mean = total.mean());
    Ok(())
}

/// Variances of each channel about `mean` (biased, that is divided by `n * s`): x `[n, c, s]`, mean and var `[c]`.
///
/// About the mean that [`batch_mean`] gives, the bits are those of [`batch_moments`], which does not round it in between.
///
/// # Errors
/// If a size is wrong.
pub fn batch_variance(
    n: usize,
    c: usize,
    s: usize,
    x: Elements<'_>,
    mean: &[f32],
    var: &mut [f32],
) -> Result<(), ShapeError> {
    let sizes = [("x", x.len(), elements(&[n, c, s])), ("mean", mean.len(), c), ("var", var.len(), c)];
    check("batch_variance", &sizes)?;
    for ((var, mean), total) in var.iter_mut().zip(mean).zip(moments([n, c, s], x)) {
        *var = match mean.to_bits() == total.mean().to_bits() {
            true => total.variance(),
            false => total.variance_about(*mean),
        };
    }
    Ok(())
}

/// Means and variances (biased) of each channel, reading x once: x `[n, c, s]`, mean and var `[c]`.
///
/// # Errors
/// If a size is wrong.
pub fn batch_moments(
    n: usize,
    c: usize,
    s: usize,
    x: Elements<'_>,
    mean: &mut [f32],
    var: &mut [f32],
) -> Result<(), ShapeError> {
    let sizes = [("x", x.len(), elements(&[n, c, s])), ("mean", mean.len(), c), ("var", var.len(), c)];
    check("batch_moments", &sizes)?;
    for ((mean, var), total) in mean.iter_mut().zip(var).zip(moments([n, c, s], x)) {
        (*mean, *var) = (total.mean(), total.variance());
    }
    Ok(())
}

/// The terms of the gradients of [`crate::Function::Normalize`] by its scale and bias: dy and x `[n, c, s]`, the rest
/// `[c]`.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct NormGradient<'a> {
    pub shape: [usize; 3],
    pub dy: Elements<'a>,
    pub x: Elements<'a>,
    pub mean: &'a [f32],
    pub var: &'a [f32],
    pub epsilon: f32,
}

/// Gradient of [`crate::Function::Normalize`] by its scale: `dscale[c] = sum of dy * (x - mean) / sqrt(var + epsilon)`.
///
/// # Errors
/// If a size is wrong.
pub fn batch_norm_grad_scale(g: &NormGradient<'_>, dscale: &mut [f32]) -> Result<(), ShapeError> {
    g.check("batch_norm_grad_scale", &[("dscale", dscale.len())])?;
    let totals = totals(g.shape, Sums::Products, g.x, g.dy, g.mean);
    for ((dscale, [sum, _]), var) in dscale.iter_mut().zip(totals).zip(g.var) {
        *dscale = (sum * reciprocal_deviation(*var, g.epsilon)) as f32;
    }
    Ok(())
}

/// Gradients of [`crate::Function::Normalize`] by its scale, as [`batch_norm_grad_scale`], and by its bias, the
/// [`channel_sum`] of dy, reading dy and x once.
///
/// # Errors
/// If a size is wrong.
pub fn batch_norm_grad_sums(g: &NormGradient<'_>, dscale: &mut [f32], dbias: &mut [f32]) -> Result<(), ShapeError> {
    g.check("batch_norm_grad_sums", &[("dscale", dscale.len()), ("dbias", dbias.len())])?;
    let totals = totals(g.shape, Sums::ProductsAndTotal, g.x, g.dy, g.mean);
    for (((dscale, dbias), [product, sum]), var) in dscale.iter_mut().zip(dbias).zip(totals).zip(g.var) {
        (*dscale, *dbias) = ((product * reciprocal_deviation(*var, g.epsilon)) as f32, sum as f32);
    }
    Ok(())
}

impl NormGradient<'_> {
    /// Checks the operands, and results `[c]` of these lengths.
    fn check(&self, kernel: &'static str, results: &[(&'static str, usize)]) -> Result<(), ShapeError> {
        let (size, c) = (elements(&self.shape), self.shape[1]);
        let (mean, var) = (("mean", self.mean.len(), c), ("var", self.var.len(), c));
        check(kernel, &[mean, var, ("dy", self.dy.len(), size), ("x", self.x.len(), size)])?;
        results.iter().try_for_each(|&(name, len)| check(kernel, &[(name, len, c)]))
    }
}
