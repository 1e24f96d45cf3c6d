//! The standard formats agree with the crates `half` and `float8` on every code, tie, neighbour of a tie and on random
//! bits.
//!
//! `float8` only saturates, infinities included, which is the OCP specification's saturating mode; its other mode
//! (infinity in E5M2, NaN in E4M3) is tested against the specification's table. NaN is compared as NaN: its sign and
//! payload are not kept here.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own function fails the test")]

use bitbudget_formats::{Format, Overflow, pack_u8, pack_u16, unpack_u8, unpack_u16};
use float8::{F8E4M3, F8E5M2};
use half::{bf16, f16};

/// All values of a format, all midpoints between neighbours, the FP32 neighbours of both, and pseudo-random bits.
fn numbers(format: Format, values: &[f32]) -> Vec<f32> {
    let mut magnitudes: Vec<f32> = values.iter().copied().filter(|x| x.is_finite() && x.is_sign_positive()).collect();
    magnitudes.sort_by(f32::total_cmp);
    let next = 2.0 * f64::from(format.max_finite()) - f64::from(magnitudes[magnitudes.len() - 2]);
    magnitudes.push(next as f32);
    let ties: Vec<f32> = magnitudes.windows(2).map(|w| ((f64::from(w[0]) + f64::from(w[1])) / 2.0) as f32).collect();
    magnitudes.extend(ties);
    magnitudes.extend([f32::INFINITY, f32::MAX, f32::NAN, f32::from_bits(0x7f80_0001), f32::from_bits(1)]);
    let mut numbers: Vec<f32> = magnitudes.iter().flat_map(|x| [x.next_down(), *x, x.next_up()]).collect();
    let mut state = 7u64;
    numbers.extend((0..1_000_000).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f32::from_bits((state >> 32) as u32)
    }));
    numbers.iter().flat_map(|x| [*x, -x]).collect()
}

fn check_u16(format: Format, encode: fn(f32) -> u16, decode: fn(u16) -> f32) {
    let codes: Vec<u16> = (0..=u16::MAX).collect();
    let mut values = vec![0.0; codes.len()];
    unpack_u16(format, &codes, &mut values).unwrap();
    for (x, code) in std::iter::zip(&values, &codes) {
        let y = decode(*code);
        assert!(x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan(), "{format}: {code:#x}, {x:e}, {y:e}");
    }
    let numbers = numbers(format, &values);
    for overflow in [Overflow::NotFinite, Overflow::Saturate] {
        let mut codes = vec![0; numbers.len()];
        pack_u16(format, overflow, &numbers, &mut codes).unwrap();
        for (x, code) in std::iter::zip(&numbers, codes) {
            let expected = decode(encode(*x));
            if overflow == Overflow::Saturate && expected.is_infinite() {
                assert_eq!(decode(code), format.max_finite().copysign(*x));
            } else if x.is_nan() {
                assert!(decode(code).is_nan());
            } else {
                assert_eq!(code, encode(*x), "{format} {overflow:?}: {x:e}");
            }
        }
    }
}

fn check_u8(format: Format, encode: fn(f32) -> u8, decode: fn(u8) -> f32, not_finite: u8) {
    let codes: Vec<u8> = (0..=u8::MAX).collect();
    let mut values = vec![0.0; codes.len()];
    unpack_u8(format, &codes, &mut values).unwrap();
    for (x, code) in std::iter::zip(&values, &codes) {
        let y = decode(*code);
        assert!(x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan(), "{format}: {code:#x}, {x:e}, {y:e}");
    }
    let numbers = numbers(format, &values);
    for overflow in [Overflow::NotFinite, Overflow::Saturate] {
        let mut codes = vec![0; numbers.len()];
        let counts = pack_u8(format, overflow, &numbers, &mut codes).unwrap();
        let mut overflows = 0;
        for (x, code) in std::iter::zip(&numbers, codes) {
            overflows += u64::from(x.is_nan() || x.abs() >= format.overflow_threshold());
            if x.is_nan() {
                assert!(decode(code).is_nan());
            } else if overflow == Overflow::NotFinite && x.abs() >= format.overflow_threshold() {
                assert_eq!(code, not_finite | u8::from(x.is_sign_negative()) << 7, "{format}: {x:e}");
            } else {
                assert_eq!(code, encode(*x), "{format} {overflow:?}: {x:e}");
            }
        }
        assert_eq!(counts.overflow, overflows);
    }
}

#[test]
fn fp16_agrees_with_half() {
    check_u16(Format::FP16, |x| f16::from_f32(x).to_bits(), |code| f16::from_bits(code).to_f32());
}

#[test]
fn bf16_agrees_with_half() {
    check_u16(Format::BF16, |x| bf16::from_f32(x).to_bits(), |code| bf16::from_bits(code).to_f32());
}

#[test]
fn e4m3_agrees_with_float8() {
    check_u8(Format::E4M3, |x| F8E4M3::from_f32(x).to_bits(), |code| F8E4M3::from_bits(code).to_f32(), 0x7f);
}

#[test]
fn e5m2_agrees_with_float8() {
    check_u8(Format::E5M2, |x| F8E5M2::from_f32(x).to_bits(), |code| F8E5M2::from_bits(code).to_f32(), 0x7c);
}
