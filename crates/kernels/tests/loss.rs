//! Softmax and its loss against double precision, and on codes.
#![allow(clippy::unwrap_used)]

mod common;
mod stored;

use bitbudget_formats::{Counts, Format, Overflow};
use bitbudget_kernels::*;
use common::{assert_close, numbers, same_for_any_threads};
use stored::{FORMATS, Stored, same_as_unpacked};

fn result(len: usize, kernel: impl FnOnce(&mut Output<'_>) -> Result<Counts, ShapeError>) -> Vec<f32> {
    let mut y = vec![f32::NAN; len];
    assert_eq!(kernel(&mut Output::from(&mut y[..])).unwrap(), Counts::default());
    y
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// Softmax of every row in double precision.
fn probabilities(cols: usize, x: &[f32]) -> Vec<f64> {
    let row = |x: &[f32]| {
        let exps: Vec<f64> = x.iter().map(|x| f64::from(*x).exp()).collect();
        let sum: f64 = exps.iter().sum();
        exps.into_iter().map(move |e| e / sum)
    };
    x.chunks(cols).flat_map(row).collect()
}

#[test]
fn softmax_and_gradients() {
    let (rows, cols) = (37, 11);
    let x: Vec<f32> = numbers(rows * cols, 1).iter().map(|x| 30.0 * x + 100.0).collect();
    let dy = numbers(rows * cols, 2);
    let (from_x, from_dy) = (Elements::from(&x[..]), Elements::from(&dy[..]));
    let p = probabilities(cols, &x);
    let y = result(x.len(), |y| softmax(rows, cols, from_x, y));
    assert_close(&y, &p, 1e-5);
    let log_y = result(x.len(), |y| log_softmax(rows, cols, from_x, y));
    assert_close(&log_y, &p.iter().map(|p| p.ln()).collect::<Vec<_>>(), 1e-5);
    let (mut dx, mut log_dx) = (Vec::new(), Vec::new());
    for (p, dy) in p.chunks(cols).zip(wide(&dy).chunks(cols)) {
        let (dot, sum) = (p.iter().zip(dy).map(|(p, dy)| p * dy).sum::<f64>(), dy.iter().sum::<f64>());
        dx.extend(p.iter().zip(dy).map(|(p, dy)| p * (dy - dot)));
        log_dx.extend(p.iter().zip(dy).map(|(p, dy)| dy - p * sum));
    }
    let found = result(x.len(), |dx| softmax_grad(rows, cols, from_dy, Elements::from(&y[..]), dx));
    assert_close(&found, &dx, 1e-5);
    let found = result(x.len(), |dx| log_softmax_grad(rows, cols, from_dy, Elements::from(&log_y[..]), dx));
    assert_close(&found, &log_dx, 1e-4);
    assert!(softmax(3, 3, from_x, &mut Output::from(&mut y.clone()[..])).is_err());
}

/// Targets that are the labels alone.
fn hard(labels: &[f32]) -> Targets<'_> {
    Targets { labels, smoothing: 0.0, weights: None }
}

#[test]
fn smoothed_and_weighted_loss_and_its_gradient() {
    let (scores, labels) = ([-1.0, -2.0, -3.0, -4.0, -5.0, -6.0, 9.0, 9.0, 9.0], [2.0, 0.0, -1.0]);
    let targets = Targets { labels: &labels, smoothing: 0.3, weights: Some(&[1.0, 0.5, 2.0]) };
    let picked = 2.0 * 3.0 + 1.0 * 4.0;
    let spread = (1.0 + 0.5 * 2.0 + 2.0 * 3.0) + (4.0 + 0.5 * 5.0 + 2.0 * 6.0);
    let expected = (0.7 * picked + 0.1 * spread) / 3.0;
    assert!((nll_loss(3, 3, Elements::from(&scores[..]), targets).unwrap() - expected).abs() < 1e-6);
    let dx = result(9, |dx| nll_loss_grad(3, 3, targets, 3.0, dx));
    assert_close(&dx, &[-0.1, -0.05, -0.2 - 1.4, -0.1 - 0.7, -0.05, -0.2, 0.0, 0.0, 0.0].map(f64::from), 1e-6);
    let wrong = Targets { weights: Some(&[1.0]), ..targets };
    assert!(nll_loss(3, 3, Elements::from(&scores[..]), wrong).is_err());
}

#[test]
fn loss_and_its_gradient() {
    let (scores, labels) = ([-1.0, -2.0, -3.0, -4.0, -5.0, -6.0], [2.0, 0.0]);
    assert_eq!(nll_loss(2, 3, Elements::from(&scores[..]), hard(&labels)).unwrap(), 3.5);
    let dx = result(6, |dx| nll_loss_grad(2, 3, hard(&labels), 4.0, dx));
    assert_eq!(dx, [0.0, 0.0, -2.0, -2.0, 0.0, 0.0]);
    let error = nll_loss(2, 3, Elements::from(&scores[..]), hard(&[2.0, 3.0])).unwrap_err().to_string();
    assert!(error.contains("row 1 has label 3 but there are 3 classes"), "{error}");
    assert_eq!(nll_loss(0, 3, Elements::from(&[][..]), hard(&[])).unwrap(), 0.0);
    // A negative label does not count.
    assert_eq!(nll_loss(2, 3, Elements::from(&scores[..]), hard(&[2.0, -100.0])).unwrap(), 3.0);
    assert_eq!(result(6, |dx| nll_loss_grad(2, 3, hard(&[-1.0, 0.0]), 4.0, dx)), [0.0, 0.0, 0.0, -4.0, 0.0, 0.0]);
    assert!(nll_loss(2, 3, Elements::from(&scores[..]), hard(&[2.0])).is_err());
    assert!(nll_loss(2, 2, Elements::from(&scores[..]), hard(&labels)).is_err());
    let mut codes = [1; 6];
    let mut dx = Output::u8(Format::PAPER_LOW_BACKWARD, Overflow::NotFinite, &mut codes).unwrap();
    let counts = nll_loss_grad(2, 3, hard(&labels), 1e9, &mut dx).unwrap();
    assert_eq!(counts, Counts { overflow: 2, underflow: 0, not_finite: 0 });
    assert_eq!(codes, [0, 0, 0x80, 0x80, 0, 0]);
}

#[test]
fn a_nan_spoils_its_row_only() {
    let x = [1.0, f32::NAN, 2.0, 3.0];
    for kernel in [softmax, log_softmax] {
        let y = result(4, |y| kernel(2, 2, Elements::from(&x[..]), y));
        assert!(y[..2].iter().all(|y| y.is_nan()) && y[2..].iter().all(|y| y.is_finite()), "{y:?}");
    }
}

#[test]
fn codes_give_what_their_numbers_give() {
    for (rows, cols) in [(300, 10), (9, 1000), (2, 9000), (5, 0), (3, 1)] {
        let operands = [1, 2].map(|seed| numbers(rows * cols, seed).iter().map(|x| x * 9.0).collect::<Vec<_>>());
        let len = rows * cols;
        same_as_unpacked(&operands[..1], len, |x, y| softmax(rows, cols, x[0], y));
        same_as_unpacked(&operands[..1], len, |x, y| log_softmax(rows, cols, x[0], y));
        same_as_unpacked(&operands, len, |x, y| softmax_grad(rows, cols, x[0], x[1], y));
        same_as_unpacked(&operands, len, |x, y| log_softmax_grad(rows, cols, x[0], x[1], y));
        if cols > 0 {
            let labels: Vec<f32> = (0..rows).map(|row| (row * 7 % cols) as f32).collect();
            same_as_unpacked(&[], len, |_, dx| nll_loss_grad(rows, cols, hard(&labels), 1e5, dx));
            for format in FORMATS {
                let (x, _) = Stored::new(format, Overflow::Saturate, &operands[0]);
                let loss = nll_loss(rows, cols, x.elements(), hard(&labels)).unwrap();
                assert_eq!(loss, nll_loss(rows, cols, Elements::from(&x.numbers()[..]), hard(&labels)).unwrap());
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let x = numbers(500 * 100, 1);
    same_for_any_threads(|| result(x.len(), |y| log_softmax(500, 100, Elements::from(&x[..]), y)));
}
