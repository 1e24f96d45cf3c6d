//! Channels of several tensors side by side.

use bitbudget_formats::{Format, Overflow};

use super::ChannelRun;
use crate::chain::{keeps_infinity, round};
use crate::elements::Elements;
use crate::error::{ShapeError, check, elements, geometry};

/// Elements that are rounded while they are in the nearest cache.
const TILE: usize = 2048;

/// The channels of a result, by where they come from.
pub(super) struct Channels<'a> {
    plane: usize,
    channels: Vec<Channel<'a>>,
    /// How numbers are rounded that are not of the format already, and whether infinities stay.
    rounding: Option<((Format, Overflow), bool)>,
}

/// Where a channel comes from.
struct Channel<'a> {
    x: Elements<'a>,
    /// Channels of `x`.
    channels: usize,
    /// The channel's number there.
    at: usize,
    /// Channels of the result that follow each other there, this one counted.
    left: usize,
}

impl<'a> Channels<'a> {
    pub(super) fn new(
        batch: usize,
        plane: usize,
        runs: &[ChannelRun<'a>],
        rounding: Option<(Format, Overflow)>,
    ) -> Result<Self, ShapeError> {
        let mut channels = Vec::new();
        for &ChannelRun { x, channels: all, first, count } in runs {
            check("channels", &[("x", x.len(), elements(&[batch, all, plane]))])?;
            if first.checked_add(count).is_none_or(|end| end > all) {
                return Err(geometry("channels", format!("{count} channels from {first} on leave {all}")));
            }
            channels.extend((0..count).map(|i| Channel { x, channels: all, at: first + i, left: count - i }));
        }
        let moved = |(format, _)| runs.iter().all(|run| is_moved(run.x, format));
        let rounding = rounding.filter(|&rounding| !moved(rounding));
        Ok(Channels { plane, channels, rounding: rounding.map(|rounding| (rounding, keeps_infinity(rounding))) })
    }

    pub(super) fn count(&self) -> usize {
        self.channels.len()
    }

    pub(super) fn unpack(&self, start: usize, y: &mut [f32]) {
        let Some((rounding, keeps_infinity)) = self.rounding else { return self.gather(start, y) };
        for (tile, y) in y.chunks_mut(TILE).enumerate() {
            self.gather(start + tile * TILE, y);
            round(rounding, keeps_infinity, y);
        }
    }

    fn gather(&self, start: usize, mut y: &mut [f32]) {
        let mut at = start;
        while !y.is_empty() {
            let (row, column) = (at / self.plane, at % self.plane);
            let (image, channel) = (row / self.channels.len(), &self.channels[row % self.channels.len()]);
            let count = (channel.left * self.plane - column).min(y.len());
            let (piece, rest) = y.split_at_mut(count);
            channel.x.unpack((image * channel.channels + channel.at) * self.plane + column, piece);
            (y, at) = (rest, at + count);
        }
    }
}

/// Whether elements are numbers of a format that rounding leaves as they are: those of formats without infinities.
/// Numbers in memory may be infinite nevertheless.
fn is_moved(x: Elements<'_>, format: Format) -> bool {
    x.numbers().is_none() && x.format() == format && !keeps_infinity((format, Overflow::NotFinite))
}
