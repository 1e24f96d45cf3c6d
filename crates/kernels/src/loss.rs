//! Softmax, cross-entropy and accuracy over rows of class scores.

use crate::error::{ShapeError, check, elements, geometry};
use crate::parallel::{fill_rows, rows_per_task};

/// Runs `f(row, y)` over the rows of `y`.
fn for_rows(cols: usize, y: &mut [f32], f: impl Fn(usize, &mut [f32]) + Sync + Send) {
    // An exponential costs about as much as moving sixteen numbers.
    fill_rows(y, rows_per_task(16 * cols) * cols, |start, y| {
        y.chunks_mut(cols).enumerate().for_each(|(i, y)| f(start / cols + i, y));
    });
}

/// The largest element, or NaN where there is one.
fn largest(x: &[f32]) -> f32 {
    x.iter().fold(f32::NEG_INFINITY, |max, &x| if x > max || x.is_nan() { x } else { max })
}

fn total(x: impl Iterator<Item = f32>) -> f64 {
    x.map(f64::from).sum()
}

/// Log-softmax over the columns; x and y `[rows, cols]`.
pub fn log_softmax(rows: usize, cols: usize, x: &[f32], y: &mut [f32]) -> Result<(), ShapeError> {
    let size = elements(&[rows, cols]);
    check("log_softmax", &[("x", x.len(), size), ("y", y.len(), size)])?;
    for_rows(cols, y, |row, y| {
        let x = &x[row * cols..][..cols];
        let max = largest(x);
        let log_sum = total(x.iter().map(|x| (x - max).exp())).ln() as f32;
        y.iter_mut().zip(x).for_each(|(y, x)| *y = x - max - log_sum);
    });
    Ok(())
}

/// Gradient of [`log_softmax`] from its output: `dx = dy - exp(y) * sum of dy over the row`; all `[rows, cols]`.
pub fn log_softmax_grad(rows: usize, cols: usize, dy: &[f32], y: &[f32], dx: &mut [f32]) -> Result<(), ShapeError> {
    let size = elements(&[rows, cols]);
    check("log_softmax_grad", &[("dy", dy.len(), size), ("y", y.len(), size), ("dx", dx.len(), size)])?;
    for_rows(cols, dx, |row, dx| {
        let (dy, y) = (&dy[row * cols..][..cols], &y[row * cols..][..cols]);
        let sum = total(dy.iter().copied()) as f32;
        dx.iter_mut().zip(dy).zip(y).for_each(|((dx, dy), y)| *dx = dy - y.exp() * sum);
    });
    Ok(())
}

/// Softmax over the columns; x and y `[rows, cols]`.
pub fn softmax(rows: usize, cols: usize, x: &[f32], y: &mut [f32]) -> Result<(), ShapeError> {
    let size = elements(&[rows, cols]);
    check("softmax", &[("x", x.len(), size), ("y", y.len(), size)])?;
    for_rows(cols, y, |row, y| {
        let x = &x[row * cols..][..cols];
        let max = largest(x);
        y.iter_mut().zip(x).for_each(|(y, x)| *y = (x - max).exp());
        let share = (1.0 / total(y.iter().copied())) as f32;
        y.iter_mut().for_each(|y| *y *= share);
    });
    Ok(())
}

/// Gradient of [`softmax`] from its output: `dx = y * (dy - sum of dy * y over the row)`; all `[rows, cols]`.
pub fn softmax_grad(rows: usize, cols: usize, dy: &[f32], y: &[f32], dx: &mut [f32]) -> Result<(), ShapeError> {
    let size = elements(&[rows, cols]);
    check("softmax_grad", &[("dy", dy.len(), size), ("y", y.len(), size), ("dx", dx.len(), size)])?;
    for_rows(cols, dx, |row, dx| {
        let (dy, y) = (&dy[row * cols..][..cols], &y[row * cols..][..cols]);
        let sum = total(dy.iter().zip(y).map(|(dy, y)| dy * y)) as f32;
        dx.iter_mut().zip(dy).zip(y).for_each(|((dx, dy), y)| *dx = y * (dy - sum));
    });
    Ok(())
}

fn check_labels(kernel: &'static str, rows: usize, cols: usize, labels: &[u32]) -> Result<(), ShapeError> {
    check(kernel, &[("labels", labels.len(), rows)])?;
    match labels.iter().position(|&label| label as usize >= cols) {
        None => Ok(()),
        Some(row) => Err(geometry(kernel, format!("row {row} has label {} but there are {cols} classes", labels[row]))),
    }
}

/// Mean negative log-likelihood: `-mean of log_probabilities[row, labels[row]]`; log-probabilities `[rows, cols]`,
/// labels `[rows]`, each below `cols`. No rows give NaN.
pub fn nll_loss(rows: usize, cols: usize, log_probabilities: &[f32], labels: &[u32]) -> Result<f32, ShapeError> {
    check("nll_loss", &[("log_probabilities", log_probabilities.len(), elements(&[rows, cols]))])?;
    check_labels("nll_loss", rows, cols, labels)?;
    let sum = total(labels.iter().enumerate().map(|(row, &label)| log_probabilities[row * cols + label as usize]));
    Ok((-sum / rows as f64) as f32)
}

/// Gradient of [`nll_loss`]: `-dloss / rows` at each row's label, else 0; dx `[rows, cols]`.
pub fn nll_loss_grad(rows: usize, cols: usize, labels: &[u32], dloss: f32, dx: &mut [f32]) -> Result<(), ShapeError> {
    check("nll_loss_grad", &[("dx", dx.len(), elements(&[rows, cols]))])?;
    check_labels("nll_loss_grad", rows, cols, labels)?;
    dx.fill(0.0);
    for (row, &label) in labels.iter().enumerate() {
        dx[row * cols + label as usize] = -dloss / rows as f32;
    }
    Ok(())
}
