//! The description of a format and the numbers that follow from it.

use thiserror::Error;

/// A floating-point format: how many bits the exponent and the mantissa have, and what the codes mean.
///
/// The order is a fixed one without meaning, so that formats can be keys of ordered maps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Format {
    pub(crate) encoding: Encoding,
    pub(crate) exponent_bits: u8,
    pub(crate) mantissa_bits: u8,
    pub(crate) bias_shift: i8,
}

/// The meaning of a format's codes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Encoding {
    /// The top exponent holds numbers; the sign bit alone means "not finite"; ties away from zero.
    Paper,
    /// The top exponent holds infinity and NaN; ties to even.
    Ieee,
    /// All ones is NaN and there is no infinity; ties to even.
    OcpE4m3,
    /// The machine's own FP32, which is never rounded.
    Fp32,
}

/// Why three numbers do not make a format.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The exponent has too few or too many bits.
    #[error("{0} exponent bits; choose 2 to 8")]
    ExponentBits(u32),
    /// The mantissa has no bits, or more than fit in 16 bits together with sign and exponent.
    #[error("{mantissa_bits} mantissa bits with {exponent_bits} exponent bits; choose 1 to {most} (16 bits in all)")]
    MantissaBits {
        /// The exponent bits asked for.
        exponent_bits: u32,
        /// The mantissa bits asked for.
        mantissa_bits: u32,
        /// The most mantissa bits that this exponent leaves room for.
        most: u32,
    },
    /// The bias shift moves numbers out of the range of FP32.
    #[error(
        "a bias shift of {bias_shift}, which with {exponent_bits} exponent bits leaves the range of FP32; choose {}",
        if least == most { least.to_string() } else { format!("{least} to {most}") }
    )]
    BiasShift {
        /// The exponent bits asked for.
        exponent_bits: u32,
        /// The bias shift asked for.
        bias_shift: i32,
        /// The smallest bias shift for this exponent.
        least: i32,
        /// The largest bias shift for this exponent.
        most: i32,
    },
}

impl Format {
    /// The machine's single precision; rounding to it changes nothing.
    pub const FP32: Format = Format::fixed(Encoding::Fp32, 8, 23, 0);
    /// The paper's high precision "1-6-9": everything that is not low.
    pub const PAPER_HIGH: Format = Format::fixed(Encoding::Paper, 6, 9, 0);
    /// The paper's low precision "1-4-3" with bias shift 4: parameters and outputs.
    pub const PAPER_LOW_FORWARD: Format = Format::fixed(Encoding::Paper, 4, 3, 4);
    /// The paper's low precision "1-5-2": output gradients.
    pub const PAPER_LOW_BACKWARD: Format = Format::fixed(Encoding::Paper, 5, 2, 0);
    /// The upper half of an FP32 number.
    pub const BF16: Format = Format::fixed(Encoding::Ieee, 8, 7, 0);
    /// IEEE 754 binary16.
    pub const FP16: Format = Format::fixed(Encoding::Ieee, 5, 10, 0);
    /// E4M3 of the OCP 8-bit floating point specification 1.0, largest value 448.
    pub const E4M3: Format = Format::fixed(Encoding::OcpE4m3, 4, 3, 0);
    /// E5M2 of the OCP 8-bit floating point specification 1.0, largest finite value 57344.
    pub const E5M2: Format = Format::fixed(Encoding::Ieee, 5, 2, 0);

    const fn fixed(encoding: Encoding, exponent_bits: u8, mantissa_bits: u8, bias_shift: i8) -> Format {
        Format { encoding, exponent_bits, mantissa_bits, bias_shift }
    }

