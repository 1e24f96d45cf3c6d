//! Batch normalisation against formulas in double precision, and its gradient against finite differences.
#![allow(clippy::unwrap_used)]

mod common;

use bitbudget_kernels::*;
use common::{assert_close, numbers, same_for_any_threads};

const EPS: f32 = 1e-5;

/// Sums over batch and space of `f(index, channel)`.
fn sums(n: usize, c: usize, s: usize, f: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let mut sums = vec![0.0; c];
    for i in 0..n * c * s {
        sums[i / s % c] += f(i, i / s % c);
    }
    sums
}

#[test]
fn statistics_are_exact_to_single_precision() {
    for (n, c, s) in [(1, 1, 1), (4, 3, 49), (128, 5, 1024), (3, 7, 20_000), (64, 200, 1)] {
        // Far from zero: the hard case for a variance.
        let x: Vec<f32> = numbers(n * c * s, 5).iter().map(|x| x + 20.0).collect();
        let m = (n * s) as f64;
        let (mut total, mut mean, mut var) = (vec![0.0; c], vec![0.0; c], vec![0.0; c]);
        channel_sum(n, c, s, &x, &mut total).unwrap();
        let oracle = sums(n, c, s, |i, _| f64::from(x[i]));
        assert_close(&total, &oracle, 1e-6);
        batch_mean(n, c, s, &x, &mut mean).unwrap();
        assert_close(&mean, &oracle.iter().map(|sum| sum / m).collect::<Vec<_>>(), 1e-6);
        batch_variance(n, c, s, &x, &mean, &mut var).unwrap();
        let squares = sums(n, c, s, |i, c| (f64::from(x[i]) - oracle[c] / m).powi(2) / m);
        assert_close(&var, &squares, 2e-6);
    }
}

/// Normalisation in double precision.
fn normalized(n: usize, c: usize, s: usize, x: &[f64], scale: &[f32], bias: &[f32]) -> Vec<f64> {
    let m = (n * s) as f64;
    let mean = sums(n, c, s, |i, _| x[i] / m);
    let var = sums(n, c, s, |i, c| (x[i] - mean[c]).powi(2) / m);
    let value = |(i, x): (usize, &f64)| {
        let c = i / s % c;
        (x - mean[c]) / (var[c] + f64::from(EPS)).sqrt() * f64::from(scale[c]) + f64::from(bias[c])
    };
    x.iter().enumerate().map(value).collect()
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let (n, c, s) = (3, 2, 5);
    let x = numbers(n * c * s, 1);
    let (scale, bias, dy) = (numbers(c, 2), numbers(c, 3), numbers(n * c * s, 4));
    let (mut mean, mut var, mut y) = (vec![0.0; c], vec![0.0; c], vec![0.0; x.len()]);
    batch_mean(n, c, s, &x, &mut mean).unwrap();
    batch_variance(n, c, s, &x, &mean, &mut var).unwrap();
    batch_normalize(n, c, s, &x, &mean, &var, &scale, &bias, EPS, &mut y).unwrap();
    let wide: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    assert_close(&y, &normalized(n, c, s, &wide, &scale, &bias), 1e-5);

    let (mut dscale, mut dbias, mut dx) = (vec![0.0; c], vec![0.0; c], vec![0.0; x.len()]);
    batch_norm_grad_scale(n, c, s, &dy, &x, &mean, &var, EPS, &mut dscale).unwrap();
    channel_sum(n, c, s, &dy, &mut dbias).unwrap();
    batch_norm_grad_input(n, c, s, &dy, &x, &mean, &var, &scale, &dscale, &dbias, EPS, &mut dx).unwrap();
    let loss = |x: &[f64], scale: &[f32]| -> f64 {
        normalized(n, c, s, x, scale, &bias).iter().zip(&dy).map(|(y, dy)| y * f64::from(*dy)).sum()
    };
    let h = 1e-5;
    let expected: Vec<f64> = (0..x.len())
        .map(|i| {
            let (mut up, mut down) = (wide.clone(), wide.clone());
            (up[i], down[i]) = (up[i] + h, down[i] - h);
            (loss(&up, &scale) - loss(&down, &scale)) / (2.0 * h)
        })
        .collect();
    assert_close(&dx, &expected, 1e-4);
    // The loss is linear in the scale.
    let expected: Vec<f64> = (0..c)
        .map(|i| {
            let mut up = scale.clone();
            up[i] += 1.0;
            loss(&wide, &up) - loss(&wide, &scale)
        })
        .collect();
    assert_close(&dscale, &expected, 1e-5);
}

#[test]
fn running_statistics() {
    let mut out = [0.0; 2];
    running_average(&[1.0, 2.0], &[3.0, 5.0], 0.1, 1.25, &mut out).unwrap();
    assert_close(&out, &[0.9 + 0.375, 1.8 + 0.625], 1e-6);
    assert!(running_average(&[1.0], &[3.0, 5.0], 0.1, 1.0, &mut out).is_err());
}

#[test]
fn bits_do_not_depend_on_threads() {
    let (n, c, s) = (16, 20, 300);
    let (x, dy, scale) = (numbers(n * c * s, 1), numbers(n * c * s, 2), numbers(c, 3));
    same_for_any_threads(|| {
        let (mut mean, mut var, mut dscale, mut dbias) = (vec![0.0; c], vec![0.0; c], vec![0.0; c], vec![0.0; c]);
        let mut dx = vec![0.0; x.len()];
        batch_mean(n, c, s, &x, &mut mean).unwrap();
        batch_variance(n, c, s, &x, &mean, &mut var).unwrap();
        batch_norm_grad_scale(n, c, s, &dy, &x, &mean, &var, EPS, &mut dscale).unwrap();
        channel_sum(n, c, s, &dy, &mut dbias).unwrap();
        batch_norm_grad_input(n, c, s, &dy, &x, &mean, &var, &scale, &dscale, &dbias, EPS, &mut dx).unwrap();
        [mean, var, dscale, dbias, dx].concat()
    });
}

#[test]
fn empty_and_wrong_lengths() {
    assert!(batch_normalize(0, 2, 3, &[], &[0.0; 2], &[1.0; 2], &[1.0; 2], &[0.0; 2], EPS, &mut []).is_ok());
    let mut out = [7.0; 2];
    channel_sum(4, 2, 0, &[], &mut out).unwrap();
    assert_eq!(out, [0.0; 2]);
    assert!(channel_sum(2, 2, 2, &[0.0; 7], &mut out).is_err());
    assert!(batch_mean(usize::MAX, 2, 2, &[0.0; 8], &mut out).is_err());
    assert!(
        batch_normalize(1, 2, 2, &[0.0; 4], &[0.0; 2], &[1.0; 2], &[1.0; 2], &[0.0; 1], EPS, &mut [0.0; 4]).is_err()
    );
}
