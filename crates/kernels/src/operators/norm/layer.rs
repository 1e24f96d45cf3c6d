//! Normalisation of each row of `[rows, cols]`, and its gradients.
//!
//! Each kernel computes a row's statistics where it needs them: once a row is unpacked it lies in the cache, so that two more
//! passes over it cost less than statistics that are stored and read.

use bitbudget_formats::Counts;
use rayon::prelude::*;

use super::row::{Sums, row_sums};
use super::sums::Moments;
use crate::elementwise::normalize::reciprocal_deviation;
use crate::error::{ShapeError, check, elements};
use crate::tensors::elements::{Elements, Output, TILE};
use crate::tensors::parallel::{rows_per_task, with_scratch};
use crate::words::simd::{mul_add, multiversion};

/// Elements that are summed in single precision, in lanes.
const RUN: usize = 2048;
/// Rows that are summed one after the other in single precision.
const ROWS: usize = 16;
/// Shares of the rows that are summed side by side at most.
const SHARES: usize = 16;

/// Scratch memory of a thread for rows of `cols` elements, in elements: three operands of a row each, and the result's tile.
pub fn layer_norm_scratch(cols: usize) -> usize {
    // Each loan takes whole lines of the cache.
    cols.saturating_mul(3).saturating_add(cols.max(TILE)).saturating_add(64)
}

/// Memory for [`layer_norm_grad_scale`], in elements: the sums of each share of the rows.
pub fn layer_norm_workspace(rows: usize, cols: usize) -> usize {
    rows.div_ceil(rows_of_share(rows)).saturating_mul(cols)
}

/// Rows of a share: whole runs of [`ROWS`], twice as many at least.
fn rows_of_share(rows: usize) -> usize {
    rows.div_ceil(SHARES).next_multiple_of(ROWS).max(2 * ROWS)
}

/// A row's mean and the reciprocal of its deviation.
fn statistics(x: &[f32], epsilon: f32) -> [f64; 2] {
    let count = x.len() as f64;
    let sums = |sums: Sums, about: f32| {
        let runs = x.chunks(RUN).map(|x| row_sums(sums, x, x, about));
        runs.fold([0.0; 2], |[a, b], [more_a, more_b]| [a + more_a, b + more_b])
    };
    let pivot = (sums(Sums::Total, 0.0)[0] / count) as f32;
    let [deviations, squares] = sums(Sums::Deviations, pivot);
    let moments = Moments::about(f64::from(pivot), count, deviations, squares);
    [f64::from(moments.mean()), reciprocal_deviation(moments.variance(), epsilon)]
}

multiversion! {
    /// `y = (x - mean) * factor * scale + bias`.
    fn normalize(x: &[f32], mean: f32, factor: f32, scale: &[f32], bias: &[f32], y: &mut [f32]) {
        for (((y, x), scale), bias) in y.iter_mut().zip(x).zip(scale).zip(bias) {
            *y = mul_add::<FMA>((x - mean) * factor, *scale, *bias);
        }
    }
}

multiversion! {
    /// `g = dy * scale`.
    fn scaled(dy: &[f32], scale: &[f32], g: &mut [f32]) {
        g.iter_mut().zip(dy).zip(scale).for_each(|((g, dy), scale)| *g = dy * scale);
    }
}

multiversion! {
    /// `g = (g - mean of g) * factor + (x - mean) * by_x`.
    fn combine(x: &[f32], mean: f32, mean_of_g: f32, factor: f32, by_x: f32, g: &mut [f32]) {
        for (g, x) in g.iter_mut().zip(x) {
            *g = mul_add::<FMA>(x - mean, by_x, (*g - mean_of_g) * factor);
        }
    }
}

multiversion! {
    /// Adds `dy * (x - mean) * factor`.
    fn add_products(dy: &[f32], x: &[f32], mean: f32, factor: f32, sums: &mut [f32]) {
        for ((sum, dy), x) in sums.iter_mut().zip(dy).zip(x) {
            *sum = mul_add::<FMA>(*dy, (x - mean) * factor, *sum);
        }
    }
}

/// Runs `f(scratch of three rows, first row, rows of the result)` over runs of whole rows.
fn for_rows(cols: usize, y: &mut Output<'_>, f: impl Fn([&mut [f32]; 3], usize, &mut [f32]) + Sync + Send) -> Counts {
    if cols == 0 {
        return Counts::default();
    }
    let tile = (TILE / cols).max(1);
    let task = rows_per_task(cols).next_multiple_of(tile);
    y.fill_tiles(tile * cols, task * cols, |start, y| {
        with_scratch(3 * cols, |scratch| {
            let (first, rest) = scratch.split_at_mut(cols);
            let (second, third) = rest.split_at_mut(cols);
            f([first, second, third], start / cols, y);
        });
    })
}

