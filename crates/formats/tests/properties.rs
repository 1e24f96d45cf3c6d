//! Laws that hold for every format.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own function fails the test")]

use bitbudget_formats::{
    CodecError, Counts, Format, Overflow, Rounder, pack_u8, pack_u16, round_slice, unpack_u8, unpack_u16,
};
use proptest::prelude::*;

fn formats() -> impl Strategy<Value = Format> {
    let custom = (2u32..=8, 1u32..=13, -126i32..=126).prop_map(|(e, m, b)| {
        let (least, most) = if e == 8 { (0, 0) } else { ((1 << (e - 1)) - 127, 128 - (1 << (e - 1))) };
        Format::custom(e, m.min(15 - e), b.clamp(least, most)).unwrap()
    });
    prop_oneof![
        3 => prop::sample::select(vec![Format::PAPER_HIGH, Format::PAPER_LOW_FORWARD, Format::PAPER_LOW_BACKWARD]),
        2 => prop::sample::select(vec![Format::BF16, Format::FP16, Format::E4M3, Format::E5M2]),
        3 => custom,
    ]
}

fn overflows() -> impl Strategy<Value = Overflow> {
    prop::sample::select(vec![Overflow::Saturate, Overflow::NotFinite])
}

/// A format and numbers around its range, with a few bit patterns of any kind.
fn cases() -> impl Strategy<Value = (Format, Overflow, Vec<f32>)> {
    (formats(), overflows()).prop_flat_map(|(format, overflow)| {
        let low = format.underflow_threshold().to_bits() - (1 << 22).min(format.underflow_threshold().to_bits());
        let high = (format.overflow_threshold().to_bits() + (1 << 23)).min(f32::INFINITY.to_bits());
        let number = prop_oneof![
            6 => (low..=high, any::<bool>()).prop_map(|(a, minus)| f32::from_bits(a | u32::from(minus) << 31)),
            1 => any::<u32>().prop_map(f32::from_bits),
            1 => prop::sample::select(vec![0.0, -0.0, format.max_finite(), format.overflow_threshold(),
                format.underflow_threshold(), format.min_normal(), f32::INFINITY, f32::NEG_INFINITY, f32::NAN]),
        ];
        (Just(format), Just(overflow), prop::collection::vec(number, 1..150))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn rounding_is_idempotent((format, overflow, xs) in cases()) {
        let rounder = Rounder::new(format, overflow);
        for x in xs {
            let once = rounder.round(x);
            prop_assert_eq!(rounder.round(once).to_bits(), once.to_bits(), "{} {:e}", format, x);
        }
    }

    /// Packing keeps an infinity that rounding leaves exactly where the mode says so.
    #[test]
    fn infinities_are_kept_as_stated(format in formats(), overflow in overflows()) {
        let mut number = [f32::INFINITY];
        match format.bytes() {
            1 => {
                let mut code = [0];
                pack_u8(format, overflow, &number, &mut code).unwrap();
                unpack_u8(format, &code, &mut number).unwrap();
            }
            _ => {
                let mut code = [0];
                pack_u16(format, overflow, &number, &mut code).unwrap();
                unpack_u16(format, &code, &mut number).unwrap();
            }
        }
        prop_assert_eq!(overflow.keeps_infinity(format), !number[0].is_nan(), "{} {:?}", format, overflow);
    }

    #[test]
    fn rounding_is_monotone((format, overflow, mut xs) in cases()) {
        let rounder = Rounder::new(format, overflow);
        xs.retain(|x| !x.is_nan());
        xs.sort_by(f32::total_cmp);
        for pair in xs.windows(2) {
            prop_assert!(rounder.round(pair[0]) <= rounder.round(pair[1]), "{} {:e} {:e}", format, pair[0], pair[1]);
        }
    }

    #[test]
    fn the_error_is_at_most_half_a_unit((format, overflow, xs) in cases()) {
        let rounder = Rounder::new(format, overflow);
        for x in xs.into_iter().filter(|x| x.abs() < format.overflow_threshold()) {
            let exponent = (x.abs().max(format.min_normal()).to_bits() >> 23) as i32 - 127;
            let unit = 2f64.powi(exponent - format.mantissa_bits() as i32);
            // The paper rounds subnormals in FP32 first, which adds half a unit of the FP32 sum.
            let first = if x.abs() < format.min_normal() { f64::from(format.min_normal()) * 2f64.powi(-24) } else { 0.0 };
            let error = (f64::from(rounder.round(x)) - f64::from(x)).abs();
            prop_assert!(error <= unit / 2.0 + first, "{} {:e}: {:e}, unit {:e}", format, x, error, unit);
        }
    }

    #[test]
    fn counts_are_those_of_a_naive_count((format, overflow, xs) in cases()) {
        let count = |predicate: &dyn Fn(f32) -> bool| xs.iter().filter(|x| predicate(**x)).count() as u64;
        let expected = Counts {
            overflow: count(&|x| x.is_nan() || x.abs() >= format.overflow_threshold()),
            underflow: count(&|x| x != 0.0 && x.abs() < format.underflow_threshold()),
            not_finite: count(&|x| !x.is_finite()),
        };
        let mut rounded = xs.clone();
        prop_assert_eq!(round_slice(format, overflow, &mut rounded), expected);
        prop_assert_eq!(xs.chunks(7).map(|part| round_slice(format, overflow, &mut part.to_vec())).sum::<Counts>(), expected);

        // Every finite magnitude counted as overflow, and no other, leaves the finite numbers.
        if overflow == Overflow::NotFinite {
            prop_assert_eq!(rounded.iter().filter(|x| !x.is_finite()).count() as u64, expected.overflow);
        } else {
            prop_assert_eq!(rounded.iter().filter(|x| !x.is_finite()).count() as u64, count(&f32::is_nan));
        }
    }

    #[test]
    fn packing_then_unpacking_is_rounding((format, overflow, xs) in cases()) {
        let mut rounded = xs.clone();
        let counts = round_slice(format, overflow, &mut rounded);
        let mut unpacked = vec![0.0; xs.len()];
        if format.bytes() == 1 {
            let mut codes = vec![0; xs.len()];
            prop_assert_eq!(pack_u8(format, overflow, &xs, &mut codes), Ok(counts));
            prop_assert!(codes.iter().all(|code| u32::from(*code) >> format.bits() == 0));
            unpack_u8(format, &codes, &mut unpacked).unwrap();
        } else {
            let mut codes = vec![0; xs.len()];
            prop_assert_eq!(pack_u16(format, overflow, &xs, &mut codes), Ok(counts));
            prop_assert!(codes.iter().all(|code| u32::from(*code) >> format.bits() == 0));
            unpack_u16(format, &codes, &mut unpacked).unwrap();
        }
        let has_infinity = [Format::BF16, Format::FP16, Format::E5M2].contains(&format);
        for (x, y) in std::iter::zip(rounded, unpacked) {
            let expected = if x.is_infinite() && !has_infinity { f32::NAN } else { x };
            prop_assert_eq!(expected.to_bits(), y.to_bits(), "{}: {:e}, {:e}", format, x, y);
        }
    }
}

#[test]
fn the_readable_cases() {
    let round = |name: &str, x: f32| Rounder::new(name.parse().unwrap(), Overflow::Saturate).round(x);
    // Ties go away from zero in the paper's formats and to even in the others.
    assert_eq!(round("1-4-3", 1.0625), 1.125);
    assert_eq!(round("1-4-3", -1.0625), -1.125);
    assert_eq!(round("e4m3", 1.0625), 1.0);
    // Negative zero exists only in the others.
    assert_eq!(round("1-4-3", -0.0).to_bits(), 0);
    assert_eq!(round("1-4-3", -1e-9).to_bits(), 0);
    assert_eq!(round("e4m3", -1e-9).to_bits(), 1 << 31);
    // FP32 is the identity.
    assert_eq!(round("fp32", f32::NEG_INFINITY), f32::NEG_INFINITY);

    let mut codes = [0; 5];
    let xs = [f32::NAN, f32::INFINITY, -40.0, -1e-9, -1.0];
    pack_u8(Format::PAPER_LOW_FORWARD, Overflow::NotFinite, &xs, &mut codes).unwrap();
    assert_eq!(codes, [0x80, 0x80, 0x80, 0, 0x80 | 11 << 3]);
    pack_u8(Format::PAPER_LOW_FORWARD, Overflow::Saturate, &xs, &mut codes).unwrap();
    assert_eq!(codes, [0x80, 0x7f, 0xff, 0, 0x80 | 11 << 3]);
}

#[test]
fn slices_that_do_not_fit_are_refused() {
    let error = pack_u8(Format::FP16, Overflow::Saturate, &[1.0], &mut [0]).unwrap_err();
    assert_eq!(error, CodecError::Width { format: Format::FP16, bytes: 1 });
    assert_eq!(error.to_string(), "fp16 takes 2 byte(s) per element, the slice of codes has 1");
    for format in [Format::FP32, Format::E4M3] {
        assert!(pack_u16(format, Overflow::Saturate, &[1.0], &mut [0]).is_err());
        assert!(unpack_u16(format, &[0], &mut [0.0]).is_err());
    }
    let error = unpack_u8(Format::E4M3, &[0, 1], &mut [0.0]).unwrap_err();
    assert_eq!(error, CodecError::Length { numbers: 1, codes: 2 });
}
