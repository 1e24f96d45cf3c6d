//! Planes of a packed tensor on their way into the lanes of vectors.

use super::layout::Layout;
use crate::Elements;
use crate::product::{Arithmetic, LANES, interleave, pair};

/// No plane: zeros.
pub(super) const NONE: usize = usize::MAX;

/// The planes of a tensor, and what an element of those that are staged is.
#[derive(Clone, Copy)]
pub(super) struct Planes<'a> {
    pub(super) x: Elements<'a>,
    /// Height and width of a plane.
    pub(super) size: [usize; 2],
    pub(super) arithmetic: Arithmetic,
}

/// Scratch memory that [`Planes::stage`] needs, for `rows` rows of outputs at most.
pub(super) fn scratch(layout: &Layout, rows: usize, lanes: usize) -> usize {
    layout.source_len(rows) * (2 * lanes + 2)
}

impl Planes<'_> {
    /// Stages 1, 2, 4, 8 or 16 planes for `rows` rows of outputs from `start` on. Every lane takes one plane, or the pair whose numbers
    /// its elements hold; what lies outside a plane is left as it is.
    pub(super) fn stage(
        &self,
        layout: &Layout,
        start: usize,
        rows: usize,
        lanes: &[[usize; 2]],
        staged: &mut [f32],
        scratch: &mut [f32],
    ) {
        let (first, end) = layout.source_rows(start, rows);
        let n = (end - first) * self.size[1];
        if n == 0 {
            return;
        }
        let (between, scratch) = scratch.split_at_mut(n * lanes.len());
        if layout.is_plain() {
            return self.gather(first, n, lanes, staged, scratch);
        }
        if let (1, Arithmetic::F32, Some(x)) = (lanes.len(), self.arithmetic, self.x.numbers()) {
            let x = &x[self.start(lanes[0][0], first)..][..n];
            return layout.place(start, first, 1, x, staged);
        }
        self.gather(first, n, lanes, between, scratch);
        layout.place(start, first, lanes.len(), between, staged);
    }

    fn start(&self, plane: usize, row: usize) -> usize {
        (plane * self.size[0] + row) * self.size[1]
    }

    /// `n` elements of every lane from a row on, side by side.
    fn gather(&self, row: usize, n: usize, lanes: &[[usize; 2]], out: &mut [f32], scratch: &mut [f32]) {
        if let [planes] = *lanes {
            return self.line(row, planes, &mut out[..n], scratch);
        }
        let (lines, rest) = scratch.split_at_mut(n * lanes.len());
        let mut found: [&[f32]; LANES] = [&[]; LANES];
        for ((line, planes), found) in lines.chunks_mut(n).zip(lanes).zip(&mut found) {
            *found = match (self.arithmetic, self.x.numbers()) {
                (Arithmetic::F32, Some(x)) if planes[0] != NONE => &x[self.start(planes[0], row)..][..n],
                _ => {
                    self.line(row, *planes, line, rest);
                    line
                }
            };
        }
        interleave(&found[..lanes.len()], n, out);
    }

    /// The elements of one lane.
    fn line(&self, row: usize, planes: [usize; 2], line: &mut [f32], scratch: &mut [f32]) {
        let n = line.len();
        if planes[0] == NONE {
            return line.fill(0.0);
        }
        if self.arithmetic == Arithmetic::F32 {
            return self.x.unpack(self.start(planes[0], row), line);
        }
        let (even, odd) = scratch[..2 * n].split_at_mut(n);
        let even = self.x.read(self.start(planes[0], row), n, even);
        let odd = if planes[1] == NONE {
            odd.fill(0.0);
            odd
        } else {
            self.x.read(self.start(planes[1], row), n, odd)
        };
        pair(even, odd, line);
    }
}