    /// A format of the paper's kind: the field E and the fraction f stand for `2^(E - (2^(e-1) - 1) - b) * 1.f`, E = 0
    /// is subnormal, and the top exponent holds numbers.
    ///
    /// With eight exponent bits the largest field is left out, since FP32 has no such numbers.
    ///
    /// # Errors
    ///
    /// Where the exponent has not 2 to 8 bits, the mantissa is empty, there are more than 16 bits in all, or the normal
    /// numbers are not all normal FP32 numbers. Subnormal numbers may be subnormal in FP32, which holds them exactly.
    pub const fn custom(exponent_bits: u32, mantissa_bits: u32, bias_shift: i32) -> Result<Format, FormatError> {
        if exponent_bits < 2 || exponent_bits > 8 {
            return Err(FormatError::ExponentBits(exponent_bits));
        }
        let most = 15 - exponent_bits;
        if mantissa_bits == 0 || mantissa_bits > most {
            return Err(FormatError::MantissaBits { exponent_bits, mantissa_bits, most });
        }
        // The largest exponent 2^(e-1) - b is at most 127, that of the smallest normal number at least -126.
        let (least, most) = match exponent_bits {
            8 => (0, 0),
            e => ((1 << (e - 1)) - 127, 128 - (1 << (e - 1))),
        };
        if bias_shift < least || bias_shift > most {
            return Err(FormatError::BiasShift { exponent_bits, bias_shift, least, most });
        }
        Ok(Format::fixed(Encoding::Paper, exponent_bits as u8, mantissa_bits as u8, bias_shift as i8))
    }

    /// Exponent bits.
    pub const fn exponent_bits(self) -> u32 {
        self.exponent_bits as u32
    }

    /// Mantissa bits, without the implicit one.
    pub const fn mantissa_bits(self) -> u32 {
        self.mantissa_bits as u32
    }

    /// Bias shift b: all values are `2^-b` times those of the same format without a shift.
    pub const fn bias_shift(self) -> i32 {
        self.bias_shift as i32
    }

    /// Whether a number halfway between two neighbours goes to the even one; the paper's formats round away from zero.
    pub const fn ties_to_even(self) -> bool {
        !matches!(self.encoding, Encoding::Paper)
    }

    /// Whether every number of the format, subnormal ones included, is a BF16 number, normal or subnormal.
    ///
    /// True of every format with at most 7 mantissa bits: normal numbers are normal FP32 numbers, so the smallest
    /// subnormal number is no smaller than that of BF16.
    pub const fn exact_in_bf16(self) -> bool {
        self.mantissa_bits() <= 7
    }

    /// Whether every number of the format is one of another format, zeros of both signs included.
    #[must_use]
    pub fn is_subset_of(self, other: Format) -> bool {
        // Formats that tie away from zero have no negative zero.
        let zeros = !self.ties_to_even() || other.ties_to_even();
        zeros
            && self.mantissa_bits() <= other.mantissa_bits()
            && self.max_finite() <= other.max_finite()
            && self.min_subnormal() >= other.min_subnormal()
    }

    /// Bits of one element: sign, exponent and mantissa.
    pub const fn bits(self) -> u32 {
        1 + self.exponent_bits() + self.mantissa_bits()
    }

    /// Bytes that one packed element takes: 1, 2 or 4.
    pub const fn bytes(self) -> usize {
        match self.bits() {
            0..=8 => 1,
            9..=16 => 2,
            _ => 4,
        }
    }

    /// The largest finite number.
    pub const fn max_finite(self) -> f32 {
        let fields = ((self.max_code() as u64) << (23 - self.mantissa_bits())) as u32;
        f32::from_bits(fields + self.min_normal().to_bits() - (1 << 23))
    }

    /// The smallest positive number with an implicit one.
    pub const fn min_normal(self) -> f32 {
        power_of_two(2 - (1 << (self.exponent_bits() - 1)) - self.bias_shift())
    }

    /// The smallest positive number.
    pub const fn min_subnormal(self) -> f32 {
        power_of_two(2 - (1 << (self.exponent_bits() - 1)) - self.bias_shift() - self.mantissa_bits() as i32)
    }

