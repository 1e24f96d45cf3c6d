//! Channels of several tensors side by side.

use bitbudget_formats::{Counts, Format, Overflow, round_slice};
use rayon::prelude::*;

use crate::elementwise::chain::round;
use crate::error::{ShapeError, check, elements, geometry};
use crate::tensors::elements::Elements;
use crate::tensors::parallel::with_scratch;

/// Elements of a task.
const TASK: usize = 32 * TILE;
/// Elements that are rounded while they are in the nearest cache.
const TILE: usize = 2048;

/// Successive channels of a tensor.
#[derive(Clone, Copy, Debug)]
pub struct ChannelRun<'a> {
    /// `[batch, channels, plane]`.
    pub x: Elements<'a>,
    /// Channels of `x`.
    pub channels: usize,
    /// The first one that is taken.
    pub first: usize,
    /// How many are taken.
    pub count: usize,
}

/// The channels of a result, by where they come from.
pub(super) struct Channels<'a> {
    batch: usize,
    plane: usize,
    /// The tensors that they come from, once for each run.
    sources: Vec<Elements<'a>>,
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
        let moved = |(format, _)| runs.iter().all(|run| run.x.stays_in(format));
        let rounding = rounding.filter(|&rounding| !moved(rounding));
        let sources = runs.iter().map(|run| run.x).collect();
        let rounding = rounding.map(|(format, overflow)| ((format, overflow), overflow.keeps_infinity(format)));
        Ok(Channels { batch, plane, sources, channels, rounding })
    }

    pub(super) fn count(&self) -> usize {
        self.channels.len()
    }

    pub(super) fn is_finite(&self) -> bool {
        let saturates = self.rounding.is_none_or(|((_, overflow), _)| overflow == Overflow::Saturate);
        saturates && self.sources_are_finite()
    }

    fn sources_are_finite(&self) -> bool {
        // Runs of one tensor mostly follow each other.
        let places = |x: &Elements<'_>, y: &Elements<'_>| x.is_same(*y);
        self.sources.chunk_by(places).all(|same| same.first().is_none_or(|x| x.is_finite()))
    }

    /// The counts of rounding all elements.
    pub(super) fn counts(&self, rounding: Option<(Format, Overflow)>) -> Counts {
        let Some((format, overflow)) = rounding else { return Counts::default() };
        if self.rounding.is_none() && self.sources_are_finite() {
            return Counts::default();
        }
        let len = self.batch * self.channels.len() * self.plane;
        let task = |task: usize| {
            let tiles = (task * TASK..len.min((task + 1) * TASK)).step_by(TILE);
            with_scratch(TILE, |scratch| {
                let count = |start: usize| {
                    let y = &mut scratch[..TILE.min(len - start)];
                    self.gather(start, y);
                    round_slice(format, overflow, y)
                };
                tiles.map(count).sum::<Counts>()
            })
        };
        (0..len.div_ceil(TASK)).into_par_iter().with_max_len(1).map(task).sum()
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
