//! The finite check against unpacking.
#![allow(clippy::unwrap_used)]

mod common;
mod stored;

use bitbudget_formats::{Format, unpack_u8, unpack_u16};
use bitbudget_kernels::*;
use common::numbers;
use stored::{FORMATS, Stored};

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
