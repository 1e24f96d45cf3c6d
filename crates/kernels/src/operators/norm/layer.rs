//! Normalisation of each row of `[rows, cols]`, and its gradients.
//!
//! Each kernel computes a row's statistics where it needs them: once a row is unpacked it lies in the cache, so that two more
//! passes over it cost less than statistics that are stored and read.

use bitbudget_formats::Counts;
use rayon::prelude::*;

use super::row::{LANES, lane_sum};
use crate::error::{ShapeError, check, elements};
use crate::tensors::elements::{Elements, Output, TILE};
use crate::tensors::parallel::{rows_per_task, with_scratch};
use crate::words::simd::{mul_add, multiversion};

/// Elements that are summed in single precision, in lanes.
const RUN: usize = 2048;
/// Elements that are unpacked at a time, where a row has fewer.
const PIECE: usize = 1024;
/// Rows that are summed one after the other in single precision.
const ROWS: usize = 16;
/// Shares of the rows that are summed side by side at most.
const SHARES: usize = 16;

/// Scratch memory of a thread for rows of `cols` elements, in elements: two operands' pieces, two more rows, and the result's tile.
pub fn layer_norm_scratch(cols: usize) -> usize {
    // Each loan takes whole lines of the cache.
    let pieces = cols.max(PIECE).saturating_mul(2);
    pieces.saturating_add(cols.saturating_mul(2)).saturating_add(cols.max(TILE)).saturating_add(64)
}

/// Memory for [`layer_norm_grad_scale`], in elements: the sums of each share of the rows.
pub fn layer_norm_workspace(rows: usize, cols: usize) -> usize {
    rows.div_ceil(rows_of_share(rows)).saturating_mul(cols)
}

/// Rows of a share: whole runs of [`ROWS`], two at least.
fn rows_of_share(rows: usize) -> usize {
    rows.div_ceil(SHARES).next_multiple_of(ROWS).max(2 * ROWS)
}

/// Rows of a piece.
fn rows_of_piece(cols: usize) -> usize {
    (PIECE / cols.max(1)).max(1)
}

/// Two sums over three slices of one length: in lanes over each run, in double precision above.
#[inline(always)]
fn sums(a: &[f32], b: &[f32], c: &[f32], add: impl Fn([f32; 2], [f32; 3]) -> [f32; 2]) -> [f64; 2] {
    let mut totals = [0.0; 2];
    for ((a, b), c) in a.chunks(RUN).zip(b.chunks(RUN)).zip(c.chunks(RUN)) {
        let (mut first, mut second) = ([0.0f32; LANES], [0.0f32; LANES]);
        let ((a, a_rest), (b, b_rest), (c, c_rest)) =
            (a.as_chunks::<LANES>(), b.as_chunks::<LANES>(), c.as_chunks::<LANES>());
        for ((a, b), c) in a.iter().zip(b).zip(c) {
            for i in 0..LANES {
                [first[i], second[i]] = add([first[i], second[i]], [a[i], b[i], c[i]]);
            }
        }
        for (i, ((a, b), c)) in a_rest.iter().zip(b_rest).zip(c_rest).enumerate() {
            [first[i], second[i]] = add([first[i], second[i]], [*a, *b, *c]);
        }
        totals[0] += lane_sum(&first);
        totals[1] += lane_sum(&second);
    }
    totals
}

/// A row's mean and the reciprocal of its deviation, from sums about a number near the mean.
#[inline(always)]
fn statistics<const FMA: bool>(x: &[f32], epsilon: f32) -> [f64; 2] {
    let share = 1.0 / x.len() as f64;
    let pivot = (sums(x, x, x, |[total, none], [x, ..]| [total + x, none])[0] * share) as f32;
    let about = |[deviations, squares]: [f32; 2], [x, ..]: [f32; 3]| {
        [deviations + (x - pivot), mul_add::<FMA>(x - pivot, x - pivot, squares)]
    };
    let [deviation, square] = sums(x, x, x, about).map(|sum| sum * share);
    let variance = (square - deviation * deviation).max(0.0);
    [f64::from(pivot) + deviation, 1.0 / (variance + f64::from(epsilon)).sqrt()]
}

multiversion! {
    /// `y = (x - mean) * factor * scale + bias` in each row.
    fn normalize_rows(x: &[f32], epsilon: f32, scale: &[f32], bias: &[f32], y: &mut [f32]) {
        for (x, y) in x.chunks_exact(scale.len()).zip(y.chunks_exact_mut(scale.len())) {
            let [mean, factor] = statistics::<FMA>(x, epsilon).map(|x| x as f32);
            for (((y, x), scale), bias) in y.iter_mut().zip(x).zip(scale).zip(bias) {
                *y = mul_add::<FMA>((x - mean) * factor, *scale, *bias);
            }
        }
    }
}