    /// The smallest magnitude that rounds to no finite number (paper, section 3): half a unit above the largest one.
    ///
    /// Infinity for FP32. For `e4m3` the FP32 number after 464, since 464 is a tie and 448 the even one.
    pub const fn overflow_threshold(self) -> f32 {
        let max = self.max_finite().to_bits();
        f32::from_bits(match self.encoding {
            Encoding::Paper | Encoding::Ieee => max + (1 << (22 - self.mantissa_bits())),
            Encoding::OcpE4m3 => max + (1 << (22 - self.mantissa_bits())) + 1,
            Encoding::Fp32 => f32::INFINITY.to_bits(),
        })
    }

    /// Half the smallest positive number: smaller magnitudes count as underflow (paper, section 3). Zero for FP32.
    pub const fn underflow_threshold(self) -> f32 {
        match self.encoding {
            Encoding::Fp32 => 0.0,
            _ => self.min_subnormal() / 2.0,
        }
    }

    /// The code of the largest finite number.
    pub(crate) const fn max_code(self) -> u32 {
        let all = (1u32 << (self.exponent_bits() + self.mantissa_bits())) - 1;
        let top_exponent = 1u32 << self.mantissa_bits();
        match self.encoding {
            // Field 255 would be 2^128, which FP32 does not have.
            Encoding::Paper if self.exponent_bits() == 8 => all - top_exponent,
            Encoding::Paper => all,
            Encoding::Ieee | Encoding::Fp32 => all - top_exponent,
            Encoding::OcpE4m3 => all - 1,
        }
    }
}

