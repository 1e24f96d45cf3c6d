//! Tensors stored in any format, as operands and as results.
#![allow(dead_code, clippy::unwrap_used)]

use bitbudget_formats::{Counts, Format, Overflow, pack_u8, pack_u16, round_slice};
use bitbudget_kernels::{Elements, Output};

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
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Codes {
    F32(Vec<u32>),
    U16(Vec<u16>),
    U8(Vec<u8>),
}

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

    /// What lies in memory, to compare.
    pub(crate) fn codes(&self) -> Codes {
        match self.format.bytes() {
            1 => Codes::U8(self.bytes.clone()),
            2 => Codes::U16(self.words.clone()),
            _ => Codes::F32(self.numbers.iter().map(|x| x.to_bits()).collect()),
        }
    }
}
