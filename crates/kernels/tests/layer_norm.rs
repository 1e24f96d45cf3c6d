//! Normalisation of rows and its gradients against formulas in double precision, and on codes.
#![allow(clippy::unwrap_used)]

mod common;
mod stored;

use bitbudget_formats::{Counts, Overflow};
use bitbudget_kernels::*;
use common::{assert_close, bits, numbers, same_for_any_threads};
use stored::{FORMATS, Stored, same_as_unpacked};

const EPS: f32 = 1e-5;

/// Rows that are short, longer than a run of sums, and longer than a tile; fewer and more of them than a share has.
const SHAPES: [[usize; 2]; 8] = [[1, 1], [3, 4], [33, 7], [700, 65], [129, 768], [5, 2049], [3, 20_000], [0, 6]];

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// A row's normalised numbers, and the reciprocal of its deviation.
fn normalised(x: &[f64]) -> (Vec<f64>, f64) {
    let count = x.len() as f64;
    let mean = x.iter().sum::<f64>() / count;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    let factor = 1.0 / (variance + f64::from(EPS)).sqrt();
    (x.iter().map(|x| (x - mean) * factor).collect(), factor)
}

fn result(len: usize, kernel: impl FnOnce(&mut Output<'_>) -> Result<Counts, ShapeError>) -> Vec<f32> {
    let mut y = vec![f32::NAN; len];
    assert_eq!(kernel(&mut Output::from(&mut y[..])).unwrap(), Counts::default());
    y
}

fn grad_scale(shape: [usize; 2], dy: Elements<'_>, x: Elements<'_>) -> Vec<f32> {
    let mut dscale = vec![f32::NAN; shape[1]];
    let mut workspace = vec![f32::NAN; layer_norm_workspace(shape[0], shape[1])];
    layer_norm_grad_scale(shape, EPS, dy, x, &mut dscale, &mut workspace).unwrap();
    dscale
}

#[test]
fn results_and_gradients_are_those_of_double_precision() {
    for shape @ [rows, cols] in SHAPES {
        for offset in [0.0, 20.0] {
            let x: Vec<f32> = numbers(rows * cols, 5).iter().map(|x| x + offset).collect();
            let [dy, scale, bias] = [(rows * cols, 6), (cols, 7), (cols, 8)].map(|(len, seed)| numbers(len, seed));
            let [from_x, from_dy] = [&x, &dy].map(|numbers| Elements::from(&numbers[..]));
            let [from_scale, from_bias] = [&scale, &bias].map(|numbers| Elements::from(&numbers[..]));
            let (wide_x, wide_dy, wide_scale) = (wide(&x), wide(&dy), wide(&scale));
            let (mut y, mut dx, mut dscale) = (Vec::new(), Vec::new(), vec![0.0; cols]);
            for (x, dy) in wide_x.chunks(cols).zip(wide_dy.chunks(cols)) {
                let (z, factor) = normalised(x);
                let g: Vec<f64> = dy.iter().zip(&wide_scale).map(|(dy, scale)| dy * scale).collect();
                let mean = g.iter().sum::<f64>() / cols as f64;
                let product = g.iter().zip(&z).map(|(g, z)| g * z).sum::<f64>() / cols as f64;
                dx.extend(g.iter().zip(&z).map(|(g, z)| factor * (g - mean - z * product)));
                dscale.iter_mut().zip(dy).zip(&z).for_each(|((sum, dy), z)| *sum += dy * z);
                y.extend(z.iter().zip(&wide_scale).zip(wide(&bias)).map(|((z, scale), bias)| z * scale + bias));
            }
            let tolerance = 1e-6 * (1.0 + f64::from(offset));
            let found = result(x.len(), |y| layer_norm(shape, EPS, from_x, from_scale, Some(from_bias), y));
            assert_close(&found, &y, tolerance);
            let found = result(x.len(), |dx| layer_norm_grad_input(shape, EPS, from_dy, from_x, from_scale, dx));
            assert_close(&found, &dx, 4.0 * tolerance);
            assert_close(&grad_scale(shape, from_dy, from_x), &dscale, 4.0 * tolerance);
        }
    }
}

/// Numbers a thousand deviations from zero, where `mean(x^2) - mean(x)^2` has no digit left.
#[test]
fn far_from_zero_the_deviation_is_exact() {
    let x: Vec<f32> = numbers(768, 3).iter().map(|x| x + 1000.0).collect();
    let (z, _) = normalised(&wide(&x));
    let one = [1.0; 768];
    let y = result(768, |y| layer_norm([1, 768], EPS, (&x[..]).into(), (&one[..]).into(), None, y));
    // The mean itself has this last digit.
    assert_close(&y, &z, 1e-4);
    let size = |z: &[f64]| z.iter().map(|z| z * z).sum::<f64>().sqrt();
    assert!((size(&wide(&y)) / size(&z) - 1.0).abs() < 1e-6);
}

#[test]
fn a_nan_spoils_its_row_only() {
    let (x, one) = ([1.0, f32::NAN, 2.0, 3.0], [1.0; 2]);
    let y = result(4, |y| layer_norm([2, 2], EPS, (&x[..]).into(), (&one[..]).into(), None, y));
    assert!(y[..2].iter().all(|y| y.is_nan()) && y[2..].iter().all(|y| y.is_finite()), "{y:?}");
}

#[test]
fn wrong_sizes_are_errors() {
    let (x, mut y) = (numbers(12, 1), vec![0.0; 12]);
    let from = |len: usize| Elements::from(&x[..len]);
    let out = &mut Output::from(&mut y[..]);
    for (x, scale, bias) in [(11, 4, 4), (12, 3, 4), (12, 4, 5)] {
        assert!(layer_norm([3, 4], EPS, from(x), from(scale), Some(from(bias)), out).is_err());
    }
    assert!(layer_norm_grad_input([3, 4], EPS, from(12), from(12), from(3), out).is_err());
    assert!(layer_norm_grad_scale([3, 4], EPS, from(12), from(12), &mut [0.0; 4], &mut []).is_err());
}

#[test]
fn codes_give_what_their_numbers_give() {
    for shape @ [rows, cols] in SHAPES {
        let len = rows * cols;
        let operands = [(len, 1), (len, 2), (cols, 3), (cols, 4)].map(|(len, seed)| numbers(len, seed));
        let [x, _, scale, bias] = operands.clone();
        same_as_unpacked(&[x.clone(), scale.clone(), bias], len, |o, y| {
            layer_norm(shape, EPS, o[0], o[1], Some(o[2]), y)
        });
        same_as_unpacked(&[x, scale], len, |o, y| layer_norm(shape, EPS, o[0], o[1], None, y));
        same_as_unpacked(&operands[..3], len, |o, dx| layer_norm_grad_input(shape, EPS, o[0], o[1], o[2], dx));
        for format in FORMATS {
            let [dy, x] = [0, 1].map(|k| Stored::new(format, Overflow::Saturate, &operands[k]).0);
            let [of_dy, of_x] = [&dy, &x].map(Stored::numbers);
            let of_numbers = grad_scale(shape, (&of_dy[..]).into(), (&of_x[..]).into());
            assert_eq!(bits(&grad_scale(shape, dy.elements(), x.elements())), bits(&of_numbers), "{format}");
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let (shape, len) = ([500, 100], 500 * 100);
    let [x, dy, scale] = [(len, 1), (len, 2), (100, 3)].map(|(len, seed)| numbers(len, seed));
    same_for_any_threads(|| {
        let (x, dy, scale) = (Elements::from(&x[..]), Elements::from(&dy[..]), Elements::from(&scale[..]));
        let y = result(len, |y| layer_norm(shape, EPS, x, scale, None, y));
        let dx = result(len, |dx| layer_norm_grad_input(shape, EPS, dy, x, scale, dx));
        [y, dx, grad_scale(shape, dy, x)].concat()
    });
}