/// `2^exponent` in FP32, for exponents from -149 to 127.
const fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(if exponent >= -126 { ((exponent + 127) as u32) << 23 } else { 1 << (exponent + 149) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_figures() {
        // Format, largest, exponents of the smallest normal and subnormal number, overflow threshold.
        let rows = [
            (Format::FP32, f32::MAX, -126, -149, f32::INFINITY),
            (Format::PAPER_HIGH, 8_581_545_984.0, -30, -39, 8_585_740_288.0),
            (Format::PAPER_LOW_FORWARD, 30.0, -10, -13, 31.0),
            (Format::PAPER_LOW_BACKWARD, 114_688.0, -14, -16, 122_880.0),
            (Format::BF16, 3.389_531_4e38, -126, -133, 3.396_177_5e38),
            (Format::FP16, 65_504.0, -14, -24, 65_520.0),
            (Format::E4M3, 448.0, -6, -9, 464.0f32.next_up()),
            (Format::E5M2, 57_344.0, -14, -16, 61_440.0),
        ];
        for (format, max, normal, subnormal, threshold) in rows {
            assert_eq!(format.max_finite(), max, "{format}");
            assert_eq!(f64::from(format.min_normal()), 2f64.powi(normal), "{format}");
            assert_eq!(f64::from(format.min_subnormal()), 2f64.powi(subnormal), "{format}");
            assert_eq!(format.overflow_threshold(), threshold, "{format}");
            let half = if format == Format::FP32 { 0.0 } else { 2f64.powi(subnormal - 1) };
            assert_eq!(f64::from(format.underflow_threshold()), half, "{format}");
        }
        assert_eq!(Format::custom(8, 7, 0).unwrap().max_finite(), 3.389_531_4e38);
    }

    #[test]
    fn subsets_are_those_whose_numbers_are_left_as_they_are() {
        let formats =
            [Format::PAPER_HIGH, Format::PAPER_LOW_FORWARD, Format::PAPER_LOW_BACKWARD, Format::BF16, Format::FP16];
        let formats = [formats.as_slice(), &[Format::E4M3, Format::E5M2, Format::FP32]].concat();
        for small in formats.iter().copied().filter(|&format| format != Format::FP32) {
            let mut numbers = vec![0.0; 1 << small.bits()];
            if small.bytes() == 1 {
                let codes: Vec<u8> = (0..=u8::MAX).collect();
                crate::unpack_u8(small, &codes, &mut numbers).unwrap();
            } else {
                let codes: Vec<u16> = (0..=u16::MAX).collect();
                crate::unpack_u16(small, &codes, &mut numbers).unwrap();
            }
            numbers.retain(|number| number.is_finite());
            for &large in &formats {
                let rounder = crate::Rounder::new(large, crate::Overflow::Saturate);
                let stays = |x: &f32| large == Format::FP32 || rounder.round(*x).to_bits() == x.to_bits();
                assert_eq!(small.is_subset_of(large), numbers.iter().all(stays), "{small} in {large}");
            }
        }
    }

    #[test]
    fn only_the_papers_formats_round_ties_away_from_zero() {
        for (format, to_even) in [(Format::PAPER_HIGH, false), (Format::E4M3, true), (Format::BF16, true)] {
            assert_eq!(format.ties_to_even(), to_even);
            // Halfway between 1 and its neighbour, which is odd.
            let halfway = 1.0 + 2f32.powi(-1 - format.mantissa_bits() as i32);
            let rounded = crate::Rounder::new(format, crate::Overflow::Saturate).round(halfway);
            assert_eq!(rounded == 1.0, to_even, "{format}");
        }
    }

    #[test]
    fn every_allowed_format_stays_inside_fp32() {
        let mut formats = 0;
        for (e, m, b) in (0..10).flat_map(|e| (0..16).flat_map(move |m| (-200..200).map(move |b| (e, m, b)))) {
            let highest = 2f64.powi((1i32 << e) / 2 - b) * (2.0 - 2f64.powi(-m));
            let normal = 2f64.powi(2 - (1i32 << e) / 2 - b);
            let legal = (2..=8).contains(&e)
                && m >= 1
                && 1 + e + m <= 16
                && (highest <= f64::from(f32::MAX) && normal >= f64::from(f32::MIN_POSITIVE) || e == 8 && b == 0);
            let format = Format::custom(e as u32, m as u32, b);
            assert_eq!(format.is_ok(), legal, "{e} {m} {b}: {format:?}");
            if let Ok(format) = format {
                formats += 1;
                assert_eq!(f64::from(format.min_normal()), normal);
                assert_eq!(f64::from(format.min_subnormal()), normal * 2f64.powi(-m));
                assert!(e == 8 || f64::from(format.max_finite()) == highest);
                assert_eq!(format.bytes(), if e + m < 8 { 1 } else { 2 });
            }
        }
        assert!(formats > 1000);
    }

    #[test]
    fn exact_formats_are_those_whose_ends_are_bf16_numbers() {
        let custom = (2..=8).flat_map(|e| (1..=15 - e).flat_map(move |m| (-127..=127).map(move |b| (e, m, b))));
        let custom = custom.filter_map(|(e, m, b)| Format::custom(e, m, b).ok());
        for format in custom.chain([Format::BF16, Format::FP16, Format::E4M3, Format::E5M2, Format::FP32]) {
            // The widest mantissas are those of the smallest normal binade; subnormal numbers are its differences.
            let (min, unit) = (format.min_normal().to_bits(), 1u32 << (23 - format.mantissa_bits()));
            let widest = f32::from_bits(min + (1 << 23) - unit);
            let smallest = format.min_subnormal().to_bits();
            let exact = widest.to_bits() << 16 == 0 && smallest << 16 == 0 && format.max_finite().to_bits() << 16 == 0;
            assert_eq!(format.exact_in_bf16(), exact, "{format}");
        }
        assert!(Format::E4M3.exact_in_bf16() && Format::BF16.exact_in_bf16());
        assert!(!Format::FP16.exact_in_bf16() && !Format::PAPER_HIGH.exact_in_bf16());
    }

    #[test]
    fn errors_say_what_is_allowed() {
        assert_eq!(Format::custom(9, 3, 0).unwrap_err().to_string(), "9 exponent bits; choose 2 to 8");
        assert_eq!(
            Format::custom(6, 10, 0).unwrap_err().to_string(),
            "10 mantissa bits with 6 exponent bits; choose 1 to 9 (16 bits in all)"
        );
        assert_eq!(
            Format::custom(4, 3, 300).unwrap_err().to_string(),
            "a bias shift of 300, which with 4 exponent bits leaves the range of FP32; choose -119 to 120"
        );
    }
}
