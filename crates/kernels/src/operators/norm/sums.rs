//! Sums of each channel over shares of images and channels.
//!
//! Where rows are long, each is summed on its own in vector registers. Where they are short, one sum is kept for every
//! position of an image, images are added up position by position, and the positions of a channel at the end: codes are
//! then read in runs of many channels, whatever the length of a row.

use std::ops::Range;

use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use super::registers::{self, Factors, Fused};
use super::row::{Passing, Sums, add_positions, lane_sum, passing_row_sums, row_sums};
use crate::tensors::elements::{Bounds, Elements, Mask, Stored};
use crate::tensors::parallel::with_scratch;
use crate::tensors::tile::Tiles;

/// Elements that are unpacked at a time.
const TILE: usize = 2048;
/// Images of a share.
const IMAGES: usize = 16;
/// Elements of an image that a share takes, about, where rows are long.
const POSITIONS: usize = 8 * 1024;
/// The same where they are short, so that the sums of all positions stay in the cache.
const SHORT_POSITIONS: usize = 2 * 1024;
/// The shortest row that is summed on its own.
const LONG_ROW: usize = 256;

/// Images and channels of one task.
#[derive(Clone)]
pub(super) struct Share {
    images: Range<usize>,
    channels: Range<usize>,
}

/// The results of `f` for each share of `[n, c, s]`, in a fixed order, with the share's channels.
pub(super) fn by_share<T: Send>(
    [n, c, s]: [usize; 3],
    f: impl Fn(Share) -> Vec<T> + Sync + Send,
) -> Vec<(Range<usize>, Vec<T>)> {
    let positions = if s >= LONG_ROW { POSITIONS } else { SHORT_POSITIONS };
    let group = (positions / s.max(1)).clamp(1, c.max(1));
    let groups = c.div_ceil(group);
    let share = |index: usize| {
        let (first_image, first_channel) = (index / groups * IMAGES, index % groups * group);
        Share {
            images: first_image..(first_image + IMAGES).min(n),
            channels: first_channel..(first_channel + group).min(c),
        }
    };
    let run = |index: usize| (share(index).channels, f(share(index)));
    match n.div_ceil(IMAGES) * groups {
        shares @ 0..=1 => (0..shares).map(run).collect(),
        shares => (0..shares).into_par_iter().with_max_len(1).map(run).collect(),
    }
}

/// Two sums and what they are taken of.
#[derive(Clone, Copy)]
struct Terms<'a> {
    sums: Sums,
    x: Elements<'a>,
    y: Option<Elements<'a>>,
}

/// A row, or a part of one, of x and y.
enum Row<'a> {
    Numbers {
        x: &'a [f32],
        y: &'a [f32],
    },
    /// The same where y is what passes of it.
    Passing {
        x: &'a [f32],
        y: &'a [f32],
        passing: Passing,
    },
    /// Whole blocks of codes that are summed in registers.
    #[cfg(target_arch = "x86_64")]
    Codes {
        fused: Fused<'a>,
        at: usize,
        len: usize,
        channel: usize,
    },
}

impl Row<'_> {
    fn len(&self) -> usize {
        match self {
            Row::Numbers { x, .. } | Row::Passing { x, .. } => x.len(),
            #[cfg(target_arch = "x86_64")]
            Row::Codes { len, .. } => *len,
        }
    }

    /// Two sums over the row, about a number.
    fn sums(&self, sums: Sums, mean: f32) -> [f64; 2] {
        match *self {
            Row::Numbers { x, y } => row_sums(sums, x, y, mean),
            Row::Passing { x, y, passing } => passing_row_sums(sums, passing, x, y, mean),
            #[cfg(target_arch = "x86_64")]
            Row::Codes { fused, at, len, channel } => {
                let [a, b] = fused.row(sums, at, len, mean, channel);
                [lane_sum(&a), lane_sum(&b)]
            }
        }
    }
}

/// x in FP32, and a gradient in FP32 that passes where x, normalised, is within bounds.
struct MaskedNumbers<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    bounds: Bounds,
    /// Means, factors and biases by channel.
    tables: [&'a [f32]; 3],
}

impl<'a> MaskedNumbers<'a> {
    /// None for other operands.
    fn new(x: Elements<'a>, y: Option<Elements<'a>>) -> Option<Self> {
        let Stored::Derived(y) = y?.stored() else { return None };
        let Mask { dy, x: of_mask, bounds, tables } = y.mask()?;
        let own = of_mask.is_same(x).then(|| x.numbers())??;
        Some(MaskedNumbers { x: own, dy: dy.numbers()?, bounds, tables })
    }

    fn passing(&self, channel: usize) -> Passing {
        Passing { bounds: self.bounds, factors: self.tables.map(|table| table[channel]) }
    }
}

