//! Tensors stored in any format, as operands and as results.
#![allow(dead_code, clippy::unwrap_used)]

use bitbudget_formats::{Counts, Format, Overflow, pack_u8, pack_u16, round_slice};
use bitbudget_kernels::{Elements, Output, ShapeError};

use crate::common::numbers;

/// Formats of every kind of encoding and width.
pub(crate) const FORMATS: [Format; 7] = [
    Format::FP32,
    Format::PAPER_HIGH,
    Format::PAPER_LOW_FORWARD,
    Format::PAPER_LOW_BACKWARD,
    Format::BF16,
    Format::FP16,
    Format::E4M3,
];

/// Numbers as they lie in memory.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) format: Format,
    numbers: Vec<f32>,
    words: Vec<u16>,
    bytes: Vec<u8>,
}

impl Stored {
    /// Numbers rounded to a format, and what overflowed.
    pub(crate) fn new(format: Format, overflow: Overflow, numbers: &[f32]) -> (Self, Counts) {
        let mut stored = Stored { format, numbers: vec![], words: vec![], bytes: vec![] };
        let counts = match format.bytes() {
            1 => {
                stored.bytes = vec![0; numbers.len()];
                pack_u8(format, overflow, numbers, &mut stored.bytes).unwrap()
            }
            2 => {
                stored.words = vec![0; numbers.len()];
                pack_u16(format, overflow, numbers, &mut stored.words).unwrap()
            }
            _ => {
                stored.numbers = numbers.to_vec();
                round_slice(format, overflow, &mut stored.numbers)
            }
        };
        (stored, counts)
    }

    /// Room for `len` elements.
    pub(crate) fn empty(format: Format, len: usize) -> Self {
        Stored::of(format, &vec![0.0; len])
    }

    pub(crate) fn of(format: Format, numbers: &[f32]) -> Self {
        Stored::new(format, Overflow::Saturate, numbers).0
    }

    pub(crate) fn elements(&self) -> Elements<'_> {
        match self.format.bytes() {
            1 => Elements::u8(self.format, &self.bytes).unwrap(),
            2 => Elements::u16(self.format, &self.words).unwrap(),
            _ => Elements::from(self.numbers.as_slice()),
        }
    }

    pub(crate) fn output(&mut self, overflow: Overflow) -> Output<'_> {
        match self.format.bytes() {
            1 => Output::u8(self.format, overflow, &mut self.bytes).unwrap(),
            2 => Output::u16(self.format, overflow, &mut self.words).unwrap(),
            _ => Output::rounded(self.format, overflow, &mut self.numbers),
        }
    }

    pub(crate) fn numbers(&self) -> Vec<f32> {
        let mut numbers = vec![0.0; self.numbers.len() + self.words.len() + self.bytes.len()];
        match self.format.bytes() {
            1 => bitbudget_formats::unpack_u8(self.format, &self.bytes, &mut numbers).unwrap(),
            2 => bitbudget_formats::unpack_u16(self.format, &self.words, &mut numbers).unwrap(),
            _ => numbers.copy_from_slice(&self.numbers),
        }
        numbers
    }

    /// The content of memory, to compare.
    pub(crate) fn codes(&self) -> Vec<u32> {
        match self.format.bytes() {
            1 => self.bytes.iter().map(|x| u32::from(*x)).collect(),
            2 => self.words.iter().map(|x| u32::from(*x)).collect(),
            _ => self.numbers.iter().map(|x| x.to_bits()).collect(),
        }
    }

    /// Every code that one or two bytes can hold.
    pub(crate) fn every_code(format: Format) -> Self {
        let mut stored = Stored { format, numbers: vec![], words: vec![], bytes: vec![] };
        match format.bytes() {
            1 => stored.bytes = (0..=u8::MAX).collect(),
            _ => stored.words = (0..=u16::MAX).collect(),
        }
        stored
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
            Stored::new(format, Overflow::NotFinite, x).0
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
            let (expected, expected_counts) = Stored::new(to, overflow, &numbers);
            let mut found = Stored::empty(to, len);
            let counts = pools[(i + j) % 3].install(|| kernel(&elements, &mut found.output(overflow)).unwrap());
            assert!(found.codes() == expected.codes(), "{from} to {to}, {overflow:?}");
            assert_eq!(counts, expected_counts, "{from} to {to}, {overflow:?}");
            if j % 5 > 0 {
                continue;
            }
            let mut found = vec![f32::NAN; len];
            let counts = kernel(&elements, &mut Output::rounded(to, overflow, &mut found)).unwrap();
            let mut rounded = numbers.clone();
            let rounded_counts = round_slice(to, overflow, &mut rounded);
            let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&found), bits(&rounded), "{from} to {to}, {overflow:?}");
            assert_eq!(counts, rounded_counts, "{from} to {to}, {overflow:?}");
        }
    }
}
