//! Tensors in every format, and the comparison of kernels on codes with kernels on the numbers that they stand for.
#![allow(dead_code)]

use bitbudget_formats::{Counts, Format, Overflow, pack_u8, pack_u16, round_slice, unpack_u8, unpack_u16};
use bitbudget_kernels::{Elements, Output, ShapeError};

use crate::common::numbers;

pub(crate) const FORMATS: [Format; 7] = [
    Format::FP32,
    Format::PAPER_HIGH,
    Format::PAPER_LOW_FORWARD,
    Format::PAPER_LOW_BACKWARD,
    Format::BF16,
    Format::FP16,
    Format::E4M3,
];

/// Elements in memory.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stored {
    F32(Vec<f32>),
    U16(Format, Vec<u16>),
    U8(Format, Vec<u8>),
}

impl Stored {
    /// Zeros.
    pub(crate) fn new(format: Format, len: usize) -> Stored {
        match format.bytes() {
            1 => Stored::U8(format, vec![0; len]),
            2 => Stored::U16(format, vec![0; len]),
            _ => Stored::F32(vec![0.0; len]),
        }
    }

    /// Rounded and packed numbers, with the counts.
    pub(crate) fn packed(format: Format, overflow: Overflow, numbers: &[f32]) -> (Stored, Counts) {
        let mut stored = Stored::new(format, numbers.len());
        let counts = match &mut stored {
            Stored::F32(y) => {
                y.copy_from_slice(numbers);
                round_slice(format, overflow, y)
            }
            Stored::U16(_, y) => pack_u16(format, overflow, numbers, y).unwrap(),
            Stored::U8(_, y) => pack_u8(format, overflow, numbers, y).unwrap(),
        };
        (stored, counts)
    }

    pub(crate) fn elements(&self) -> Elements<'_> {
        match self {
            Stored::F32(x) => Elements::from(&x[..]),
            Stored::U16(format, x) => Elements::u16(*format, x).unwrap(),
            Stored::U8(format, x) => Elements::u8(*format, x).unwrap(),
        }
    }

    pub(crate) fn output(&mut self, overflow: Overflow) -> Output<'_> {
        match self {
            Stored::F32(y) => Output::rounded(Format::FP32, overflow, y),
            Stored::U16(format, y) => Output::u16(*format, overflow, y).unwrap(),
            Stored::U8(format, y) => Output::u8(*format, overflow, y).unwrap(),
        }
    }

    pub(crate) fn numbers(&self) -> Vec<f32> {
        match self {
            Stored::F32(x) => x.clone(),
            Stored::U16(format, codes) => {
                let mut numbers = vec![0.0; codes.len()];
                unpack_u16(*format, codes, &mut numbers).unwrap();
                numbers
            }
            Stored::U8(format, codes) => {
                let mut numbers = vec![0.0; codes.len()];
                unpack_u8(*format, codes, &mut numbers).unwrap();
                numbers
            }
        }
    }

    /// The bits in memory, so that NaNs compare.
    pub(crate) fn bits(&self) -> Vec<u32> {
        match self {
            Stored::F32(x) => x.iter().map(|x| x.to_bits()).collect(),
            Stored::U16(_, x) => x.iter().map(|x| u32::from(*x)).collect(),
            Stored::U8(_, x) => x.iter().map(|x| u32::from(*x)).collect(),
        }
    }
}

/// Reproducible numbers among which there is what overflows, underflows and is not finite.
pub(crate) fn wild(len: usize, seed: u64) -> Vec<f32> {
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e12, -1e12, 1e-20, -0.0, 40.0, 0.0];
    let mut x: Vec<f32> = numbers(len, seed).iter().map(|x| x * 4.0).collect();
    let places = numbers(len, seed + 100);
    for (i, place) in places.iter().enumerate() {
        // A stretch without anything odd comes first.
        if i > len / 3 && *place > 0.95 {
            x[i] = odd[i % odd.len()];
        }
    }
    x
}

/// Fails where `kernel` gives other codes or counts on packed operands, into a packed result, than on the numbers that
/// the operands' codes stand for, into FP32 numbers that are packed afterwards. On 1, 2 and 3 threads by turns.
#[track_caller]
pub(crate) fn same_as_unpacked(
    operands: &[Vec<f32>],
    len: usize,
    kernel: impl Fn(&[Elements<'_>], &mut Output<'_>) -> Result<Counts, ShapeError> + Send + Sync,
) {
    let pools = [1, 2, 3].map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap());
    for (i, from) in FORMATS.into_iter().enumerate() {
        let store = |(k, x): (usize, &Vec<f32>)| {
            // Later operands have other formats in every second run.
            let format = if i % 2 == 0 { from } else { FORMATS[(i + k) % FORMATS.len()] };
            Stored::packed(format, Overflow::NotFinite, x).0
        };
        let stored: Vec<Stored> = operands.iter().enumerate().map(store).collect();
        let unpacked: Vec<Vec<f32>> = stored.iter().map(Stored::numbers).collect();
        let unpacked: Vec<Elements<'_>> = unpacked.iter().map(|x| Elements::from(&x[..])).collect();
        let mut numbers = vec![f32::NAN; len];
        let none = kernel(&unpacked, &mut Output::from(&mut numbers[..])).unwrap();
        assert_eq!(none, Counts::default(), "what is not rounded is not counted");
        let elements: Vec<Elements<'_>> = stored.iter().map(Stored::elements).collect();
        let modes = FORMATS.into_iter().flat_map(|to| [(to, Overflow::Saturate), (to, Overflow::NotFinite)]);
        for (j, (to, overflow)) in modes.enumerate() {
            let (expected, expected_counts) = Stored::packed(to, overflow, &numbers);
            let mut found = Stored::new(to, len);
            let counts = pools[(i + j) % 3].install(|| kernel(&elements, &mut found.output(overflow)).unwrap());
            assert!(found.bits() == expected.bits(), "{from} to {to}, {overflow:?}");
            assert_eq!(counts, expected_counts, "{from} to {to}, {overflow:?}");
            if j % 5 > 0 {
                continue;
            }
            let mut found = vec![f32::NAN; len];
            let counts = kernel(&elements, &mut Output::rounded(to, overflow, &mut found)).unwrap();
            let mut rounded = numbers.clone();
            let rounded_counts = round_slice(to, overflow, &mut rounded);
            assert_eq!(Stored::F32(found).bits(), Stored::F32(rounded).bits(), "{from} to {to}, {overflow:?}");
            assert_eq!(counts, rounded_counts, "{from} to {to}, {overflow:?}");
        }
    }
}
