//! Random changes of images: crops and flips.

use rand::{Rng, RngExt};

/// Zeros around an image before a random crop (paper: "random crop with padding 4").
const CROP_PADDING: usize = 4;

/// Where a crop starts in the padded image, and whether it is mirrored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placement {
    top: usize,
    left: usize,
    flip: bool,
}

impl Placement {
    pub(super) fn drawn(random: &mut impl Rng) -> Placement {
        let offset = 0..=2 * CROP_PADDING;
        Placement { top: random.random_range(offset.clone()), left: random.random_range(offset), flip: random.random() }
    }

    /// The row of an image that row `y` of the crop shows, if it shows one.
    pub(super) fn row(self, y: usize, height: usize) -> Option<usize> {
        (y + self.top).checked_sub(CROP_PADDING).filter(|&y| y < height)
    }

    /// Writes the part of an image's row that the crop shows into a row of the crop, and mirrors that.
    pub(super) fn place<T: Copy>(self, row: &[T], output: &mut [f32], input: impl Fn(T) -> f32) {
        // Output columns first..last of the crop lie inside the image and start at column `from` of it.
        let width = row.len();
        let first = CROP_PADDING.saturating_sub(self.left).min(width);
        let from = self.left.saturating_sub(CROP_PADDING).min(width);
        let inside = &row[from..][..width - first.max(from)];
        let cropped = &mut output[first..][..inside.len()];
        for (output, &value) in cropped.iter_mut().zip(inside) {
            *output = input(value);
        }
        if self.flip {
            output.reverse();
        }
    }
}
