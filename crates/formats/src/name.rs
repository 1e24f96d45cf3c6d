//! Formats by name.

use std::fmt;
use std::num::IntErrorKind;
use std::str::FromStr;

use thiserror::Error;

use crate::format::{Encoding, Format, FormatError};

const NAMED: [(&str, Format); 5] = [
    ("fp32", Format::FP32),
    ("bf16", Format::BF16),
    ("fp16", Format::FP16),
    ("e4m3", Format::E4M3),
    ("e5m2", Format::E5M2),
];

/// Why a text is not the name of a format.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ParseFormatError {
    /// The text is neither a known name nor of the form `1-E-M` or `1-E-M@B`.
    #[error(
        "unknown format `{0}`: write fp32, bf16, fp16, e4m3, e5m2, or 1-E-M with E exponent and M mantissa bits, such \
         as 1-6-9, or 1-E-M@B with a bias shift, such as 1-4-3@4"
    )]
    Unknown(String),
    /// The numbers in `1-E-M@B` do not make a format.
    #[error("format `{name}` has {reason}")]
    Numbers {
        /// The text.
        name: String,
        /// The fault of its numbers.
        reason: FormatError,
    },
}

/// The bias shift of `1-E-M` where none is written: the paper's 1-4-3 is shifted by 4, all others are not.
fn default_bias_shift(exponent_bits: u32, mantissa_bits: u32) -> i32 {
    if (exponent_bits, mantissa_bits) == (4, 3) { 4 } else { 0 }
}

/// Splits `1-E-M` or `1-E-M@B` into its numbers; those that are too large become the largest ones.
fn numbers(name: &str) -> Option<(u32, u32, Option<i32>)> {
    let bits = |text: &str| match text.parse::<u32>() {
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => Some(u32::MAX),
        number => number.ok(),
    };
    let shifted = |text: &str| match text.parse::<i32>() {
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => Some(i32::MAX),
        Err(error) if *error.kind() == IntErrorKind::NegOverflow => Some(i32::MIN),
        number => number.ok(),
    };
    let (rest, shift) = match name.split_once('@') {
        Some((rest, shift)) => (rest, Some(shifted(shift)?)),
        None => (name, None),
    };
    let (exponent, mantissa) = rest.strip_prefix("1-")?.split_once('-')?;
    Some((bits(exponent)?, bits(mantissa)?, shift))
}

/// Reads `fp32`, `bf16`, `fp16`, `e4m3`, `e5m2` (in any case), `1-E-M` or `1-E-M@B`.
///
/// `1-E-M` has bias shift 0, except for the paper's `1-4-3`, which has 4.
impl FromStr for Format {
    type Err = ParseFormatError;

    fn from_str(name: &str) -> Result<Format, ParseFormatError> {
        if let Some((_, format)) = NAMED.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Ok(*format);
        }
        let (exponent_bits, mantissa_bits, shift) =
            numbers(name).ok_or_else(|| ParseFormatError::Unknown(name.to_owned()))?;
        let shift = shift.unwrap_or(default_bias_shift(exponent_bits, mantissa_bits));
        Format::custom(exponent_bits, mantissa_bits, shift)
            .map_err(|reason| ParseFormatError::Numbers { name: name.to_owned(), reason })
    }
}

/// Writes the name that [`FromStr`] reads back as the same format.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.encoding != Encoding::Paper {
            let name = NAMED.iter().find(|(_, format)| format == self).map_or("", |(name, _)| name);
            return f.pad(name);
        }
        let (e, m, shift) = (self.exponent_bits(), self.mantissa_bits(), self.bias_shift());
        if shift == default_bias_shift(e, m) {
            f.pad(&format!("1-{e}-{m}"))
        } else {
            f.pad(&format!("1-{e}-{m}@{shift}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_the_constants() {
        let rows = [
            ("fp32", Format::FP32),
            ("1-6-9", Format::PAPER_HIGH),
            ("1-4-3", Format::PAPER_LOW_FORWARD),
            ("1-5-2", Format::PAPER_LOW_BACKWARD),
            ("bf16", Format::BF16),
            ("fp16", Format::FP16),
            ("e4m3", Format::E4M3),
            ("e5m2", Format::E5M2),
        ];
        for (name, format) in rows {
            assert_eq!(name.parse(), Ok(format));
            assert_eq!(format.to_string(), name);
        }
        assert_eq!("BF16".parse(), Ok(Format::BF16));
        assert_eq!("1-4-3@4".parse(), Ok(Format::PAPER_LOW_FORWARD));
        assert_eq!("1-4-3@0".parse::<Format>().unwrap().to_string(), "1-4-3@0");
        assert_eq!("1-5-2@-3".parse::<Format>().unwrap().bias_shift(), -3);
        assert_eq!(format!("{:>6}|", Format::FP16), "  fp16|");
    }

    #[test]
    fn every_name_reads_back() {
        for (e, m, b) in (2..=8).flat_map(|e| (1..=15 - e).flat_map(move |m| (-126..=126).map(move |b| (e, m, b)))) {
            if let Ok(format) = Format::custom(e, m, b) {
                assert_eq!(format.to_string().parse(), Ok(format));
            }
        }
    }

    #[test]
    fn errors_name_the_text_and_what_is_allowed() {
        for name in ["", "fp8", "1-", "1-4", "1-4-3-2", "1-a-3", "2-4-3", "1-4-3@", "1-4-3@x", "1--4-3", "1-4-3@4@4"] {
            let error = name.parse::<Format>().unwrap_err();
            assert_eq!(error, ParseFormatError::Unknown(name.to_owned()));
            assert!(error.to_string().contains("1-6-9"));
        }
        for (name, reason) in [
            ("1-9-3", "9 exponent bits; choose 2 to 8"),
            ("1-4-99", "99 mantissa bits with 4 exponent bits; choose 1 to 11 (16 bits in all)"),
            (
                "1-4-3@999999",
                "a bias shift of 999999, which with 4 exponent bits leaves the range of FP32; choose -119 to 120",
            ),
            (
                "1-4-3@-120",
                "a bias shift of -120, which with 4 exponent bits leaves the range of FP32; choose -119 to 120",
            ),
            ("1-8-3@1", "a bias shift of 1, which with 8 exponent bits leaves the range of FP32; choose 0"),
        ] {
            assert_eq!(name.parse::<Format>().unwrap_err().to_string(), format!("format `{name}` has {reason}"));
        }
        for name in ["1-99999999999-3", "1-4-99999999999", "1-4-3@99999999999", "1-4-3@-99999999999"] {
            let error = name.parse::<Format>().unwrap_err();
            assert!(matches!(error, ParseFormatError::Numbers { .. }), "{name}: {error}");
        }
    }
}
