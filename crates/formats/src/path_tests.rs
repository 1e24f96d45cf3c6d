//! Every instruction set computes what the scalar functions compute.

use super::*;
use crate::element::{decode, encode};

fn paths() -> Vec<Path> {
    Path::ALL
        .into_iter()
        .filter(|path| {
            let available = path.available();
            if !available {
                eprintln!("skipped {path:?}: this processor lacks it");
            }
            available
        })
        .collect()
}

fn formats() -> Vec<Format> {
    let names = [
        "1-6-9",
        "1-4-3",
        "1-5-2",
        "1-4-3@0",
        "1-8-7",
        "1-2-1",
        "1-7-8@64",
        "1-6-1@-95",
        "1-6-1@96",
        "1-2-5@126",
        "bf16",
        "fp16",
        "e4m3",
        "e5m2",
    ];
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// Numbers of every exponent and sign with mantissas near ties, pseudo-random bits, the boundaries of the format with
/// their neighbours, and pseudo-random numbers that do not overflow, which some paths treat on their own.
fn numbers(format: Format) -> Vec<f32> {
    let mantissas = (0..=23).flat_map(|bit| {
        let unit = 1u32 << bit;
        [0, unit - 1, unit, unit | unit >> 1, (unit | unit >> 1).wrapping_sub(1), 0x7f_ffff ^ (unit - 1)]
    });
    let mantissas: Vec<u32> = mantissas.map(|mantissa| mantissa & 0x7f_ffff).collect();
    let mut numbers: Vec<f32> = (0..512u32)
        .flat_map(|top| mantissas.iter().map(move |mantissa| f32::from_bits(top << 23 | mantissa)))
        .collect();
    let mut state = 1u32;
    numbers.extend((0..100_000).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from_bits(state ^ state >> 15)
    }));
    let threshold = format.overflow_threshold().to_bits();
    let least = (format.underflow_threshold().to_bits() / 2).min(threshold - 1);
    numbers.extend((0..100_000).map(|i| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let magnitude = least + (state ^ state >> 15) % (threshold - least);
        f32::from_bits(if i % 9 == 0 { 0 } else { magnitude } | state & 1 << 31)
    }));
    let boundaries = [
        format.underflow_threshold(),
        format.min_subnormal(),
        format.min_normal() - format.min_subnormal(),
        format.min_normal() - format.min_subnormal() / 2.0,
        format.min_normal(),
        format.max_finite(),
        format.overflow_threshold(),
    ];
    // Each alone among numbers that are nothing special.
    for x in boundaries.into_iter().flat_map(|x| [x, x.next_down(), x.next_up()]).flat_map(|x| [x, -x]) {
        numbers.extend([format.min_normal(); 63]);
        numbers.push(x);
    }
    numbers
}

fn bits(xs: &[f32]) -> Vec<u32> {
    xs.iter().map(|x| x.to_bits()).collect()
}

fn pack_matches<T: Code + Default + PartialEq + std::fmt::Debug>(path: Path, format: Format, overflow: Overflow) {
    let numbers = numbers(format);
    let constants = Constants::new(format, overflow);
    let scalar = |x: f32| match format.encoding {
        Encoding::Paper => encode::<false>(&constants, x),
        _ => encode::<true>(&constants, x),
    };
    let expected: Vec<T> = numbers.iter().map(|&x| T::from_bits(scalar(x))).collect();
    let mut codes = vec![T::default(); numbers.len()];
    let counts = pack_on(path, format, overflow, &numbers, &mut codes).unwrap();
    assert_eq!(codes, expected, "{path:?} {format} {overflow:?}");
    assert_eq!(counts, Rounder::new(format, overflow).round_slice_on(Path::Portable, &mut numbers.clone()));

    let mut all: Vec<T> = (0..=u32::from(u16::MAX)).map(T::from_bits).collect();
    // Zeros among the others too, which the codes in order lack.
    all.extend((0..=u32::from(u16::MAX)).flat_map(|code| [code, 0].map(T::from_bits)));
    all.push(T::from_bits(0));
    let scalar = |code: u32| match format.encoding {
        Encoding::Paper => decode::<false>(&constants, code),
        _ => decode::<true>(&constants, code),
    };
    let expected: Vec<f32> = all.iter().map(|code| scalar(code.to_bits())).collect();
    let mut unpacked = vec![0.0; all.len()];
    unpack_on(path, format, &all, &mut unpacked).unwrap();
    assert_eq!(bits(&unpacked), bits(&expected), "{path:?} {format}");

    let mut words = vec![0; all.len()];
    let result = unpack_bf16_on(path, format, &all, &mut words);
    if format.exact_in_bf16() {
        assert!(expected.iter().all(|x| x.to_bits() << 16 == 0), "{format}");
        let expected: Vec<u16> = expected.iter().map(|x| (x.to_bits() >> 16) as u16).collect();
        assert_eq!(words, expected, "{path:?} {format}");
    } else {
        assert_eq!(result, Err(CodecError::NotBf16 { format }));
    }
}

