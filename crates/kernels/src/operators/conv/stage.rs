//! Planes of a tensor on their way into the lanes of vectors.

use super::layout::Layout;
use crate::operators::product::interleave;
use crate::tensors::elements::Elements;

/// Elements that are unpacked at a time.
pub(super) const UNPACKED: usize = 8 * 1024;
/// Elements behind a line, so that lines do not lie at powers of two and compete for the same lines of the cache.
const GAP: usize = 16;

/// The planes of a tensor.
#[derive(Clone, Copy)]
pub(super) struct Planes<'a> {
    pub(super) x: Elements<'a>,
    /// Height and width of a plane.
    pub(super) size: [usize; 2],
}

/// Planes by number: `count` from `first` on that are `step` apart.
#[derive(Clone, Copy)]
pub(super) struct Picked {
    pub(super) first: usize,
    pub(super) step: usize,
    pub(super) count: usize,
}

/// The staged part of some planes: the inputs of `rows` rows of outputs from `start` on.
pub(super) struct Window<'a> {
    pub(super) planes: Planes<'a>,
    pub(super) layout: &'a Layout,
    pub(super) start: usize,
    pub(super) rows: usize,
}

impl Window<'_> {
    /// The first row that is read, and how many elements of each plane are.
    pub(super) fn source(&self) -> (usize, usize) {
        let (row, end) = self.layout.source_rows(self.start, self.rows);
        (row, (end - row) * self.planes.size[1])
    }
}

/// The same rows of several planes.
pub(super) struct Lines<'a> {
    data: &'a [f32],
    distance: usize,
    len: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn get(&self, i: usize) -> &'a [f32] {
        &self.data[i * self.distance..][..self.len]
    }
}

impl Planes<'_> {
    /// `len` elements of each plane from a row on. The buffer has at least as many times [`line`] of `len` elements as there
    /// are planes.
    pub(super) fn lines<'s>(
        &'s self,
        Picked { first, step, count }: Picked,
        row: usize,
        len: usize,
        buffer: &'s mut [f32],
    ) -> Lines<'s> {
        let plane = self.size[0] * self.size[1];
        let start = first * plane + row * self.size[1];
        if let Some(x) = self.x.numbers()
            && (count < 8 || !(step * plane).is_multiple_of(8 * GAP))
        {
            return Lines { data: &x[start..], distance: step * plane, len };
        }
        if len == plane && step == 1 && self.x.numbers().is_none() {
            self.x.unpack(start, &mut buffer[..count * len]);
            return Lines { data: buffer, distance: len, len };
        }
        for (i, buffer) in buffer.chunks_mut(line(len)).enumerate().take(count) {
            self.x.unpack(start + i * step * plane, &mut buffer[..len]);
        }
        Lines { data: buffer, distance: line(len), len }
    }
}

/// Elements from one line of `len` to the next.
pub(super) fn line(len: usize) -> usize {
    len.next_multiple_of(GAP) + GAP
}

/// How many lines of `len` elements are unpacked at a time, where each step takes `multiple`.
pub(super) fn lines_together(len: usize, multiple: usize) -> usize {
    (UNPACKED / (line(len) * multiple)).max(1)
}

/// Puts lines, which begin with source row `first`, side by side where the outputs from row `start` on read them; lanes
/// that have no line are zero. What lies outside the source is left as it is.
pub(super) fn place(
    layout: &Layout,
    start: usize,
    first: usize,
    lines: &[&[f32]],
    lanes: usize,
    staged: &mut [f32],
    between: &mut [f32],
) {
    let n = lines.first().map_or(0, |line| line.len());
    match (layout.is_plain(), lines) {
        _ if n == 0 => {}
        (true, [line]) if lanes == 1 => staged[..n].copy_from_slice(line),
        (false, [line]) if lanes == 1 => layout.place(start, first, 1, line, staged),
        (true, _) => interleave(lines, lanes, n, staged),
        (false, _) => {
            interleave(lines, lanes, n, between);
            layout.place(start, first, lanes, between, staged);
        }
    }
}
