//! Batch normalisation against formulas in double precision, and its gradient against finite differences.
#![allow(clippy::unwrap_used)]

mod common;
mod stored;

use bitbudget_formats::Format;
use bitbudget_kernels::*;
use common::{assert_close, bits, numbers, same_for_any_threads};
use stored::{FORMATS, Stored};

const EPS: f32 = 1e-5;

/// `[n, c, s]`: rows that are short and long, whole and in parts, more and fewer images than a block takes.
const SHAPES: [[usize; 3]; 10] = [
    [1, 1, 1],
    [4, 3, 49],
    [128, 5, 1024],
    [3, 7, 20_000],
    [64, 200, 1],
    [35, 600, 16],
    [17, 70, 4],
    [16, 40, 255],
    [33, 9000, 1],
    [20, 33, 257],
];

/// Sums over batch and space of `f(index, channel)`.
fn sums([n, c, s]: [usize; 3], f: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let mut sums = vec![0.0; c];
    for i in 0..n * c * s {
        sums[i / s % c] += f(i, i / s % c);
    }
    sums
}

fn plain(x: &[f32]) -> Elements<'_> {
    Elements::from(x)
}

fn moments([n, c, s]: [usize; 3], x: Elements<'_>) -> [Vec<f32>; 2] {
    let (mut mean, mut var) = (vec![7.0; c], vec![7.0; c]);
    batch_moments(n, c, s, x, &mut mean, &mut var).unwrap();
    [mean, var]
}

#[test]
fn statistics_are_exact_to_single_precision() {
    for shape @ [n, c, s] in SHAPES {
        // Up to a thousand deviations from zero: the hard case for a variance.
        for offset in [0.0, 20.0, 600.0] {
            let x: Vec<f32> = numbers(n * c * s, 5).iter().map(|x| x + offset).collect();
            let m = (n * s) as f64;
            let (mut total, mut mean, mut var) = (vec![0.0; c], vec![0.0; c], vec![0.0; c]);
            channel_sum(n, c, s, plain(&x), &mut total).unwrap();
            let oracle = sums(shape, |i, _| f64::from(x[i]));
            let magnitudes = sums(shape, |i, _| f64::from(x[i].abs()));
            for ((total, oracle), magnitude) in total.iter().zip(&oracle).zip(magnitudes) {
                assert!(
                    (f64::from(*total) - oracle).abs() <= 2e-7 * magnitude,
                    "{total} where the oracle has {oracle}"
                );
            }
            batch_mean(n, c, s, plain(&x), &mut mean).unwrap();
            let means: Vec<f64> = oracle.iter().map(|sum| sum / m).collect();
            assert_close(&mean, &means, 1e-6);
            let squares = sums(shape, |i, c| (f64::from(x[i]) - means[c]).powi(2) / m);
            let [mean, one_pass] = moments(shape, plain(&x));
            assert_close(&mean, &means, 1e-7);
            assert_close(&one_pass, &squares, 1e-6);
            for (var, squares) in one_pass.iter().zip(&squares) {
                assert!((f64::from(*var) - squares).abs() <= 1e-6 * squares, "{var} where the oracle has {squares}");
            }
            batch_variance(n, c, s, plain(&x), &mean, &mut var).unwrap();
            assert_close(&var, &squares, 1e-6);
        }
    }
}

#[test]
fn moments_of_pieces_with_means_of_their_own() {
    // Every image has a mean of its own, and the first rows are like no other.
    for shape @ [n, c, s] in [[50, 6, 16], [50, 3, 400], [50, 40, 1]] {
        let noise = numbers(n * c * s, 3);
        let x: Vec<f32> = (0..n * c * s)
            .map(|i| noise[i] * 0.1 + 30.0 * (i / (c * s)) as f32 + if i % s < 2 && s > 2 { -500.0 } else { 0.0 })
            .collect();
        let m = (n * s) as f64;
        let means = sums(shape, |i, _| f64::from(x[i]) / m);
        let squares = sums(shape, |i, c| (f64::from(x[i]) - means[c]).powi(2) / m);
        let [mean, var] = moments(shape, plain(&x));
        assert_close(&mean, &means, 1e-6);
        assert_close(&var, &squares, 1e-6);
    }
}

/// Normalisation in double precision.
fn normalized(shape: [usize; 3], x: &[f64], scale: &[f32], bias: &[f32]) -> Vec<f64> {
    let [n, _, s] = shape;
    let m = (n * s) as f64;
    let mean = sums(shape, |i, _| x[i] / m);
    let var = sums(shape, |i, c| (x[i] - mean[c]).powi(2) / m);
    let value = |(i, x): (usize, &f64)| {
        let c = i / s % mean.len();
        (x - mean[c]) / (var[c] + f64::from(EPS)).sqrt() * f64::from(scale[c]) + f64::from(bias[c])
    };
    x.iter().enumerate().map(value).collect()
}

