//! Matrix product against a direct loop.
#![allow(clippy::unwrap_used)]

mod common;

use bitbudget_formats::{Format, Overflow, round_slice};
use bitbudget_kernels::{Elements, Matmul, Output, matmul};
use common::{Packed, assert_close, numbers, out, same_for_any_threads};

#[test]
fn every_orientation() {
    let one = [(1, 1, 1), (3, 5, 7), (1, 300, 40), (300, 1, 40), (128, 100, 130), (520, 97, 33), (4, 6, 0), (0, 3, 2)];
    let several = [(3, 1, 1, 1), (5, 3, 5, 7), (2, 130, 40, 300), (20, 17, 33, 9), (3, 4, 6, 0), (0, 3, 2, 4)];
    for (count, m, n, k) in one.map(|(m, n, k)| (1, m, n, k)).into_iter().chain(several) {
        let (a, b, bias) = (numbers(count * m * k, 1), numbers(count * k * n, 2), numbers(n, 3));
        for (trans_a, trans_b) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut expected = vec![0.0f64; count * m * n];
            for (at, sum) in expected.iter_mut().enumerate() {
                let (matrix, i, j) = (at / (m * n), at / n % m, at % n);
                let (a, b) = (&a[matrix * m * k..], &b[matrix * k * n..]);
                *sum = (0..k)
                    .map(|l| {
                        let a = a[if trans_a { l * m + i } else { i * k + l }];
                        f64::from(a) * f64::from(b[if trans_b { j * k + l } else { l * n + j }])
                    })
                    .sum::<f64>()
                    + f64::from(bias[j]);
            }
            let mut c = vec![f32::NAN; count * m * n];
            matmul(
                &Matmul { count, trans_a, trans_b, m, n, k },
                a[..].into(),
                b[..].into(),
                Some(bias[..].into()),
                &mut out(&mut c),
            )
            .unwrap();
            assert_close(&c, &expected, 1e-5);
        }
    }
}

#[test]
fn packed_operands_and_results() {
    let formats = [Format::PAPER_HIGH, Format::PAPER_LOW_FORWARD, Format::PAPER_LOW_BACKWARD, Format::BF16];
    for ((count, m, n, k), format) in
        [(1, 3, 5, 7), (1, 128, 100, 513), (1, 150, 97, 33), (3, 7, 9, 5), (2, 33, 19, 270)]
            .into_iter()
            .flat_map(|s| formats.map(|f| (s, f)))
    {
        // Small whole numbers, so that sums are exact and the same in every arithmetic.
        let whole =
            |len, seed| Packed::of(format, &numbers(len, seed).iter().map(|x| (x * 4.0).round()).collect::<Vec<_>>());
        let (a, b, bias) = (whole(count * m * k, 1), whole(count * k * n, 2), whole(n, 3));
        for (trans_a, trans_b) in [(false, false), (false, true), (true, false), (true, true)] {
            let run = |packed, c: &mut Output| {
                let [a, b, bias] = [&a, &b, &bias].map(|operand| operand.elements(packed));
                matmul(&Matmul { count, trans_a, trans_b, m, n, k }, a, b, Some(bias), c).unwrap()
            };
            let (mut expected, mut found) = (vec![f32::NAN; count * m * n], vec![f32::NAN; count * m * n]);
            run(false, &mut out(&mut expected));
            run(true, &mut out(&mut found));
            assert_eq!(found, expected, "{format}");
            let counts = round_slice(format, Overflow::NotFinite, &mut expected);
            let mut packed = Packed::empty(format, count * m * n);
            assert_eq!(run(true, &mut packed.output(Overflow::NotFinite)), counts);
            assert_eq!(packed.codes(), Packed::of(format, &expected).codes(), "{format}");
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    for (count, m, n, k) in [(1, 500, 200, 100), (12, 50, 70, 100)] {
        let (a, b) = (numbers(count * m * k, 1), numbers(count * k * n, 2));
        same_for_any_threads(|| {
            let mut c = vec![0.0; count * m * n];
            let sizes = Matmul { count, trans_a: false, trans_b: true, m, n, k };
            matmul(&sizes, a[..].into(), b[..].into(), None, &mut out(&mut c)).unwrap();
            c
        });
    }
}

#[test]
fn wrong_lengths_are_errors() {
    let mut c = [0.0f32; 6];
    let matmul = |m, n, k, a: &[f32], b: &[f32], bias: Option<&[f32]>, c: &mut [f32]| {
        matmul(
            &Matmul { count: 1, trans_a: false, trans_b: false, m, n, k },
            a.into(),
            b.into(),
            bias.map(Elements::from),
            &mut out(c),
        )
    };
    assert!(matmul(2, 3, 1, &[1.0; 2], &[1.0; 3], None, &mut c).is_ok());
    assert!(matmul(2, 3, 1, &[1.0; 3], &[1.0; 3], None, &mut c).is_err());
    assert!(matmul(2, 3, 1, &[1.0; 2], &[1.0; 2], None, &mut c).is_err());
    assert!(matmul(2, 3, 1, &[1.0; 2], &[1.0; 3], Some(&[0.0; 2]), &mut c).is_err());
    assert!(matmul(usize::MAX, 3, 2, &[1.0; 2], &[1.0; 3], None, &mut c).is_err());
}
