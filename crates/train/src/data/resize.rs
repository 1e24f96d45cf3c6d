//! Images of another size than the network's.

use std::fmt;
use std::str::FromStr;

use super::change::Change;
use crate::{Error, ErrorKind, Result};

/// How images of another size are adapted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resize {
    /// Zeros around an image that is smaller by at most a quarter of its side in each direction; interpolation to a size of the
    /// same aspect ratio.
    #[default]
    Auto,
    /// Nothing.
    None,
    /// Interpolation to the largest size of the same aspect ratio, and zeros for the rest.
    Fit,
    /// Interpolation, whatever becomes of the aspect ratio.
    Stretch,
}

impl Resize {
    const ALL: [Resize; 4] = [Resize::Auto, Resize::None, Resize::Fit, Resize::Stretch];

    fn name(self) -> &'static str {
        match self {
            Resize::Auto => "auto",
            Resize::None => "none",
            Resize::Fit => "fit",
            Resize::Stretch => "stretch",
        }
    }

    /// The changes that give an image another height and width; where they are not allowed, the reason and what to do.
    pub(super) fn changes(self, from: [usize; 2], to: [usize; 2]) -> std::result::Result<Vec<Change>, String> {
        let [[height, width], [to_height, to_width]] = [from, to];
        if from == to {
            return Ok(Vec::new());
        }
        match self {
            Resize::None => Err(format!(
                "images of {height}x{width} are not {to_height}x{to_width}, and --resize none leaves them as they are; \
                 leave it out, or choose --resize fit or stretch"
            )),
            Resize::Auto => match [padding(height, to_height, height / 4), padding(width, to_width, width / 4)] {
                [Some(rows), Some(columns)] => Ok(vec![Change::Pad([rows, columns])]),
                _ if is_same_ratio(from, to) => Ok(vec![Change::Resize(to_height, to_width)]),
                _ => Err(format!(
                    "images of {height}x{width} become {to_height}x{to_width} only with another aspect ratio; choose \
                     --resize stretch to distort them, or --resize fit to keep the ratio and add zeros"
                )),
            },
            Resize::Fit => {
                let scale = f64::min(to_height as f64 / height as f64, to_width as f64 / width as f64);
                let scaled = |size: usize, most: usize| ((size as f64 * scale).round() as usize).clamp(1, most);
                let [inner_height, inner_width] = match is_same_ratio(from, to) {
                    true => to,
                    false => [scaled(height, to_height), scaled(width, to_width)],
                };
                let mut changes = Vec::new();
                if [inner_height, inner_width] != from {
                    changes.push(Change::Resize(inner_height, inner_width));
                }
                let rest = [padding(inner_height, to_height, to_height), padding(inner_width, to_width, to_width)];
                if let ([Some(rows), Some(columns)], true) = (rest, [inner_height, inner_width] != to) {
                    changes.push(Change::Pad([rows, columns]));
                }
                Ok(changes)
            }
            Resize::Stretch => Ok(vec![Change::Resize(to_height, to_width)]),
        }
    }
}

/// Whether two sizes have one aspect ratio, up to a hundredth, since sizes are whole pixels.
fn is_same_ratio([height, width]: [usize; 2], [to_height, to_width]: [usize; 2]) -> bool {
    let (one, other) = (to_height as f64 * width as f64, to_width as f64 * height as f64);
    (one - other).abs() <= 0.01 * one.min(other)
}

/// The zeros before and after a side that is too short by at most so much; an odd rest goes after.
fn padding(size: usize, wanted: usize, most: usize) -> Option<(usize, usize)> {
    let missing = wanted.checked_sub(size).filter(|&missing| missing <= most)?;
    Some((missing / 2, missing - missing / 2))
}

impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Resize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Resize::ALL.into_iter().find(|resize| resize.name() == text).ok_or_else(|| {
            let message = format!("unknown way to resize `{text}`: write auto, none, fit or stretch");
            Error::new(ErrorKind::Invalid, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for resize in Resize::ALL {
            assert_eq!(resize.to_string().parse(), Ok(resize));
        }
        let error = "crop".parse::<Resize>().unwrap_err();
        assert!(error.to_string().contains("write auto, none, fit or stretch"), "{error}");
    }

    #[test]
    fn only_stretching_changes_the_aspect_ratio() {
        use Change::Pad;
        let resized = |height, width| Change::Resize(height, width);
        for (resize, from, to, expected) in [
            (Resize::Auto, [28, 28], [32, 32], vec![Pad([(2, 2), (2, 2)])]),
            (Resize::Auto, [8, 8], [32, 32], vec![resized(32, 32)]),
            (Resize::Auto, [32, 32], [8, 8], vec![resized(8, 8)]),
            // 298.7 columns would be exact.
            (Resize::Auto, [30, 40], [224, 299], vec![resized(224, 299)]),
            (Resize::Auto, [16, 16], [20, 16], vec![Pad([(2, 2), (0, 0)])]),
            (Resize::Fit, [28, 28], [32, 32], vec![resized(32, 32)]),
            (Resize::Fit, [10, 20], [32, 32], vec![resized(16, 32), Pad([(8, 8), (0, 0)])]),
            (Resize::Fit, [32, 16], [32, 32], vec![Pad([(0, 0), (8, 8)])]),
            (Resize::Fit, [1, 100], [10, 10], vec![resized(1, 10), Pad([(4, 5), (0, 0)])]),
            (Resize::Stretch, [28, 28], [28, 14], vec![resized(28, 14)]),
            (Resize::None, [28, 28], [28, 28], vec![]),
        ] {
            assert_eq!(resize.changes(from, to), Ok(expected), "{resize} {from:?} {to:?}");
        }
        for (resize, from, to, part) in [
            (Resize::Auto, [28, 28], [28, 14], "--resize stretch"),
            (Resize::Auto, [28, 28], [28, 1], "--resize fit"),
            (Resize::Auto, [1, 4], [1, 2], "another aspect ratio"),
            (Resize::None, [8, 8], [32, 32], "--resize none"),
        ] {
            let told = resize.changes(from, to).unwrap_err();
            assert!(told.contains(part), "{told}");
        }
    }
}