/// The gradients by scale, bias and input.
fn gradients(shape: [usize; 3], dy: &[f32], x: &[f32], scale: &[f32]) -> [Vec<f32>; 3] {
    let [n, c, s] = shape;
    let [mean, var] = moments(shape, plain(x));
    let (mut dscale, mut dbias, mut dx) = (vec![7.0; c], vec![7.0; c], vec![7.0; x.len()]);
    batch_norm_grad_sums(
        &NormGradient { shape: [n, c, s], dy: plain(dy), x: plain(x), mean: &mean, var: &var, epsilon: EPS },
        &mut dscale,
        &mut dbias,
    )
    .unwrap();
    let channels = [&mean, &var, scale, &dscale, &dbias].map(|x: &[f32]| Operand::Channel(plain(x)));
    let each = [dy, x].map(|x| Operand::Elements(plain(x)));
    let part = Part {
        function: Function::NormalizeGradInput { epsilon: EPS },
        operands: each.into_iter().chain(channels).collect(),
        rounding: None,
        output: Some(0),
    };
    chain(shape, &[part], &mut [Output::from(dx.as_mut_slice())]).unwrap();
    [dscale, dbias, dx]
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for shape @ [n, c, s] in [[3, 2, 5], [5, 3, 1], [2, 2, 16]] {
        let x = numbers(n * c * s, 1);
        let (scale, bias, dy) = (numbers(c, 2), numbers(c, 3), numbers(n * c * s, 4));
        let wide: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        let [dscale, dbias, dx] = gradients(shape, &dy, &x, &scale);
        let loss = |x: &[f64], scale: &[f32], bias: &[f32]| -> f64 {
            normalized(shape, x, scale, bias).iter().zip(&dy).map(|(y, dy)| y * f64::from(*dy)).sum()
        };
        let h = 1e-5;
        let expected: Vec<f64> = (0..x.len())
            .map(|i| {
                let (mut up, mut down) = (wide.clone(), wide.clone());
                (up[i], down[i]) = (up[i] + h, down[i] - h);
                (loss(&up, &scale, &bias) - loss(&down, &scale, &bias)) / (2.0 * h)
            })
            .collect();
        assert_close(&dx, &expected, 1e-4);
        // The loss is linear in scale and bias.
        let raised = |x: &[f32], i: usize| {
            let mut up = x.to_vec();
            up[i] += 1.0;
            up
        };
        let from = loss(&wide, &scale, &bias);
        let expected: Vec<f64> = (0..c).map(|i| loss(&wide, &raised(&scale, i), &bias) - from).collect();
        assert_close(&dscale, &expected, 1e-5);
        let expected: Vec<f64> = (0..c).map(|i| loss(&wide, &scale, &raised(&bias, i)) - from).collect();
        assert_close(&dbias, &expected, 1e-5);
    }
}

#[test]
fn fused_sums_are_those_of_single_kernels() {
    for [n, c, s] in SHAPES {
        let (dy, x, mean) = (numbers(n * c * s, 1), numbers(n * c * s, 2), numbers(c, 3));
        let var: Vec<f32> = numbers(c, 4).iter().map(|x| x.abs()).collect();
        let [mut dscale, mut dbias, mut single_scale, mut single_bias] = [(); 4].map(|()| vec![7.0; c]);
        let (dy, x) = (plain(&dy), plain(&x));
        batch_norm_grad_sums(
            &NormGradient { shape: [n, c, s], dy, x, mean: &mean, var: &var, epsilon: EPS },
            &mut dscale,
            &mut dbias,
        )
        .unwrap();
        batch_norm_grad_scale(
            &NormGradient { shape: [n, c, s], dy, x, mean: &mean, var: &var, epsilon: EPS },
            &mut single_scale,
        )
        .unwrap();
        channel_sum(n, c, s, dy, &mut single_bias).unwrap();
        assert_eq!((dscale, dbias), (single_scale, single_bias));
    }
}

/// Checks that means and variances computed by themselves are those of one pass, bit for bit.
fn check_single_statistics(shape @ [n, c, s]: [usize; 3], x: Elements<'_>, what: &str) {
    let [mean, var] = moments(shape, x);
    let (mut only_mean, mut only_var) = (vec![7.0; c], vec![7.0; c]);
    batch_mean(n, c, s, x, &mut only_mean).unwrap();
    batch_variance(n, c, s, x, &mean, &mut only_var).unwrap();
    assert_eq!(bits(&only_mean), bits(&mean), "means of {shape:?}, {what}");
    assert_eq!(bits(&only_var), bits(&var), "variances of {shape:?}, {what}");
}

