//! Sums and means over axes, in an order that depends on the shape only: contiguous runs in single-precision vectors of
//! at most 64 additions per lane, everything else in double precision.

use crate::error::{ShapeError, check, elements, geometry};
use crate::parallel::{fill_rows, rows_per_task};
use crate::simd::{multiversion, reduce2};
use crate::walk::{Walk, contiguous};

/// Columns that are summed side by side.
const COLUMNS: usize = 1024;

multiversion! {
    fn run_sum(x: &[f32]) -> f64 {
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

/// Sum over `axes` (ONNX `ReduceSum`): x has `shape`, y the sizes of the other axes in order.
pub fn reduce_sum(x: &[f32], shape: &[usize], axes: &[usize], y: &mut [f32]) -> Result<(), ShapeError> {
    reduce("reduce_sum", x, shape, axes, |_| 1.0, y)
}

/// Mean over `axes` (ONNX `ReduceMean`): x has `shape`, y the sizes of the other axes in order.
pub fn reduce_mean(x: &[f32], shape: &[usize], axes: &[usize], y: &mut [f32]) -> Result<(), ShapeError> {
    reduce("reduce_mean", x, shape, axes, |count| count as f64, y)
}

fn reduce(
    kernel: &'static str,
    x: &[f32],
    shape: &[usize],
    axes: &[usize],
    divisor: impl Fn(usize) -> f64,
    y: &mut [f32],
) -> Result<(), ShapeError> {
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
    let side_by_side = outer.inner() == [1] && inner.inner() != [1];
    fill_rows(y, rows_per_task(count), |start, y| {
        let mut sums = [0.0f64; COLUMNS];
        outer.runs(start, y.len(), |position, [from], len| {
            let y = &mut y[position..position + len];
            if side_by_side {
                for (block, y) in y.chunks_mut(COLUMNS).enumerate() {
                    let sums = &mut sums[..y.len()];
                    sums.fill(0.0);
                    inner.runs(0, count, |_, [offset], len| {
                        for i in 0..len {
                            let at = (from + offset + block * COLUMNS) as isize + i as isize * inner.inner()[0];
                            add_wide(&x[at as usize..][..sums.len()], sums);
                        }
                    });
                    y.iter_mut().zip(sums).for_each(|(y, sum)| *y = (*sum / divisor) as f32);
                }
            } else {
                let [step] = outer.inner();
                for (i, y) in y.iter_mut().enumerate() {
                    let from = from + i * step as usize;
                    let mut sum = 0.0;
                    inner.runs(0, count, |_, [offset], len| {
                        let x = &x[from + offset..];
                        sum += match inner.inner() {
                            [1] => run_sum(&x[..len]),
                            [step] => x.iter().step_by(step as usize).take(len).map(|&x| f64::from(x)).sum(),
                        };
                    });
                    *y = (sum / divisor) as f32;
                }
            }
        });
    });
    Ok(())
}
