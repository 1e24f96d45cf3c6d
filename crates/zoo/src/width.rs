//! Networks of other widths.

/// Channels of a scaled layer: `width` times `channels`, rounded to a multiple of 4 (widths up to 0.25) or 8, and up where
/// rounding down would lose a tenth.
pub(crate) fn scaled(channels: usize, width: f64) -> usize {
    let unit = if width <= 0.25 { 4.0 } else { 8.0 };
    let exact = width * channels as f64;
    let rounded = f64::max(unit, ((exact + unit / 2.0) / unit).floor() * unit);
    (if rounded < 0.9 * exact { rounded + unit } else { rounded }) as usize
}

#[cfg(test)]
mod tests {
    use super::scaled;

    #[test]
    fn scaled_channels() {
        // ResNet-18 at width 0.1 has 8, 12, 24 and 52 channels (its weights as PyTorch exported them).
        assert_eq!([64, 128, 256, 512].map(|c| scaled(c, 0.1)), [8, 12, 24, 52]);
        assert_eq!([32, 16, 24, 160, 320].map(|c| scaled(c, 1.0)), [32, 16, 24, 160, 320]);
        // 0.25 x 24 = 6 rounds to 8 in units of 4; 0.5 x 24 = 12 to 16 in units of 8; 0.1 x 16 = 1.6 to one unit.
        assert_eq!((scaled(24, 0.25), scaled(24, 0.5), scaled(16, 0.1)), (8, 16, 4));
        // 0.1 x 96 = 9.6 would lose a tenth as 8.
        assert_eq!(scaled(96, 0.1), 12);
    }
}