#[test]
fn every_path_rounds_as_the_scalar_function() {
    for (path, format) in paths().into_iter().flat_map(|path| formats().into_iter().map(move |format| (path, format))) {
        let numbers = numbers(format);
        for overflow in [Overflow::Saturate, Overflow::NotFinite] {
            let rounder = Rounder::new(format, overflow);
            let expected: Vec<f32> = numbers.iter().map(|&x| rounder.round(x)).collect();
            let mut rounded = numbers.clone();
            let counts = rounder.round_slice_on(path, &mut rounded);
            assert_eq!(bits(&rounded), bits(&expected), "{path:?} {format} {overflow:?}");
            let count = |predicate: &dyn Fn(f32) -> bool| numbers.iter().filter(|x| predicate(**x)).count() as u64;
            assert_eq!(counts.overflow, count(&|x| x.is_nan() || x.abs() >= format.overflow_threshold()));
            assert_eq!(counts.underflow, count(&|x| x != 0.0 && x.abs() < format.underflow_threshold()));
            assert_eq!(counts.not_finite, count(&|x| !x.is_finite()));
        }
    }
}

#[test]
fn every_path_packs_and_unpacks_as_the_scalar_functions() {
    for (path, format) in paths().into_iter().flat_map(|path| formats().into_iter().map(move |format| (path, format))) {
        for overflow in [Overflow::Saturate, Overflow::NotFinite] {
            match format.bytes() {
                1 => pack_matches::<u8>(path, format, overflow),
                _ => pack_matches::<u16>(path, format, overflow),
            }
        }
    }
}

fn short_lengths_match<T: Code + Default>(path: Path, format: Format) {
    for length in 0..200 {
        let xs: Vec<f32> = (0..length).map(|i| (i as f32 * 0.37 - 20.0) * (format.max_finite() / 30.0)).collect();
        let rounder = Rounder::new(format, Overflow::Saturate);
        let expected: Vec<f32> = xs.iter().map(|&x| rounder.round(x)).collect();
        let mut rounded = xs.clone();
        let counts = rounder.round_slice_on(path, &mut rounded);
        assert_eq!(rounded, expected, "{path:?} {format}");
        assert_eq!(counts.overflow, xs.iter().filter(|x| x.abs() >= format.overflow_threshold()).count() as u64);
        let mut codes = vec![T::default(); length];
        assert_eq!(pack_on(path, format, Overflow::Saturate, &xs, &mut codes), Ok(counts));
        let mut unpacked = vec![0.0; length];
        unpack_on(path, format, &codes, &mut unpacked).unwrap();
        assert_eq!(unpacked, expected, "{path:?} {format}");
        if format.exact_in_bf16() {
            let mut words = vec![0; length];
            unpack_bf16_on(path, format, &codes, &mut words).unwrap();
            assert!(std::iter::zip(words, expected).all(|(word, x)| u32::from(word) << 16 == x.to_bits()));
        }
    }
}

#[test]
fn every_path_handles_every_short_length() {
    for (path, format) in paths().into_iter().flat_map(|path| formats().into_iter().map(move |format| (path, format))) {
        match format.bytes() {
            1 => short_lengths_match::<u8>(path, format),
            _ => short_lengths_match::<u16>(path, format),
        }
    }
}

#[test]
fn every_path_counts_in_fp32_and_changes_nothing() {
    for path in paths() {
        let mut xs = numbers(Format::BF16);
        let before = bits(&xs);
        let expected = xs.iter().filter(|x| !x.is_finite()).count() as u64;
        let counts = Rounder::new(Format::FP32, Overflow::Saturate).round_slice_on(path, &mut xs);
        assert_eq!(counts, Counts { overflow: expected, underflow: 0, not_finite: expected });
        assert_eq!(bits(&xs), before);
    }
}
