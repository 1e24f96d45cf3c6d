//! The limit of a budget, and its text form.

use std::fmt;
use std::str::FromStr;

/// Units of sizes, in bytes.
const UNITS: [(&str, f64); 9] = [
    ("B", 1.0),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
];

/// The least share of FP32's peak: a step with everything in 8 bits and most of it recomputed takes a hundred times as much.
const LEAST_SHARE: f64 = 1e-4;

/// How much memory a training step may take at its peak, everything counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// So many bytes.
    Bytes(usize),
    /// A share of what the FP32 assignment takes.
    Share(f64),
}

/// Why a text is not a limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseLimitError {
    /// It is not a decimal number with a unit.
    #[error(
        "not a size; write a decimal number with a unit, such as 300MiB or 2GB, or a share of FP32's peak such as 40%"
    )]
    Number,
    /// A number alone.
    #[error("a unit is missing: {0}?")]
    NoUnit(String),
    /// No size has this unit.
    #[error(
        "unknown unit `{0}`; the units are B, KB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB (powers of 1024) and %"
    )]
    Unit(String),
    /// Nothing fits it.
    #[error("a budget must be above 0")]
    NotPositive,
    /// A part of a byte, or a share that no step comes near.
    #[error("too small; a budget is at least 1B, or {}% of FP32's peak", 100.0 * LEAST_SHARE)]
    TooSmall,
    /// More than anyone has.
    #[error("too large; a budget is at most 1000000TB, or 1000% of FP32's peak")]
    TooLarge,
}

impl FromStr for Limit {
    type Err = ParseLimitError;

    fn from_str(text: &str) -> Result<Self, ParseLimitError> {
        let text = text.trim();
        let (number, unit) = split(text).ok_or(ParseLimitError::Number)?;
        let factor = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| factor);
        match (unit, factor) {
            // As in 0x10MiB and 1,000MiB.
            _ if unit.contains(|c: char| c.is_ascii_digit()) => Err(ParseLimitError::Number),
            ("" | "%", _) | (_, Some(_)) if number <= 0.0 => Err(ParseLimitError::NotPositive),
            // Who writes 0.4 may mean a share of 1.
            ("", _) if number < 1.0 => Err(ParseLimitError::NoUnit(format!("{}% or {text}MiB", percent(number)))),
            ("", _) => Err(ParseLimitError::NoUnit(format!("{text}% or {text}MiB"))),
            ("%", _) if number > 1000.0 => Err(ParseLimitError::TooLarge),
            ("%", _) if number / 100.0 < LEAST_SHARE => Err(ParseLimitError::TooSmall),
            ("%", _) => Ok(Limit::Share(number / 100.0)),
            (_, None) => Err(ParseLimitError::Unit(unit.to_string())),
            (_, Some(factor)) => match number * factor {
                bytes if bytes < 1.0 => Err(ParseLimitError::TooSmall),
                bytes if bytes > 1e18 => Err(ParseLimitError::TooLarge),
                bytes => Ok(Limit::Bytes(bytes as usize)),
            },
        }
    }
}

/// The number that a text begins with, and what follows it.
fn split(text: &str) -> Option<(f64, &str)> {
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '.' | '+' | '-' | 'e' | 'E');
    let longest = text.find(|c| !is_part(c)).unwrap_or(text.len());
    // The E of an exponent, or that of a unit.
    let number = (1..=longest).rev().find_map(|end| Some((text[..end].parse::<f64>().ok()?, text[end..].trim_start())));
    number.filter(|(number, _)| !number.is_nan())
}

/// A share in percent, with as many digits as people write where that is the same share.
fn percent(share: f64) -> f64 {
    let short = (share * 1e8).round() / 1e6;
    if short / 100.0 == share { short } else { share * 100.0 }
}

/// Writes what [`FromStr`] reads back as the same limit.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Limit::Share(share) => write!(f, "{}%", percent(share)),
            Limit::Bytes(bytes) if bytes > 0 && bytes.is_multiple_of(1 << 20) => write!(f, "{}MiB", bytes >> 20),
            Limit::Bytes(bytes) => write!(f, "{bytes}B"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_read_back() {
        for (text, limit) in [
            ("300MiB", Limit::Bytes(300 << 20)),
            ("1000B", Limit::Bytes(1000)),
            ("40%", Limit::Share(0.4)),
            ("0.5%", Limit::Share(0.005)),
        ] {
            assert_eq!(text.parse(), Ok(limit));
            assert_eq!(limit.to_string(), text);
        }
        for percent in 1..=1000 {
            let limit = format!("{percent}%").parse::<Limit>().unwrap();
            assert_eq!(limit.to_string(), format!("{percent}%"));
        }
    }

    #[test]
    fn numbers_and_units_are_written_in_many_ways() {
        for (text, limit) in [
            ("2gb", Limit::Bytes(2_000_000_000)),
            ("1.5GiB", Limit::Bytes(3 << 29)),
            ("40 %", Limit::Share(0.4)),
            (" 40% ", Limit::Share(0.4)),
            ("300 MiB", Limit::Bytes(300 << 20)),
            ("1e3kb", Limit::Bytes(1_000_000)),
            ("+2TB", Limit::Bytes(2_000_000_000_000)),
            (".5MiB", Limit::Bytes(1 << 19)),
            ("150%", Limit::Share(1.5)),
        ] {
            assert_eq!(text.parse(), Ok(limit), "{text}");
        }
    }

    #[test]
    fn what_is_no_limit_is_refused_with_the_reason() {
        let no_unit = |text: &str| ParseLimitError::NoUnit(text.to_string());
        let unit = |text: &str| ParseLimitError::Unit(text.to_string());
        for (text, error) in [
            ("", ParseLimitError::Number),
            ("MiB", ParseLimitError::Number),
            ("%", ParseLimitError::Number),
            ("NaN%", ParseLimitError::Number),
            ("inf", ParseLimitError::Number),
            ("half", ParseLimitError::Number),
            ("40", no_unit("40% or 40MiB")),
            ("0.4", no_unit("40% or 0.4MiB")),
            ("0", ParseLimitError::NotPositive),
            ("0%", ParseLimitError::NotPositive),
            ("-5%", ParseLimitError::NotPositive),
            ("-300MiB", ParseLimitError::NotPositive),
            ("2G", unit("G")),
            ("1EB", unit("EB")),
            ("40%%", unit("%%")),
            ("0G", unit("G")),
            ("1.5.2GiB", ParseLimitError::Number),
            ("0x10MiB", ParseLimitError::Number),
            ("1,000MiB", ParseLimitError::Number),
            ("1_000 MiB", ParseLimitError::Number),
            ("300MiBs", unit("MiBs")),
            ("0.1B", ParseLimitError::TooSmall),
            ("0.0001%", ParseLimitError::TooSmall),
            ("1e-300%", ParseLimitError::TooSmall),
            ("1001%", ParseLimitError::TooLarge),
            ("99999999999GiB", ParseLimitError::TooLarge),
            ("1e400MiB", ParseLimitError::TooLarge),
            ("1e400%", ParseLimitError::TooLarge),
        ] {
            assert_eq!(text.parse::<Limit>(), Err(error), "{text}");
        }
        let too_small = ParseLimitError::TooSmall.to_string();
        assert_eq!(too_small, "too small; a budget is at least 1B, or 0.01% of FP32's peak");
        assert_eq!("0.01%".parse(), Ok(Limit::Share(1e-4)));
        assert_eq!(no_unit("40% or 40MiB").to_string(), "a unit is missing: 40% or 40MiB?");
    }
}
