//! The interface of elements that are computed as they are read.

use bitbudget_formats::Format;

use super::Elements;

/// Elements that are stored nowhere, but computed as they are read.
pub(crate) trait Computed: std::fmt::Debug + Sync {
    /// The number of elements.
    fn len(&self) -> usize;

    /// The format whose numbers the elements are.
    fn format(&self) -> Format;

    /// Writes the elements from `start` on to `y`, as many as it holds.
    fn unpack(&self, start: usize, y: &mut [f32]);

    /// Whether all numbers are known to be finite.
    fn is_finite(&self) -> bool;

    /// The mask that the elements are, if they are nothing else.
    fn mask(&self) -> Option<Mask<'_>>;
}

/// The normalised numbers between which a gradient passes; NaN stands for no bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) low: f32,
    pub(crate) high: f32,
}

/// The mask of dy: 1 where x, normalised by channel, is within bounds.
pub(crate) struct Mask<'a> {
    pub(crate) dy: Elements<'a>,
    pub(crate) x: Elements<'a>,
    pub(crate) bounds: Bounds,
    pub(crate) tables: [&'a [f32]; 3],
}