multiversion! {
    /// The gradient by x of each row.
    fn grad_rows(dy: &[f32], x: &[f32], epsilon: f32, scale: &[f32], dx: &mut [f32]) {
        let cols = scale.len();
        for ((dy, x), dx) in dy.chunks_exact(cols).zip(x.chunks_exact(cols)).zip(dx.chunks_exact_mut(cols)) {
            let [mean, factor] = statistics::<FMA>(x, epsilon);
            let about = mean as f32;
            let [products, total] = sums(dy, x, scale, |[products, total], [dy, x, scale]| {
                let g = dy * scale;
                [mul_add::<FMA>(g, x - about, products), total + g]
            });
            let (of_g, by_x) = (total / cols as f64, -factor.powi(3) * products / cols as f64);
            let (of_g, by_x, factor) = (of_g as f32, by_x as f32, factor as f32);
            for (((dx, dy), x), scale) in dx.iter_mut().zip(dy).zip(x).zip(scale) {
                *dx = mul_add::<FMA>(x - about, by_x, (dy * scale - of_g) * factor);
            }
        }
    }
}

multiversion! {
    /// Adds `dy` times the normalised x of each row.
    fn add_products(dy: &[f32], x: &[f32], epsilon: f32, sums: &mut [f32]) {
        for (dy, x) in dy.chunks_exact(sums.len()).zip(x.chunks_exact(sums.len())) {
            let [mean, factor] = statistics::<FMA>(x, epsilon).map(|x| x as f32);
            for ((sum, dy), x) in sums.iter_mut().zip(dy).zip(x) {
                *sum = mul_add::<FMA>(*dy, (x - mean) * factor, *sum);
            }
        }
    }
}

/// Runs `f` over pieces of whole rows of the result, each with its first element. `prepare` fills two rows of scratch
/// memory beforehand; two pieces of scratch memory are for operands.
fn for_rows(
    cols: usize,
    y: &mut Output<'_>,
    prepare: impl Fn([&mut [f32]; 2]) + Sync + Send,
    f: impl Fn([&[f32]; 2], [&mut [f32]; 2], usize, &mut [f32]) + Sync + Send,
) -> Counts {
    if cols == 0 {
        return Counts::default();
    }
    let piece = rows_of_piece(cols) * cols;
    let tile = (TILE / cols).max(1);
    let task = rows_per_task(cols).next_multiple_of(tile);
    y.fill_tiles(tile * cols, task * cols, |start, y| {
        with_scratch(2 * cols + 2 * piece, |scratch| {
            let (rows, pieces) = scratch.split_at_mut(2 * cols);
            let (scale, bias) = rows.split_at_mut(cols);
            let (first, second) = pieces.split_at_mut(piece);
            prepare([&mut *scale, &mut *bias]);
            for (at, y) in y.chunks_mut(piece).enumerate() {
                f([&*scale, &*bias], [&mut *first, &mut *second], start + at * piece, y);
            }
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
    let prepare = |[of_scale, of_bias]: [&mut [f32]; 2]| {
        scale.unpack(0, of_scale);
        match bias {
            Some(bias) => bias.unpack(0, of_bias),
            None => of_bias.fill(0.0),
        }
    };
    Ok(for_rows(cols, y, prepare, |[scale, bias], [own, _], start, y| {
        normalize_rows(x.read(start, y.len(), own), epsilon, scale, bias, y);
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
    let prepare = |[of_scale, _]: [&mut [f32]; 2]| scale.unpack(0, of_scale);
    Ok(for_rows(cols, dx, prepare, |[scale, _], [of_dy, of_x], start, dx| {
        grad_rows(dy.read(start, dx.len(), of_dy), x.read(start, dx.len(), of_x), epsilon, scale, dx);
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
        let piece = rows_of_piece(cols);
        with_scratch(cols + 2 * piece * cols, |scratch| {
            let (some, pieces) = scratch.split_at_mut(cols);
            let (of_dy, of_x) = pieces.split_at_mut(piece * cols);
            for first in (index * share..end).step_by(ROWS) {
                some.fill(0.0);
                let last = end.min(first + ROWS);
                for row in (first..last).step_by(piece) {
                    let (start, len) = (row * cols, piece.min(last - row) * cols);
                    add_products(dy.read(start, len, of_dy), x.read(start, len, of_x), epsilon, some);
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
