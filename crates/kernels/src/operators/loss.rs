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

/// The target of each row: its label, and the share of it that is spread over all classes; by weights of the classes where there are any.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// `[rows]`, each below the number of columns; a row with a negative one does not count.
    pub labels: &'a [f32],
    /// From 0 to below 1.
    pub smoothing: f64,
    /// `[cols]`.
    pub weights: Option<&'a [f32]>,
}

impl Targets<'_> {
    fn check(&self, kernel: &'static str, rows: usize, cols: usize) -> Result<(), ShapeError> {
        check_labels(kernel, rows, cols, self.labels)?;
        self.weights.map_or(Ok(()), |weights| check(kernel, &[("weights", weights.len(), cols)]))
    }

    fn weight(&self, class: usize) -> f32 {
        self.weights.map_or(1.0, |weights| weights[class])
    }

    /// The weight of all rows that count; 1 where none does.
    fn total(&self) -> f64 {
        let counted = self.labels.iter().filter(|&&label| label >= 0.0);
        let sum = total(counted.map(|&label| self.weight(label as usize)));
        if sum > 0.0 { sum } else { 1.0 }
    }
}

/// Mean negative log-likelihood: `-mean of log_probabilities[row, labels[row]]`; log-probabilities `[rows, cols]`. With smoothing a part of it
/// is that of all classes; with weights rows weigh as their labels do. Where no row counts it is 0.
pub fn nll_loss(
    rows: usize,
    cols: usize,
    log_probabilities: Elements<'_>,
    targets: Targets<'_>,
) -> Result<f32, ShapeError> {
    check("nll_loss", &[("log_probabilities", log_probabilities.len(), elements(&[rows, cols]))])?;
    targets.check("nll_loss", rows, cols)?;
    let counted = || targets.labels.iter().enumerate().filter(|(_, label)| **label >= 0.0);
    let picked: f64 = counted()
        .map(|(row, &label)| {
            let mut picked = [0.0];
            log_probabilities.unpack(row * cols + label as usize, &mut picked);
            f64::from(targets.weight(label as usize)) * f64::from(picked[0])
        })
        .sum();
    let mut sum = picked;
    if targets.smoothing > 0.0 {
        let spread: f64 = with_scratch(cols, |scratch| {
            counted()
                .map(|(row, _)| {
                    let row = log_probabilities.read(row * cols, cols, scratch).iter().enumerate();
                    row.map(|(class, &x)| f64::from(targets.weight(class)) * f64::from(x)).sum::<f64>()
                })
                .sum()
        });
        sum = (1.0 - targets.smoothing) * picked + targets.smoothing / cols as f64 * spread;
    }
    Ok((-sum / targets.total()) as f32)
}

/// Gradient of [`nll_loss`]: `-dloss / weight of all rows` times the row's target at each class, 0 in rows that do not count; dx
/// `[rows, cols]`.
pub fn nll_loss_grad(
    rows: usize,
    cols: usize,
    targets: Targets<'_>,
    dloss: f32,
    dx: &mut Output<'_>,
) -> Result<Counts, ShapeError> {
    check("nll_loss_grad", &[("dx", dx.len(), elements(&[rows, cols]))])?;
    targets.check("nll_loss_grad", rows, cols)?;
    let share = -dloss / targets.total() as f32;
    let (at_label, everywhere) = (1.0 - targets.smoothing as f32, (targets.smoothing / cols.max(1) as f64) as f32);
    Ok(dx.fill(cols, |start, dx| {
        dx.fill(0.0);
        let rows = dx.chunks_mut(cols).zip(&targets.labels[start / cols..]);
        for (dx, &label) in rows.filter(|(_, label)| **label >= 0.0) {
            if everywhere > 0.0 {
                dx.iter_mut().enumerate().for_each(|(class, dx)| *dx = share * everywhere * targets.weight(class));
            }
            dx[label as usize] += share * at_label * targets.weight(label as usize);
        }
    }))
}
