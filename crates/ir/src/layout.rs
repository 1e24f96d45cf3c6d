//! In which order a tensor's elements lie.

use crate::types::Shape;

/// The order in which a tensor's elements lie in memory: as their indices say, or with some axes behind all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layout {
    /// How many axes after the first one lie last, in their own order; the axes behind them come before. With none, the last axis'
    /// elements lie side by side, those of the one before a row apart, and so on.
    pub last: u8,
}

impl Layout {
    /// As the indices say.
    pub const ROWS: Layout = Layout { last: 0 };

    /// `[N, C, …]` lies as `[N, …, C]`.
    pub const CHANNELS_LAST: Layout = Layout { last: 1 };

    /// The axes of a tensor of `rank` dimensions, the one whose elements lie side by side last.
    pub fn axes(self, rank: usize) -> Vec<usize> {
        let last = usize::from(self.last);
        match last > 0 && last + 1 < rank {
            true => [0].into_iter().chain(last + 1..rank).chain(1..=last).collect(),
            false => (0..rank).collect(),
        }
    }

    /// The axes of a shape in their order, those of one index left out.
    fn axes_of(self, shape: &Shape) -> Vec<usize> {
        let is_one = |axis: usize| shape.0[axis].as_fixed() == Some(1);
        self.axes(shape.rank()).into_iter().filter(|&axis| !is_one(axis)).collect()
    }

    /// Whether elements of a shape lie as their indices say, as those with one channel, or one pixel, do in any order.
    pub fn is_by_rows(self, shape: &Shape) -> bool {
        self.axes_of(shape).is_sorted()
    }

    /// Whether elements of the same indices lie in the same places in two orders.
    pub fn is_same(self, other: Layout, shape: &Shape) -> bool {
        self.axes_of(shape) == other.axes_of(shape)
    }

    /// Whether a tensor that lies so is another one of the same elements by another shape: the first element of one is that of the other, and so on.
    pub fn shows(self, shape: &Shape, other: Layout, by: &Shape) -> bool {
        if self.is_by_rows(shape) || other.is_by_rows(by) {
            return self.is_by_rows(shape) && other.is_by_rows(by);
        }
        let groups = |layout: Layout, shape: &Shape| {
            let (last, sizes) = (usize::from(layout.last), &shape.0[1..]);
            let product = |from: usize, to: usize| {
                sizes[from..to].iter().try_fold(1usize, |all, dim| Some(all.saturating_mul(dim.as_fixed()?)))
            };
            Some((shape.0[0], product(0, last)?, product(last, sizes.len())?))
        };
        groups(self, shape).is_some_and(|found| Some(found) == groups(other, by))
    }

    /// Whether the transposition of a tensor that lies so by a permutation lies in the other order without being moved.
    pub fn shows_transposed(self, shape: &Shape, permutation: &[usize], other: Layout) -> bool {
        let is_one = |axis: &usize| shape.0[*axis].as_fixed() == Some(1);
        let turned = other.axes(shape.rank()).into_iter().map(|axis| permutation[axis]).filter(|axis| !is_one(axis));
        turned.eq(self.axes_of(shape))
    }
}
