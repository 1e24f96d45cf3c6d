//! Matrix product against a direct loop.
#![allow(clippy::unwrap_used)]

mod common;

use bitbudget_formats::{Format, Overflow, round_slice};
use bitbudget_kernels::{Elements, Matmul, Output, matmul};
use common::{Packed, assert_close, numbers, out, same_for_any_threads};

#[test]
fn every_orientation() {
    for (m, n, k) in
        [(1, 1, 1), (3, 5, 7), (1, 300, 40), (300, 1, 40), (128, 100, 130), (520, 97, 33), (4, 6, 0), (0, 3, 2)]
    {
        let (a, b, bias) = (numbers(m * k, 1), numbers(k * n, 2), numbers(n, 3));
        for (trans_a, trans_b) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut expected = vec![0.0f64; m * n];
            for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                expected[i * n + j] = (0..k)
                    .map(|l| {
                        let a = a[if trans_a { l * m + i } else { i * k + l }];
                        f64::from(a) * f64::from(b[if trans_b { j * k + l } else { l * n + j }])
                    })
                    .sum::<f64>()
                    + f64::from(bias[j]);
            }
            let mut c = vec![f32::NAN; m * n];
            matmul(
                &Matmul { trans_a, trans_b, m, n, k },
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
    for ((m, n, k), format) in
        [(3, 5, 7), (128, 100, 513), (150, 97, 33)].into_iter().flat_map(|s| formats.map(|f| (s, f)))
    {
        // Small whole numbers, so that sums are exact and the same in every arithmetic.
        let whole =
            |len, seed| Packed::of(format, &numbers(len, seed).iter().map(|x| (x * 4.0).round()).collect::<Vec<_>>());
        let (a, b, bias) = (whole(m * k, 1), whole(k * n, 2), whole(n, 3));
        for (trans_a, trans_b) in [(false, false), (false, true), (true, false), (true, true)] {
            let run = |packed, c: &mut Output| {
                let [a, b, bias] = [&a, &b, &bias].map(|operand| operand.elements(packed));
                matmul(&Matmul { trans_a, trans_b, m, n, k }, a, b, Some(bias), c).unwrap()
            };
            let (mut expected, mut found) = (vec![f32::NAN; m * n], vec![f32::NAN; m * n]);
            run(false, &mut out(&mut expected));
            run(true, &mut out(&mut found));
            assert_eq!(found, expected, "{format}");
            let counts = round_slice(format, Overflow::NotFinite, &mut expected);
            let mut packed = Packed::empty(format, m * n);
            assert_eq!(run(true, &mut packed.output(Overflow::NotFinite)), counts);
            assert_eq!(packed.codes(), Packed::of(format, &expected).codes(), "{format}");
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let (a, b) = (numbers(500 * 100, 1), numbers(100 * 200, 2));
    same_for_any_threads(|| {
        let mut c = vec![0.0; 500 * 200];
        matmul(
            &Matmul { trans_a: false, trans_b: true, m: 500, n: 200, k: 100 },
            a[..].into(),
            b[..].into(),
            None,
            &mut out(&mut c),
        )
        .unwrap();
        c
    });
}

#[test]
fn wrong_lengths_are_errors() {
    let mut c = [0.0f32; 6];
    let matmul = |m, n, k, a: &[f32], b: &[f32], bias: Option<&[f32]>, c: &mut [f32]| {
        matmul(
            &Matmul { trans_a: false, trans_b: false, m, n, k },
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
