//! Elementwise functions, losses and optimizer updates against their formulas.
#![allow(clippy::unwrap_used)]

mod common;

use bitbudget_kernels::*;
use common::{assert_close, numbers, same_for_any_threads};

type Formula = (Unary, fn(f64) -> f64);

const FORMULAS: [Formula; 10] = [
    (Unary::Copy, |x| x),
    (Unary::Sqrt, f64::sqrt),
    (Unary::Exp, f64::exp),
    (Unary::Log, f64::ln),
    (Unary::Tanh, f64::tanh),
    (Unary::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
    (Unary::Relu, |x| x.max(0.0)),
    (Unary::LeakyRelu { alpha: 0.25 }, |x| if x > 0.0 { x } else { 0.25 * x }),
    (Unary::Clip { min: -0.5, max: 1.5 }, |x| x.clamp(-0.5, 1.5)),
    (Unary::Scale { by: -3.0 }, |x| -3.0 * x),
];

#[test]
fn unary_functions() {
    for (kind, f) in FORMULAS {
        for len in [0, 1, 17, 40_000] {
            let positive = matches!(kind, Unary::Sqrt | Unary::Log);
            let x: Vec<f32> = numbers(len, 1).iter().map(|x| if positive { x.abs() + 0.01 } else { 4.0 * x }).collect();
            let mut y = vec![f32::NAN; len];
            unary(kind, &x, &mut y).unwrap();
            assert_close(&y, &x.iter().map(|&x| f(f64::from(x))).collect::<Vec<_>>(), 1e-6);
        }
        let mut y = [0.0];
        unary(kind, &[f32::NAN], &mut y).unwrap();
        assert!(y[0].is_nan(), "{kind:?} hides a NaN");
    }
    assert!(unary(Unary::Relu, &[0.0; 2], &mut [0.0; 3]).is_err());
}

#[test]
fn gradients_at_and_around_the_kinks() {
    let dy = [1.0, 2.0, 3.0, 4.0, 5.0];
    let x = [-1.0, 0.0, 0.5, 1.0, 2.0];
    let mut dx = [9.0; 5];
    relu_grad(&dy, &x, &mut dx).unwrap();
    assert_eq!(dx, [0.0, 0.0, 3.0, 4.0, 5.0]);
    clip_grad(&dy, &x, 0.0, 1.0, &mut dx).unwrap();
    assert_eq!(dx, [0.0, 0.0, 3.0, 0.0, 0.0]);
    leaky_relu_grad(&dy, &x, 0.5, &mut dx).unwrap();
    assert_eq!(dx, [0.5, 1.0, 3.0, 4.0, 5.0]);
    assert!(relu_grad(&dy[1..], &x, &mut dx).is_err());
}

#[test]
fn binary_functions_and_sums() {
    let (a, b, c) = (numbers(40_000, 1), numbers(40_000, 2), numbers(40_000, 3));
    let wide = |f: fn(f64, f64) -> f64| -> Vec<f64> {
        a.iter().zip(&b).map(|(&a, &b)| f(f64::from(a), f64::from(b))).collect()
    };
    let mut y = vec![0.0; a.len()];
    type Formula = (Binary, fn(f64, f64) -> f64);
    let formulas: [Formula; 4] = [
        (Binary::Add, |a, b| a + b),
        (Binary::Sub, |a, b| a - b),
        (Binary::Mul, |a, b| a * b),
        (Binary::Div, |a, b| a / b),
    ];
    for (kind, f) in formulas {
        binary(kind, &a, &b, &mut y).unwrap();
        assert_close(&y, &wide(f), 1e-6);
    }
    sum(&[&a, &b, &c], &mut y).unwrap();
    assert!((0..a.len()).all(|i| y[i] == a[i] + b[i] + c[i]));
    sum(&[&a], &mut y).unwrap();
    assert_eq!(y, a);
    sum(&[], &mut y).unwrap();
    assert!(y.iter().all(|&y| y == 0.0));
    assert!(sum(&[&a, &b[1..]], &mut y).is_err());
}

#[test]
fn optimizer_updates() {
    let len = 20_000;
    let (p, v, g) = (numbers(len, 1), numbers(len, 2), numbers(len, 3));
    let m = numbers(len, 4);
    let squares: Vec<f32> = v.iter().map(|v| v * v).collect();
    let wide = |f: &dyn Fn(usize) -> f64| (0..len).map(f).collect::<Vec<f64>>();
    let f = |x: &[f32], i: usize| f64::from(x[i]);
    let mut out = vec![0.0; len];
    sgd_velocity(&v, &p, &g, 0.25, 0.9, 5e-4, &mut out).unwrap();
    assert_close(&out, &wide(&|i| 0.9 * f(&v, i) + 0.25 * f(&g, i) + 5e-4 * f(&p, i)), 1e-6);
    sgd_parameter(&p, &v, 0.1, &mut out).unwrap();
    assert_close(&out, &wide(&|i| f(&p, i) - 0.1 * f(&v, i)), 1e-6);
    adam_first_moment(&m, &g, 0.25, 0.9, &mut out).unwrap();
    assert_close(&out, &wide(&|i| 0.9 * f(&m, i) + 0.1 * 0.25 * f(&g, i)), 1e-6);
    adam_second_moment(&squares, &g, 0.25, 0.99, &mut out).unwrap();
    assert_close(&out, &wide(&|i| 0.99 * f(&squares, i) + 0.01 * (0.25 * f(&g, i)).powi(2)), 1e-6);
    adamw_parameter(&p, &m, &squares, 1e-3, 0.1, 1e-8, 0.19, 0.02, &mut out).unwrap();
    let expected = |i| {
        let step = 1e-3 * (f(&m, i) / 0.19) / ((f(&squares, i) / 0.02).sqrt() + 1e-8);
        f(&p, i) * (1.0 - 1e-3 * 0.1) - step
    };
    assert_close(&out, &wide(&expected), 1e-5);
    assert!(sgd_parameter(&p, &v[1..], 0.1, &mut out).is_err());
}

#[test]
fn finite_or_not() {
    let mut x = numbers(50_000, 1);
    x[7] = f32::MAX;
    assert!(all_finite(&x) && all_finite(&[]));
    for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for at in [0, 33, 49_999] {
            let mut x = x.clone();
            x[at] = bad;
            assert!(!all_finite(&x));
        }
        assert!(!all_finite(&[1.0, bad]));
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let (x, b) = (numbers(100_000, 1), numbers(100_000, 2));
    same_for_any_threads(|| {
        let (mut y, mut z) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        unary(Unary::Tanh, &x, &mut y).unwrap();
        sgd_velocity(&x, &b, &y, 0.5, 0.9, 0.1, &mut z).unwrap();
        [y, z].concat()
    });
}