/// Normalises each row: `y = (x - mean) / sqrt(variance + epsilon) * scale + bias` (ONNX `LayerNormalization`); x and y
/// `[rows, cols]`, scale and bias `[cols]`.
///
/// # Errors
/// If a size is wrong.
pub fn layer_norm(
    [rows, cols]: [usize; 2],
    epsilon: f32,
    x: Elements<'_>,
    scale: Elements<'_>,
    bias: Option<Elements<'_>>,
    y: &mut Output<'_>,
) -> Result<Counts, ShapeError> {
    let size = elements(&[rows, cols]);
    let of_bias = bias.map_or(cols, Elements::len);
    check(
        "layer_norm",
        &[("x", x.len(), size), ("scale", scale.len(), cols), ("bias", of_bias, cols), ("y", y.len(), size)],
    )?;
    Ok(for_rows(cols, y, |[own, of_scale, of_bias], first, y| {
        let scale = scale.read(0, cols, of_scale);
        let bias = match bias {
            Some(bias) => bias.read(0, cols, of_bias),
            None => {
                of_bias.fill(0.0);
                of_bias
            }
        };
        for (row, y) in y.chunks_mut(cols).enumerate() {
            let x = x.read((first + row) * cols, cols, own);
            let [mean, factor] = statistics(x, epsilon).map(|x| x as f32);
            normalize(x, mean, factor, scale, bias, y);
        }
    }))
}

/// Gradient of [`layer_norm`] by x: `(g - mean of g - z * mean of g * z) / sqrt(variance + epsilon)` with `g = dy * scale` and
/// the normalised x as z; dy, x and dx `[rows, cols]`, scale `[cols]`.
///
/// # Errors
/// If a size is wrong.
pub fn layer_norm_grad_input(
    [rows, cols]: [usize; 2],
    epsilon: f32,
    dy: Elements<'_>,
    x: Elements<'_>,
    scale: Elements<'_>,
    dx: &mut Output<'_>,
) -> Result<Counts, ShapeError> {
    let size = elements(&[rows, cols]);
    check(
        "layer_norm_grad_input",
        &[("dy", dy.len(), size), ("x", x.len(), size), ("scale", scale.len(), cols), ("dx", dx.len(), size)],
    )?;
    Ok(for_rows(cols, dx, |[of_dy, of_x, of_scale], first, dx| {
        let scale = scale.read(0, cols, of_scale);
        for (row, dx) in dx.chunks_mut(cols).enumerate() {
            let start = (first + row) * cols;
            let x = x.read(start, cols, of_x);
            scaled(dy.read(start, cols, of_dy), scale, dx);
            let [mean, factor] = statistics(x, epsilon);
            let runs = x.chunks(RUN).zip(dx.chunks(RUN));
            let sums = runs.map(|(x, g)| row_sums(Sums::ProductsAndTotal, x, g, mean as f32));
            let [products, total] = sums.fold([0.0; 2], |[a, b], [more_a, more_b]| [a + more_a, b + more_b]);
            let by_x = -factor.powi(3) * products / cols as f64;
            combine(x, mean as f32, (total / cols as f64) as f32, factor as f32, by_x as f32, dx);
        }
    }))
}

/// Gradient of [`layer_norm`] by its scale: the sum over the rows of `dy` times the normalised x; dy and x `[rows, cols]`,
/// dscale `[cols]`, workspace [`layer_norm_workspace`].
///
/// # Errors
/// If a size is wrong.
pub fn layer_norm_grad_scale(
    [rows, cols]: [usize; 2],
    epsilon: f32,
    dy: Elements<'_>,
    x: Elements<'_>,
    dscale: &mut [f32],
    workspace: &mut [f32],
) -> Result<(), ShapeError> {
    let size = elements(&[rows, cols]);
    let needed = layer_norm_workspace(rows, cols);
    check(
        "layer_norm_grad_scale",
        &[
            ("dy", dy.len(), size),
            ("x", x.len(), size),
            ("dscale", dscale.len(), cols),
            ("workspace", workspace.len().min(needed), needed),
        ],
    )?;
    if needed == 0 {
        dscale.fill(0.0);
        return Ok(());
    }
    let share = rows_of_share(rows);
    workspace[..needed].par_chunks_mut(cols).enumerate().with_max_len(1).for_each(|(index, sums)| {
        sums.fill(0.0);
        let end = rows.min((index + 1) * share);
        with_scratch(3 * cols, |scratch| {
            let (of_dy, rest) = scratch.split_at_mut(cols);
            let (of_x, some) = rest.split_at_mut(cols);
            for first in (index * share..end).step_by(ROWS) {
                some.fill(0.0);
                for row in first..end.min(first + ROWS) {
                    let x = x.read(row * cols, cols, of_x);
                    let [mean, factor] = statistics(x, epsilon).map(|x| x as f32);
                    add_products(dy.read(row * cols, cols, of_dy), x, mean, factor, some);
                }
                sums.iter_mut().zip(&*some).for_each(|(sum, some)| *sum += some);
            }
        });
    });
    for (column, dscale) in dscale.iter_mut().enumerate() {
        *dscale = workspace[column..needed].iter().step_by(cols).map(|x| f64::from(*x)).sum::<f64>() as f32;
    }
    Ok(())
}