impl Share {
    fn is_long([.., s]: [usize; 3]) -> bool {
        s >= LONG_ROW
    }

    /// Runs `f(channel within the share, row)` over the rows, or parts of rows, of the share.
    fn rows(&self, [_, c, s]: [usize; 3], x: Elements<'_>, y: Option<Elements<'_>>, mut f: impl FnMut(usize, Row<'_>)) {
        let tiles = Tiles::new(self.channels.len(), s, 1, TILE);
        #[cfg(target_arch = "x86_64")]
        if let Some(fused) = Fused::new(x, y).filter(|_| s.is_multiple_of(registers::BLOCK)) {
            for image in self.images.clone() {
                let start = (image * c + self.channels.start) * s;
                for tile in tiles.all() {
                    for i in 0..tile.rows() {
                        let (at, channel) = (start + tile.start + i * tile.row_len, self.channels.start + tile.row + i);
                        f(tile.row + i, Row::Codes { fused, at, len: tile.row_len, channel });
                    }
                }
            }
            return;
        }
        if let Some(masked) = MaskedNumbers::new(x, y) {
            for image in self.images.clone() {
                let start = (image * c + self.channels.start) * s;
                for tile in tiles.all() {
                    for i in 0..tile.rows() {
                        let range = start + tile.start + i * tile.row_len..start + tile.start + (i + 1) * tile.row_len;
                        let (x, y) = (&masked.x[range.clone()], &masked.dy[range]);
                        let passing = masked.passing(self.channels.start + tile.row + i);
                        f(tile.row + i, Row::Passing { x, y, passing });
                    }
                }
            }
            return;
        }
        with_scratch(2 * tiles.longest(), |scratch| {
            let (x_scratch, y_scratch) = scratch.split_at_mut(tiles.longest());
            for image in self.images.clone() {
                let start = (image * c + self.channels.start) * s;
                for tile in tiles.all() {
                    let x = x.read(start + tile.start, tile.len, x_scratch);
                    let y = y.map_or(x, |y| y.read(start + tile.start, tile.len, y_scratch));
                    let rows = x.chunks_exact(tile.row_len).zip(y.chunks_exact(tile.row_len));
                    rows.enumerate().for_each(|(i, (x, y))| f(tile.row + i, Row::Numbers { x, y }));
                }
            }
        });
    }

    /// Adds the positions of `images` of the share to the sums of these positions.
    fn positions(
        &self,
        [_, c, s]: [usize; 3],
        images: Range<usize>,
        Terms { sums, x, y }: Terms<'_>,
        means: &[f32],
        [a, b]: [&mut [f32]; 2],
    ) {
        #[cfg(target_arch = "x86_64")]
        let done = Fused::new(x, y).map_or(0, |fused| {
            let whole = a.len() / registers::BLOCK * registers::BLOCK;
            let start = (images.start * c + self.channels.start) * s;
            let apart = [images.len(), c * s];
            let sums_of = |factors: Factors<'_>, a: &mut [f32], b: &mut [f32]| {
                fused.positions(sums, start, apart, &means[..whole], factors, [&mut a[..whole], &mut b[..whole]]);
            };
            match fused.factors() {
                None => sums_of([&[]; 3], a, b),
                Some(factors) => with_scratch(3 * whole, |scratch| {
                    let (first, rest) = scratch.split_at_mut(whole);
                    let (second, third) = rest.split_at_mut(whole);
                    for (positions, table) in [&mut *first, &mut *second, &mut *third].into_iter().zip(factors) {
                        let of_channels = &table[self.channels.start..];
                        positions.chunks_mut(s).zip(of_channels).for_each(|(positions, x)| positions.fill(*x));
                    }
                    sums_of([first, second, third], a, b);
                }),
            }
            whole
        });
        #[cfg(not(target_arch = "x86_64"))]
        let done = 0;
        if done == a.len() {
            return;
        }
        with_scratch(2 * TILE, |scratch| {
            let (x_scratch, y_scratch) = scratch.split_at_mut(TILE);
            for image in images {
                let start = (image * c + self.channels.start) * s;
                for at in (done..a.len()).step_by(TILE) {
                    let run = at..(at + TILE).min(a.len());
                    let x = x.read(start + at, run.len(), x_scratch);
                    let y = y.map_or(x, |y| y.read(start + at, run.len(), y_scratch));
                    add_positions(sums, x, y, &means[run.clone()], &mut a[run.clone()], &mut b[run]);
                }
            }
        });
    }
}

