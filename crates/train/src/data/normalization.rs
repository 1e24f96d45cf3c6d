//! Normalisation of stored values.

use serde::{Deserialize, Serialize};

/// Turns a stored value into the network's input: `(stored / divisor - mean) / std`.
///
/// A mean and a deviation belong to each of as many equal, consecutive parts of an example, which are its channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Normalization {
    /// Largest stored value, 1 where values are used as they are.
    pub divisor: f32,
    /// Mean per channel, of values already divided.
    pub mean: Vec<f32>,
    /// Standard deviation per channel, of values already divided.
    pub std: Vec<f32>,
}

impl Normalization {
    /// Only divides; with divisor 1 values stay as they are.
    pub fn divide_by(divisor: f32) -> Self {
        Normalization { divisor, mean: vec![0.0], std: vec![1.0] }
    }

    /// Mean and standard deviation per channel of byte images, `channels` x `plane` bytes each.
    ///
    /// A channel of one single value has deviation 1, so that it becomes zero and not a division by zero.
    pub(super) fn of_bytes(images: &[u8], channels: usize, plane: usize, divisor: f32) -> Self {
        // Sums of bytes and of their squares are exact in u64, so the order of summation has no influence.
        let mut sums = vec![(0u64, 0u64); channels];
        for (index, part) in images.chunks_exact(plane.max(1)).enumerate() {
            let (sum, squares) = &mut sums[index % channels];
            for &byte in part {
                *sum += u64::from(byte);
                *squares += u64::from(byte) * u64::from(byte);
            }
        }
        let count = (images.len() / channels.max(1)).max(1) as f64;
        let divisor64 = f64::from(divisor);
        let moments = sums.iter().map(|&(sum, squares)| {
            let mean = sum as f64 / count;
            let variance = (squares as f64 / count - mean * mean).max(0.0);
            let std = if variance > 1e-9 { variance.sqrt() / divisor64 } else { 1.0 };
            ((mean / divisor64) as f32, std as f32)
        });
        let (mean, std) = moments.unzip();
        Normalization { divisor, mean, std }
    }

    pub(super) fn fits(&self, example_len: usize) -> bool {
        let usable = |&value: &f32| value.is_finite() && value != 0.0;
        !self.mean.is_empty()
            && self.mean.len() == self.std.len()
            && example_len.is_multiple_of(self.mean.len())
            && usable(&self.divisor)
            && self.mean.iter().all(|mean| mean.is_finite())
            && self.std.iter().all(usable)
    }

    /// The network's input for a stored value of a channel.
    pub fn apply(&self, value: f32, channel: usize) -> f32 {
        (value / self.divisor - self.mean[channel]) / self.std[channel]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_per_channel() {
        // Two images of two channels of two pixels.
        let normalization = Normalization::of_bytes(&[0, 10, 7, 7, 20, 30, 7, 7], 2, 2, 10.0);
        assert_eq!(normalization.mean, [1.5, 0.7]);
        assert_eq!(normalization.std, [(1.25f64).sqrt() as f32, 1.0]);
        assert_eq!(normalization.apply(7.0, 1), 0.0);
    }

    #[test]
    fn divisor_one_changes_no_bit() {
        let identity = Normalization::divide_by(1.0);
        for value in [0.1, -0.0, f32::MIN_POSITIVE / 8.0, f32::MAX, -3.25e-20] {
            assert_eq!(identity.apply(value, 0).to_bits(), f32::to_bits(value));
        }
    }
}