#[test]
fn single_statistics_are_those_of_one_pass() {
    for shape @ [n, c, s] in SHAPES {
        let count = n * c * s;
        for offset in [0.0, 20.0, 600.0] {
            let x: Vec<f32> = numbers(count, 6).iter().map(|x| 3.0 * x + offset).collect();
            check_single_statistics(shape, plain(&x), "fp32");
            for format in FORMATS {
                let stored = Stored::of(format, &x);
                check_single_statistics(shape, stored.elements(), &format.to_string());
                check_single_statistics(shape, plain(&stored.numbers()), &format!("{format} simulated"));
            }
        }
        // One number that is not finite makes a channel's statistics so.
        for special in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX] {
            let mut x = numbers(count, 7);
            x[count / 2] = special;
            check_single_statistics(shape, plain(&x), "not finite");
        }
    }
}

#[test]
fn variances_about_other_numbers_are_larger_by_the_distance_squared() {
    let shape @ [n, c, s] = [35, 60, 16];
    let (x, center) = (numbers(n * c * s, 5), numbers(c, 6));
    let mut var = vec![7.0; c];
    batch_variance(n, c, s, plain(&x), &center, &mut var).unwrap();
    let count = (n * s) as f64;
    assert_close(&var, &sums(shape, |i, c| (f64::from(x[i]) - f64::from(center[c])).powi(2) / count), 1e-6);
}

#[test]
fn packed_operands_give_the_bits_of_unpacked_ones() {
    for shape @ [n, c, s] in SHAPES {
        for (i, format) in FORMATS.into_iter().enumerate() {
            let (x, dy) = (
                Stored::of(format, &numbers(n * c * s, 1)),
                Stored::of(FORMATS[(i + 1) % FORMATS.len()], &numbers(n * c * s, 2)),
            );
            let all = |x: Elements<'_>, dy: Elements<'_>| {
                let [mean, var] = moments(shape, x);
                let [mut sum, mut only_mean, mut only_var, mut scale, mut dscale, mut dbias] =
                    [(); 6].map(|()| vec![7.0; c]);
                channel_sum(n, c, s, x, &mut sum).unwrap();
                batch_mean(n, c, s, x, &mut only_mean).unwrap();
                batch_variance(n, c, s, x, &mean, &mut only_var).unwrap();
                batch_norm_grad_scale(
                    &NormGradient { shape: [n, c, s], dy, x, mean: &mean, var: &var, epsilon: EPS },
                    &mut scale,
                )
                .unwrap();
                batch_norm_grad_sums(
                    &NormGradient { shape: [n, c, s], dy, x, mean: &mean, var: &var, epsilon: EPS },
                    &mut dscale,
                    &mut dbias,
                )
                .unwrap();
                bits(&[mean, var, sum, only_mean, only_var, scale, dscale, dbias].concat())
            };
            assert_eq!(all(x.elements(), dy.elements()), all(plain(&x.numbers()), plain(&dy.numbers())), "{format}");
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    for shape @ [n, c, s] in [[40, 20, 300], [70, 300, 16]] {
        let (x, dy, scale) = (numbers(n * c * s, 1), numbers(n * c * s, 2), numbers(c, 3));
        let packed = Stored::of(Format::PAPER_LOW_FORWARD, &x);
        same_for_any_threads(|| {
            let [dscale, dbias, dx] = gradients(shape, &dy, &x, &scale);
            let [mean, var] = moments(shape, packed.elements());
            [mean, var, dscale, dbias, dx].concat()
        });
    }
}

#[test]
fn empty_and_wrong_lengths() {
    let mut out = [7.0; 2];
    channel_sum(4, 2, 0, plain(&[]), &mut out).unwrap();
    assert_eq!(out, [0.0; 2]);
    channel_sum(0, 2, 5, plain(&[]), &mut out).unwrap();
    assert_eq!(out, [0.0; 2]);
    for [n, s] in [[0, 5], [4, 0]] {
        let [mean, var] = moments([n, 2, s], plain(&[]));
        assert_eq!((mean.len(), var.len()), (2, 2));
    }
    assert!(channel_sum(2, 2, 2, plain(&[0.0; 7]), &mut out).is_err());
    assert!(batch_mean(usize::MAX, 2, 2, plain(&[0.0; 8]), &mut out).is_err());
    assert!(batch_moments(1, 2, 2, plain(&[0.0; 4]), &mut [0.0; 2], &mut [0.0; 1]).is_err());
    let (x, two) = (plain(&[0.0; 4]), [0.0; 2]);
    assert!(
        batch_norm_grad_sums(
            &NormGradient { shape: [1, 2, 2], dy: x, x, mean: &two, var: &two, epsilon: EPS },
            &mut out,
            &mut [0.0; 3]
        )
        .is_err()
    );
    assert!(
        batch_norm_grad_scale(
            &NormGradient { shape: [1, 2, 2], dy: x, x: plain(&[0.0; 5]), mean: &two, var: &two, epsilon: EPS },
            &mut out
        )
        .is_err()
    );
}
