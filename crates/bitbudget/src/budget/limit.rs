//! How much memory, and how that is written.

use std::fmt;
use std::str::FromStr;

/// Units of sizes, in bytes.
const UNITS: [(&str, f64); 8] = [
    ("", 1.0),
    ("B", 1.0),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
];

/// How much memory a training step may take at its peak, everything counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// So many bytes.
    Bytes(usize),
    /// A share of what the FP32 assignment takes.
    Share(f64),
}

/// A text that is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseLimitError {
    /// It is no size.
    #[error("write a size such as 300MiB or 2GB, or a share of FP32's peak such as 40%")]
    Size,
    /// It ends like a share, and is none.
    #[error("write a share such as 40%, above 0% and up to 1000%")]
    Share,
}

impl FromStr for Limit {
    type Err = ParseLimitError;

    fn from_str(text: &str) -> Result<Self, ParseLimitError> {
        if let Some(number) = text.strip_suffix('%') {
            let percent = number.parse::<f64>().ok().filter(|percent| *percent > 0.0 && *percent <= 1000.0);
            return percent.map(|percent| Limit::Share(percent / 100.0)).ok_or(ParseLimitError::Share);
        }
        let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let factor = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| factor);
        let bytes = number.parse::<f64>().ok().zip(factor).map(|(number, factor)| number * factor);
        let bytes = bytes.filter(|bytes| bytes.is_finite() && *bytes >= 1.0 && *bytes <= 1e18);
        bytes.map(|bytes| Limit::Bytes(bytes as usize)).ok_or(ParseLimitError::Size)
    }
}

/// Writes what [`FromStr`] reads back as the same limit.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            // Percents with as many digits as people write, where that is the same share.
            Limit::Share(share) => {
                let short = (share * 1e8).round() / 1e6;
                write!(f, "{}%", if short / 100.0 == share { short } else { share * 100.0 })
            }
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
        assert_eq!("2gb".parse(), Ok(Limit::Bytes(2_000_000_000)));
        for percent in 1..=1000 {
            let limit = format!("{percent}%").parse::<Limit>().unwrap();
            assert_eq!(limit.to_string(), format!("{percent}%"));
        }
        for (text, error) in [
            ("", ParseLimitError::Size),
            ("0", ParseLimitError::Size),
            ("1TB", ParseLimitError::Size),
            ("0%", ParseLimitError::Share),
            ("-5%", ParseLimitError::Share),
            ("NaN%", ParseLimitError::Share),
        ] {
            assert_eq!(text.parse::<Limit>(), Err(error), "{text}");
        }
    }
}
