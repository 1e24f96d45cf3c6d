//! Losses against their formulas, and the finite check against unpacking.
#![allow(clippy::unwrap_used)]

mod common;
mod stored;

use bitbudget_formats::{Format, unpack_u8, unpack_u16};
use bitbudget_kernels::*;
use common::{assert_close, numbers, same_for_any_threads};
use stored::{FORMATS, Stored};

#[test]
fn softmax_and_its_gradients() {
    let (rows, cols) = (40, 37);
    let x: Vec<f32> = numbers(rows * cols, 1).iter().map(|x| 30.0 * x + 100.0).collect();
    let dy = numbers(rows * cols, 2);
    let (mut y, mut log_y, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()], vec![0.0; x.len()]);
    softmax(rows, cols, &x, &mut y).unwrap();
    log_softmax(rows, cols, &x, &mut log_y).unwrap();
    let mut oracle: (Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>) = Default::default();
    for (x, dy) in x.chunks(cols).zip(dy.chunks(cols)) {
        let total: f64 = x.iter().map(|&x| (f64::from(x) - 100.0).exp()).sum();
        let p: Vec<f64> = x.iter().map(|&x| (f64::from(x) - 100.0).exp() / total).collect();
        let dot: f64 = p.iter().zip(dy).map(|(p, &dy)| p * f64::from(dy)).sum();
        let sum: f64 = dy.iter().map(|&dy| f64::from(dy)).sum();
        oracle.0.extend(&p);
        oracle.1.extend(p.iter().map(|p| p.ln()));
        oracle.2.extend(p.iter().zip(dy).map(|(p, &dy)| p * (f64::from(dy) - dot)));
        oracle.3.extend(p.iter().zip(dy).map(|(p, &dy)| f64::from(dy) - p * sum));
    }
    assert_close(&y, &oracle.0, 1e-5);
    assert_close(&log_y, &oracle.1, 1e-5);
    softmax_grad(rows, cols, &dy, &y, &mut dx).unwrap();
    assert_close(&dx, &oracle.2, 1e-5);
    log_softmax_grad(rows, cols, &dy, &log_y, &mut dx).unwrap();
    assert_close(&dx, &oracle.3, 1e-4);
    assert!(softmax(3, 3, &x, &mut y).is_err());
}

#[test]
fn negative_log_likelihood() {
    let scores = [-1.0, -2.0, -3.0, -0.5, -0.5, -4.0];
    assert_eq!(nll_loss(2, 3, &scores, &[2, 0]).unwrap(), 1.75);
    let mut dx = [9.0; 6];
    nll_loss_grad(2, 3, &[2, 0], 4.0, &mut dx).unwrap();
    assert_eq!(dx, [0.0, 0.0, -2.0, -2.0, 0.0, 0.0]);
    let message = nll_loss(2, 3, &scores, &[2, 3]).unwrap_err().to_string();
    assert!(message.contains("row 1 has label 3") && message.contains("3 classes"), "{message}");
    assert!(nll_loss(2, 3, &scores, &[2]).is_err());
}

#[test]
fn finite_or_not() {
    let mut x = numbers(150_000, 1);
    x[7] = f32::MAX;
    assert!(all_finite(Elements::from(x.as_slice())) && all_finite(Elements::from([].as_slice())));
    for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for at in [0, 33, 149_999] {
            let mut x = x.clone();
            x[at] = bad;
            assert!(!all_finite(Elements::from(x.as_slice())));
        }
        assert!(!all_finite(Elements::from([1.0, bad].as_slice())));
    }
}

#[test]
fn every_code_is_finite_or_not_as_it_unpacks() {
    let odd = [Format::custom(4, 2, 0).unwrap(), Format::custom(8, 4, 0).unwrap(), Format::custom(8, 7, 0).unwrap()];
    for format in FORMATS.into_iter().chain(odd).chain([Format::E5M2]) {
        for code in 0..=u16::MAX >> (16 - format.bits().min(16)) {
            let mut number = [0.0];
            let (bytes, words) = ([code as u8], [code]);
            let x = match format.bytes() {
                1 => {
                    unpack_u8(format, &bytes, &mut number).unwrap();
                    Elements::u8(format, &bytes).unwrap()
                }
                2 => {
                    unpack_u16(format, &words, &mut number).unwrap();
                    Elements::u16(format, &words).unwrap()
                }
                _ => break,
            };
            assert_eq!(all_finite(x), number[0].is_finite(), "code {code:#x} of {format} is {}", number[0]);
        }
        // One code that is not finite among many that are.
        for at in [0, 33, 149_999] {
            let mut x = vec![1.0; 150_000];
            assert!(all_finite(Stored::of(format, &x).elements()));
            x[at] = f32::NAN;
            assert!(!all_finite(Stored::of(format, &x).elements()));
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let x = numbers(100_000, 1);
    same_for_any_threads(|| {
        let mut y = vec![0.0; x.len()];
        log_softmax(100, 1000, &x, &mut y).unwrap();
        y
    });
}