/// Two sums for each channel of a share; y is read only where the sums need it, mean (`[c]`) too.
pub(super) fn sums_of_share(
    shape: [usize; 3],
    share: Share,
    sums: Sums,
    x: Elements<'_>,
    y: Elements<'_>,
    mean: &[f32],
) -> Vec<[f64; 2]> {
    let y = matches!(sums, Sums::Products | Sums::ProductsAndTotal).then_some(y);
    let mean = |channel: usize| mean.get(share.channels.start + channel).copied().unwrap_or(0.0);
    let count = share.channels.len();
    if Share::is_long(shape) {
        let mut totals = vec![[0.0; 2]; count];
        share.rows(shape, x, y, |channel, row| {
            let [a, b] = row.sums(sums, mean(channel));
            totals[channel][0] += a;
            totals[channel][1] += b;
        });
        return totals;
    }
    let s = shape[2];
    with_scratch(3 * count * s, |scratch| {
        let (means, rest) = scratch.split_at_mut(count * s);
        rest.fill(0.0);
        let (a, b) = rest.split_at_mut(count * s);
        means.chunks_mut(s.max(1)).enumerate().for_each(|(channel, means)| means.fill(mean(channel)));
        share.positions(shape, share.images.clone(), Terms { sums, x, y }, means, [a, b]);
        let total = |positions: &[f32]| positions.iter().map(|x| f64::from(*x)).sum();
        (0..count).map(|i| [total(&a[i * s..(i + 1) * s]), total(&b[i * s..(i + 1) * s])]).collect()
    })
}

/// Mean and sum of squared deviations of some numbers.
#[derive(Clone, Copy, Default)]
pub(super) struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// From the sums of deviations and of their squares about a number.
    fn about(pivot: f64, count: f64, deviations: f64, squares: f64) -> Self {
        Moments { count, mean: pivot + deviations / count, squares: squares - deviations * deviations / count }
    }

    /// The mean.
    pub(super) fn mean(&self) -> f32 {
        self.mean as f32
    }

    /// The variance about the mean.
    pub(super) fn variance(&self) -> f32 {
        (self.squares / self.count) as f32
    }

    /// The variance about another number.
    pub(super) fn variance_about(&self, center: f32) -> f32 {
        (self.squares / self.count + (self.mean - f64::from(center)).powi(2)) as f32
    }

    /// Takes in more numbers.
    pub(super) fn add(&mut self, more: Moments) {
        if self.count == 0.0 {
            *self = more;
            return;
        }
        let count = self.count + more.count;
        let delta = more.mean - self.mean;
        self.mean += delta * more.count / count;
        self.squares += more.squares + delta * delta * self.count * more.count / count;
        self.count = count;
    }
}

/// The moments of each channel of a share.
pub(super) fn moments_of_share(shape: [usize; 3], share: Share, x: Elements<'_>) -> Vec<Moments> {
    let count = share.channels.len();
    if Share::is_long(shape) {
        let mut totals = vec![Moments::default(); count];
        share.rows(shape, x, None, |channel, row| {
            let count = row.len() as f64;
            // The mean of the images before is as near that of the row as the variance says; the first row's is its own.
            let pivot = match &totals[channel] {
                before if before.count > 0.0 => before.mean as f32,
                _ => (row.sums(Sums::Total, 0.0)[0] / count) as f32,
            };
            let [deviations, squares] = row.sums(Sums::Deviations, pivot);
            totals[channel].add(Moments::about(f64::from(pivot), count, deviations, squares));
        });
        return totals;
    }
    let s = shape[2];
    with_scratch(3 * count * s, |scratch| {
        scratch.fill(0.0);
        let (pivots, rest) = scratch.split_at_mut(count * s);
        let (a, b) = rest.split_at_mut(count * s);
        // A position's pivot is its mean over the first images.
        let first = share.images.start..share.images.end.min(share.images.start + 4);
        share.positions(shape, first.clone(), Terms { sums: Sums::Total, x, y: None }, b, [pivots, a]);
        pivots.iter_mut().for_each(|pivot| *pivot /= first.len() as f32);
        share.positions(shape, share.images.clone(), Terms { sums: Sums::Deviations, x, y: None }, pivots, [a, b]);
        let images = share.images.len() as f64;
        let moments = |i: usize| {
            let range = i * s..(i + 1) * s;
            let pivot = pivots.get(range.start).map_or(0.0, |pivot| f64::from(*pivot));
            let (mut deviations, mut squares) = (0.0, 0.0);
            for ((own, a), b) in pivots[range.clone()].iter().zip(&a[range.clone()]).zip(&b[range]) {
                // From the position's pivot to that of the channel.
                let (a, b, shift) = (f64::from(*a), f64::from(*b), f64::from(*own) - pivot);
                deviations += a + images * shift;
                squares += b + 2.0 * shift * a + images * shift * shift;
            }
            Moments::about(pivot, images * s as f64, deviations, squares)
        };
        (0..count).map(moments).collect()
    })
}
