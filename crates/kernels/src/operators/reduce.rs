//! Sums and means over axes, in an order that depends on the shape only: contiguous runs in single-precision vectors of
//! at most 64 additions per lane, everything else in double precision.

use bitbudget_formats::Counts;
use rayon::prelude::*;

use crate::error::{ShapeError, check, elements, geometry};
use crate::tensors::elements::{Elements, Output};
use crate::tensors::parallel::{CHUNK, rows_per_task, with_scratch};
use crate::tensors::walk::{Walk, contiguous};
use crate::words::simd::{multiversion, reduce2};

/// Columns that are summed side by side, at most, and at least where there are as many.
const COLUMNS: usize = 1024;
const FEWEST_COLUMNS: usize = 64;

/// Elements of a run that are summed in single precision, in lanes.
const BLOCK: usize = 4096;

multiversion! {
    fn block_sum(x: &[f32]) -> f64 {
        reduce2(x, x, |sum, x, _| sum + x)
    }
}

multiversion! {
    fn add_wide(x: &[f32], sums: &mut [f64]) {
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum += f64::from(*x);
        }
    }
}

/// The sum of `x` from `from` to `from + len`: sums of blocks, added up in order.
fn run_sum(x: Elements<'_>, from: usize, len: usize, scratch: &mut [f32]) -> f64 {
    (0..len).step_by(BLOCK).map(|at| block_sum(x.read(from + at, BLOCK.min(len - at), scratch))).sum()
}

/// [`run_sum`] of all of `x`, in parallel.
fn whole_sum(x: Elements<'_>) -> f64 {
    let task = |task: usize| -> Vec<f64> {
        let blocks = (task * CHUNK..x.len().min((task + 1) * CHUNK)).step_by(BLOCK);
        with_scratch(BLOCK, |scratch| {
            blocks.map(|at| block_sum(x.read(at, BLOCK.min(x.len() - at), scratch))).collect()
        })
    };
    let sums: Vec<Vec<f64>> = (0..x.len().div_ceil(CHUNK)).into_par_iter().map(task).collect();
    sums.iter().flatten().sum()
}

/// Sum over `axes` (ONNX `ReduceSum`): x has `shape`, y the sizes of the other axes in order.
pub fn reduce_sum(x: Elements<'_>, shape: &[usize], axes: &[usize], y: &mut Output<'_>) -> Result<Counts, ShapeError> {
    reduce("reduce_sum", x, shape, axes, |_| 1.0, y)
}

/// Mean over `axes` (ONNX `ReduceMean`): x has `shape`, y the sizes of the other axes in order.
pub fn reduce_mean(x: Elements<'_>, shape: &[usize], axes: &[usize], y: &mut Output<'_>) -> Result<Counts, ShapeError> {
    reduce("reduce_mean", x, shape, axes, |count| count as f64, y)
}

fn reduce(
    kernel: &'static str,
    x: Elements<'_>,
    shape: &[usize],
    axes: &[usize],
    divisor: impl Fn(usize) -> f64,
    y: &mut Output<'_>,
) -> Result<Counts, ShapeError> {
    if let Some(axis) = axes.iter().find(|&&axis| axis >= shape.len()) {
        return Err(geometry(kernel, format!("{shape:?} has no axis {axis}")));
    }
    let pick = |reduced: bool| -> (Vec<usize>, Vec<isize>) {
        let steps = contiguous(shape);
        (0..shape.len()).filter(|axis| axes.contains(axis) == reduced).map(|axis| (shape[axis], steps[axis])).unzip()
    };
    let ((kept, kept_steps), (reduced, reduced_steps)) = (pick(false), pick(true));
    check(kernel, &[("x", x.len(), elements(shape)), ("y", y.len(), elements(&kept))])?;
    let count = elements(&reduced);
    let divisor = divisor(count);
    let outer = Walk::new(&kept, [&kept_steps], [0]);
    let inner = Walk::new(&reduced, [&reduced_steps], [0]);
    if y.len() == 1 && count > CHUNK {
        let sum = whole_sum(x);
        return Ok(y.fill(1, |_, y| y.fill((sum / divisor) as f32)));
    }
    let side_by_side = outer.inner() == [1] && inner.inner() != [1];
    let task = match side_by_side {
        true => rows_per_task(count).max(FEWEST_COLUMNS),
        false => rows_per_task(count),
    };
    Ok(y.fill_tiles(task, task, |start, y| {
        outer.runs(start, y.len(), |position, [from], len| {
            let y = &mut y[position..position + len];
            if side_by_side {
                columns(x, from, &inner, count, divisor, y);
            } else {
                let [step] = outer.inner();
                rows(x, from, step as usize, &inner, count, divisor, y);
            }
        });
    }))
}

/// Reduces the columns that begin at `from`, side by side.
fn columns(x: Elements<'_>, from: usize, inner: &Walk<1>, count: usize, divisor: f64, y: &mut [f32]) {
    let mut sums = [0.0f64; COLUMNS];
    let [step] = inner.inner();
    with_scratch(COLUMNS, |scratch| {
        for (block, y) in y.chunks_mut(COLUMNS).enumerate() {
            let sums = &mut sums[..y.len()];
            sums.fill(0.0);
            inner.runs(0, count, |_, [offset], len| {
                for i in 0..len {
                    let at = from + offset + block * COLUMNS + i * step as usize;
                    add_wide(x.read(at, sums.len(), scratch), sums);
                }
            });
            y.iter_mut().zip(sums).for_each(|(y, sum)| *y = (*sum / divisor) as f32);
        }
    });
}

/// Reduces the rows that begin at `from`, `from + step` and so on.
fn rows(x: Elements<'_>, from: usize, step: usize, inner: &Walk<1>, count: usize, divisor: f64, y: &mut [f32]) {
    with_scratch(BLOCK.min(count), |scratch| {
        for (i, y) in y.iter_mut().enumerate() {
            let from = from + i * step;
            let mut sum = 0.0;
            inner.runs(0, count, |_, [offset], len| {
                sum += match inner.inner() {
                    [1] => run_sum(x, from + offset, len, scratch),
                    [step] => strided_sum(x, from + offset, step as usize, len, scratch),
                };
            });
            *y = (sum / divisor) as f32;
        }
    });
}

/// The sum of `len` elements that lie `step` apart, in double precision.
fn strided_sum(x: Elements<'_>, from: usize, step: usize, len: usize, scratch: &mut [f32]) -> f64 {
    let mut sum = 0.0;
    for at in (0..len).step_by(scratch.len().max(1)) {
        let count = scratch.len().min(len - at);
        let numbers = &mut scratch[..count];
        x.unpack_steps(from + at * step, step as isize, numbers);
        sum = numbers.iter().fold(sum, |sum, &x| sum + f64::from(x));
    }
    sum
}
