//! The largest or smallest element over axes, and its gradient.

use bitbudget_formats::Counts;
use rayon::prelude::*;

use crate::error::{ShapeError, check, elements, geometry};
use crate::tensors::elements::{Elements, Output};
use crate::tensors::parallel::{rows_per_task, with_scratch};
use crate::tensors::walk::{Walk, contiguous};

/// Elements that are unpacked at a time.
const BLOCK: usize = 4096;

/// The axes of a tensor, those that are reduced apart from the others.
struct Reduction {
    kept: Walk<1>,
    reduced: Walk<1>,
    /// Elements of the result.
    results: usize,
    /// Elements of the tensor for each of them.
    count: usize,
    least: bool,
}

impl Reduction {
    fn new(kernel: &'static str, shape: &[usize], axes: &[usize], least: bool) -> Result<Reduction, ShapeError> {
        if let Some(axis) = axes.iter().find(|&&axis| axis >= shape.len()) {
            return Err(geometry(kernel, format!("{shape:?} has no axis {axis}")));
        }
        let pick = |reduced: bool| -> (Vec<usize>, Vec<isize>) {
            let steps = contiguous(shape);
            let axes = (0..shape.len()).filter(|axis| axes.contains(axis) == reduced);
            axes.map(|axis| (shape[axis], steps[axis])).unzip()
        };
        let ((kept, kept_steps), (reduced, reduced_steps)) = (pick(false), pick(true));
        let (results, count) = (elements(&kept), elements(&reduced));
        let (kept, reduced) = (Walk::new(&kept, [&kept_steps], [0]), Walk::new(&reduced, [&reduced_steps], [0]));
        Ok(Reduction { kept, reduced, results, count, least })
    }

    /// Calls `f(position, first element of x)` for the results from `start` to `start + len`.
    fn each(&self, start: usize, len: usize, mut f: impl FnMut(usize, usize)) {
        let [step] = self.kept.inner();
        self.kept.runs(start, len, |position, [from], len| {
            (0..len).for_each(|i| f(position + i, from + i * step as usize));
        });
    }

    /// Folds over the elements of x that belong to the result whose first one is at `from`.
    fn fold(&self, x: Elements<'_>, from: usize, scratch: &mut [f32], start: f32, f: impl Fn(f32, f32) -> f32) -> f32 {
        let [step] = self.reduced.inner();
        let mut value = start;
        self.reduced.runs(0, self.count, |_, [offset], len| {
            for at in (0..len).step_by(BLOCK) {
                let numbers = &mut scratch[..BLOCK.min(len - at)];
                x.unpack_steps(from + offset + at * step as usize, step, numbers);
                value = numbers.iter().fold(value, |value, &x| f(value, x));
            }
        });
        value
    }

    /// The extremum of the elements that belong to the result whose first one is at `from`.
    fn extremum(&self, x: Elements<'_>, from: usize, scratch: &mut [f32]) -> f32 {
        let start = if self.least { f32::INFINITY } else { f32::NEG_INFINITY };
        self.fold(x, from, scratch, start, |best, x| {
            let is_better = if self.least { x < best } else { x > best };
            if is_better || x.is_nan() { x } else { best }
        })
    }

    fn scratch(&self) -> usize {
        BLOCK.min(self.count)
    }
}

/// The largest element over `axes` (ONNX `ReduceMax`), or the least (`ReduceMin`), a NaN if there is one: x has `shape`, y the sizes of
/// the other axes in order.
///
/// # Errors
/// If the shapes do not fit.
pub fn reduce_extremum(
    x: Elements<'_>,
    shape: &[usize],
    axes: &[usize],
    least: bool,
    y: &mut Output<'_>,
) -> Result<Counts, ShapeError> {
    let reduction = Reduction::new("reduce_extremum", shape, axes, least)?;
    check("reduce_extremum", &[("x", x.len(), elements(shape)), ("y", y.len(), reduction.results)])?;
    let task = rows_per_task(reduction.count);
    Ok(y.fill_tiles(task, task, |start, y| {
        with_scratch(reduction.scratch(), |scratch| {
            reduction.each(start, y.len(), |at, from| y[at] = reduction.extremum(x, from, scratch));
        });
    }))
}

/// Memory for [`reduce_extremum_grad`], in elements: the extrema, and what each of their elements gets of the gradient.
pub fn reduce_extremum_workspace(results: usize) -> usize {
    results.saturating_mul(2)
}

/// The gradient of [`reduce_extremum`]: dy where x is the extremum, shared equally among elements that are.
///
/// # Errors
/// If the shapes do not fit, or the workspace is not of [`reduce_extremum_workspace`].
pub fn reduce_extremum_grad(
    dy: Elements<'_>,
    x: Elements<'_>,
    shape: &[usize],
    axes: &[usize],
    least: bool,
    workspace: &mut [f32],
    dx: &mut Output<'_>,
) -> Result<Counts, ShapeError> {
    let kernel = "reduce_extremum_grad";
    let reduction = Reduction::new(kernel, shape, axes, least)?;
    let results = reduction.results;
    check(
        kernel,
        &[
            ("dy", dy.len(), results),
            ("x", x.len(), elements(shape)),
            ("dx", dx.len(), elements(shape)),
            ("workspace", workspace.len(), reduce_extremum_workspace(results)),
        ],
    )?;
    let (extrema, shares) = workspace.split_at_mut(results);
    let task = rows_per_task(reduction.count).max(1);
    extrema.par_chunks_mut(task).zip(shares.par_chunks_mut(task)).enumerate().for_each(|(piece, (extrema, shares))| {
        dy.unpack(piece * task, shares);
        with_scratch(reduction.scratch(), |scratch| {
            reduction.each(piece * task, extrema.len(), |at, from| {
                extrema[at] = reduction.extremum(x, from, scratch);
                let best = extrema[at];
                shares[at] /= reduction.fold(x, from, scratch, 0.0, |n, x| if x == best { n + 1.0 } else { n });
            });
        });
    });
    let kept: Vec<usize> = (0..shape.len()).map(|axis| if axes.contains(&axis) { 1 } else { shape[axis] }).collect();
    let steps = contiguous(&kept).into_iter().zip(&kept).map(|(step, &size)| if size == 1 { 0 } else { step });
    let walk = Walk::new(shape, [&steps.collect::<Vec<_>>()], [0]);
    let [step] = walk.inner();
    Ok(dx.fill(1, |start, dx| {
        x.unpack(start, dx);
        walk.runs(start, dx.len(), |position, [from], len| {
            for (i, dx) in dx[position..position + len].iter_mut().enumerate() {
                let at = from + i * step as usize;
                *dx = if *dx == extrema[at] { shares[at] } else { 0.0 };
            }
        });
    }))
}
