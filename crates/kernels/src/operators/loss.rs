//! Softmax and cross-entropy over rows of class scores.

use bitbudget_formats::Counts;

use crate::error::{ShapeError, check, elements, geometry};
use crate::tensors::elements::{Elements, Output};
use crate::tensors::parallel::{rows_per_task, with_scratch};

/// Runs `f(rows of the operands, row of the result)` over the rows of `y`; all are shaped alike.
fn for_rows<const K: usize>(
    cols: usize,
    operands: [Elements<'_>; K],
    y: &mut Output<'_>,
    f: impl Fn([&[f32]; K], &mut [f32]) + Sync + Send,
) -> Counts {
    // An exponential costs about as much as moving sixteen numbers.
    let rows = rows_per_task(16 * cols) * cols;
    y.fill_tiles(rows, rows, |start, y| {
        with_scratch(K * cols, |scratch| {
            for (row, y) in y.chunks_mut(cols).enumerate() {
                let mut scratch = scratch.chunks_mut(cols);
                let operands = operands.map(|x| match scratch.next() {
                    Some(scratch) => x.read(start + row * cols, cols, scratch),
                    None => &[],
                });
                f(operands, y);
            }
        });
    })
}

/// The largest element, or NaN where there is one.
fn largest(x: &[f32]) -> f32 {
    x.iter().fold(f32::NEG_INFINITY, |max, &x| if x > max || x.is_nan() { x } else { max })
}

fn total(x: impl Iterator<Item = f32>) -> f64 {
    x.map(f64::from).sum()
}

/// Log-softmax over the columns; x and y `[rows, cols]`.
pub fn log_softmax(rows: usize, cols: usize, x: Elements<'_>, y: &mut Output<'_>) -> Result<Counts, ShapeError> {
    let size = elements(&[rows, cols]);
    check("log_softmax", &[("x", x.len(), size), ("y", y.len(), size)])?;
    Ok(for_rows(cols, [x], y, |[x], y| {
        let max = largest(x);
        let log_sum = total(x.iter().map(|x| (x - max).exp())).ln() as f32;
        y.iter_mut().zip(x).for_each(|(y, x)| *y = x - max - log_sum);
    }))
}

/// Gradient of [`log_softmax`] from its output: `dx = dy - exp(y) * sum of dy over the row`; all `[rows, cols]`.
pub fn log_softmax_grad(
    rows: usize,
    cols: usize,
    dy: Elements<'_>,
    y: Elements<'_>,
    dx: &mut Output<'_>,
) -> Result<Counts, ShapeError> {
    let size = elements(&[rows, cols]);
    check("log_softmax_grad", &[("dy", dy.len(), size), ("y", y.len(), size), ("dx", dx.len(), size)])?;
    Ok(for_rows(cols, [dy, y], dx, |[dy, y], dx| {
        let sum = total(dy.iter().copied()) as f32;
        dx.iter_mut().zip(dy).zip(y).for_each(|((dx, dy), y)| *dx = dy - y.exp() * sum);
    }))
}

/// Softmax over the columns; x and y `[rows, cols]`.
pub fn softmax(rows: usize, cols: usize, x: Elements<'_>, y: &mut Output<'_>) -> Result<Counts, ShapeError> {
    let size = elements(&[rows, cols]);
    check("softmax", &[("x", x.len(), size), ("y", y.len(), size)])?;
    Ok(for_rows(cols, [x], y, |[x], y| {
        let max = largest(x);
        y.iter_mut().zip(x).for_each(|(y, x)| *y = (x - max).exp());
        let share = (1.0 / total(y.iter().copied())) as f32;
        y.iter_mut().for_each(|y| *y *= share);
    }))
}

/// Gradient of [`softmax`] from its output: `dx = y * (dy - sum of dy * y over the row)`; all `[rows, cols]`.
pub fn softmax_grad(
    rows: usize,
    cols: usize,
    dy: Elements<'_>,
    y: Elements<'_>,
    dx: &mut Output<'_>,
) -> Result<Counts, ShapeError> {
    let size = elements(&[rows, cols]);
    check("softmax_grad", &[("dy", dy.len(), size), ("y", y.len(), size), ("dx", dx.len(), size)])?;
    Ok(for_rows(cols, [dy, y], dx, |[dy, y], dx| {
        let sum = total(dy.iter().zip(y).map(|(dy, y)| dy * y)) as f32;
        dx.iter_mut().zip(dy).zip(y).for_each(|((dx, dy), y)| *dx = y * (dy - sum));
    }))
}

fn check_labels(kernel: &'static str, rows: usize, cols: usize, labels: &[f32]) -> Result<(), ShapeError> {
    check(kernel, &[("labels", labels.len(), rows)])?;
    match labels.iter().position(|&label| label.is_nan() || label >= cols as f32) {
        None => Ok(()),
        Some(row) => Err(geometry(kernel, format!("row {row} has label {} but there are {cols} classes", labels[row]))),
    }
}

/// The rows that count: those whose label is not negative.
fn counted(labels: &[f32]) -> usize {
    labels.iter().filter(|&&label| label >= 0.0).count().max(1)
}

/// Mean negative log-likelihood: `-mean of log_probabilities[row, labels[row]]`; log-probabilities `[rows, cols]`,
/// labels `[rows]`, each below `cols`. Rows with a negative label do not count; where none do it is 0.
pub fn nll_loss(rows: usize, cols: usize, log_probabilities: Elements<'_>, labels: &[f32]) -> Result<f32, ShapeError> {
    check("nll_loss", &[("log_probabilities", log_probabilities.len(), elements(&[rows, cols]))])?;
    check_labels("nll_loss", rows, cols, labels)?;
    let rows_that_count = labels.iter().enumerate().filter(|(_, label)| **label >= 0.0);
    let sum = total(rows_that_count.map(|(row, &label)| {
        let mut picked = [0.0];
        log_probabilities.unpack(row * cols + label as usize, &mut picked);
        picked[0]
    }));
    Ok((-sum / counted(labels) as f64) as f32)
}

/// Gradient of [`nll_loss`]: `-dloss / counted rows` at each of these rows' labels, else 0; dx `[rows, cols]`.
pub fn nll_loss_grad(
    rows: usize,
    cols: usize,
    labels: &[f32],
    dloss: f32,
    dx: &mut Output<'_>,
) -> Result<Counts, ShapeError> {
    check("nll_loss_grad", &[("dx", dx.len(), elements(&[rows, cols]))])?;
    check_labels("nll_loss_grad", rows, cols, labels)?;
    let share = -dloss / counted(labels) as f32;
    Ok(dx.fill(cols, |start, dx| {
        dx.fill(0.0);
        let rows = dx.chunks_mut(cols).zip(&labels[start / cols..]);
        rows.filter(|(_, label)| **label >= 0.0).for_each(|(dx, &label)| dx[label as usize] = share);
    }))
}
