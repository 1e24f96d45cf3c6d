//! An input plane as convolution reads it: zero-padded, and split into phases, one for each residue of the index
//! modulo the stride. Inside a phase every tap of the kernel is a contiguous row of the output's width, whatever
//! stride, dilation and padding are.

use super::Conv2d;
use crate::simd::{copy_short, multiversion};

/// Elements after every buffer that vector loads and stores may touch beyond the last row.
pub(super) const SLACK: usize = 64;

/// Where the phases and taps of the input rows under `rows` rows of the output lie.
pub(super) struct Layout {
    axes: [Axis; 2],
    size: [usize; 2],
    /// Distance between rows.
    pub(super) width: usize,
    /// Elements of one phase.
    pub(super) phase_len: usize,
    /// Elements of all phases.
    pub(super) len: usize,
    /// Offset of output (0, 0)'s operand, for each tap of the kernel in row-major order.
    pub(super) taps: Vec<usize>,
}

struct Axis {
    stride: usize,
    pad: usize,
    /// Residues that some tap reads.
    phases: Vec<usize>,
    /// Elements along the axis inside one phase.
    len: usize,
}

impl Axis {
    fn new(g: &Conv2d, axis: usize, outputs: usize) -> Axis {
        let stride = g.stride[axis];
        let residues = (0..g.kernel[axis]).map(|k| k * g.dilation[axis] % stride);
        let mut phases: Vec<usize> = residues.collect();
        phases.sort_unstable();
        phases.dedup();
        Axis { stride, pad: g.pad_begin[axis], phases, len: outputs + g.extent(axis) / stride }
    }

    /// The phase's place and the distance inside it of a tap that is `distance` behind the first.
    fn tap(&self, distance: usize) -> (usize, usize) {
        let phase = distance % self.stride;
        (self.phases.iter().position(|&p| p == phase).unwrap_or(0), distance / self.stride)
    }

    /// For a phase that starts `start` outputs in: which of its elements lie inside an input of `size` elements, and
    /// the first one's input index.
    fn inside(&self, start: usize, phase: usize, size: usize) -> (usize, usize, usize) {
        let origin = start * self.stride + phase;
        let lo = self.pad.saturating_sub(origin).div_ceil(self.stride).min(self.len);
        let hi = (size + self.pad).saturating_sub(origin).div_ceil(self.stride).min(self.len).max(lo);
        (lo, hi, (origin + lo * self.stride).saturating_sub(self.pad))
    }
}

impl Layout {
    pub(super) fn new(g: &Conv2d, rows: usize) -> Layout {
        let axes = [Axis::new(g, 0, rows), Axis::new(g, 1, g.out_width())];
        let phase_len = axes[0].len * axes[1].len;
        let mut taps = Vec::with_capacity(g.taps());
        for ky in 0..g.kernel[0] {
            let (phase_y, y) = axes[0].tap(ky * g.dilation[0]);
            for kx in 0..g.kernel[1] {
                let (phase_x, x) = axes[1].tap(kx * g.dilation[1]);
                taps.push((phase_y * axes[1].phases.len() + phase_x) * phase_len + y * axes[1].len + x);
            }
        }
        let len = axes[0].phases.len() * axes[1].phases.len() * phase_len;
        Layout { width: axes[1].len, phase_len, len, taps, axes, size: [g.in_height, g.in_width] }
    }

    /// Calls `row(plane offset, input offset, elements)` for the input rows below output row `start` and on.
    #[inline(always)]
    fn rows(&self, start: usize, mut row: impl FnMut(usize, usize, usize)) {
        let [vertical, horizontal] = &self.axes;
        let mut phase = 0;
        for &py in &vertical.phases {
            let (top, bottom, first) = vertical.inside(start, py, self.size[0]);
            for &px in &horizontal.phases {
                let (left, right, column) = horizontal.inside(0, px, self.size[1]);
                if left < right {
                    for y in top..bottom {
                        let source = (first + (y - top) * vertical.stride) * self.size[1] + column;
                        row(phase * self.phase_len + y * self.width + left, source, right - left);
                    }
                }
                phase += 1;
            }
        }
    }

    /// Writes the phases of the input plane `x` that output rows from `start` on read.
    pub(super) fn stage(&self, start: usize, x: &[f32], plane: &mut [f32]) {
        stage(self, start, x, plane);
    }

    /// The inverse of [`Layout::stage`] for a whole plane; what no tap reads becomes zero.
    pub(super) fn unstage(&self, plane: &[f32], x: &mut [f32]) {
        unstage(self, plane, x);
    }
}

// Each stride has a loop of its own, which keeps the inner one inside the function compiled for the processor.
multiversion! {
    fn stage(layout: &Layout, start: usize, x: &[f32], plane: &mut [f32]) {
        plane[..layout.len].fill(0.0);
        match layout.axes[1].stride {
            1 => layout.rows(start, |to, from, len| copy_short(&x[from..from + len], &mut plane[to..to + len])),
            2 => layout.rows(start, |to, from, len| {
                let plane = &mut plane[to..to + len];
                plane[len - 1] = x[from + 2 * (len - 1)];
                plane.iter_mut().zip(x[from..from + 2 * len - 1].as_chunks::<2>().0).for_each(|(p, x)| *p = x[0]);
            }),
            stride => layout.rows(start, |to, from, len| {
                plane[to..to + len].iter_mut().zip(x[from..].iter().step_by(stride)).for_each(|(p, x)| *p = *x);
            }),
        }
    }
}

multiversion! {
    fn unstage(layout: &Layout, plane: &[f32], x: &mut [f32]) {
        x.fill(0.0);
        match layout.axes[1].stride {
            1 => layout.rows(0, |from, to, len| copy_short(&plane[from..from + len], &mut x[to..to + len])),
            stride => layout.rows(0, |from, to, len| {
                x[to..].iter_mut().step_by(stride).zip(&plane[from..from + len]).for_each(|(x, p)| *x = *p);
            }),
        }
    }
}

multiversion! {
    /// Copies the operands of one channel into columns, from `images` staged planes: `cols` holds `[images, rows, width]`
    /// for each tap, `distance` elements apart.
    pub(super) fn columns(
        layout: &Layout,
        planes: &[f32],
        images: usize,
        rows: usize,
        width: usize,
        distance: usize,
        cols: &mut [f32],
    ) {
        match width {
            0..=4 => copy_rows::<4>(layout, planes, images, rows, width, distance, cols),
            5..=8 => copy_rows::<8>(layout, planes, images, rows, width, distance, cols),
            9..=16 => copy_rows::<16>(layout, planes, images, rows, width, distance, cols),
            17..=32 => copy_rows::<32>(layout, planes, images, rows, width, distance, cols),
            33..=64 => copy_rows::<64>(layout, planes, images, rows, width, distance, cols),
            _ => copy_rows::<0>(layout, planes, images, rows, width, distance, cols),
        }
    }
}

/// Copies `N` elements for every row, or its width if `N` is 0; what is too much of a row is overwritten by the next
/// one, or falls into the slack.
#[inline(always)]
fn copy_rows<const N: usize>(
    layout: &Layout,
    planes: &[f32],
    images: usize,
    rows: usize,
    width: usize,
    distance: usize,
    cols: &mut [f32],
) {
    let len = if N == 0 { width } else { N };
    for (i, &tap) in layout.taps.iter().enumerate() {
        let mut at = i * distance;
        for image in 0..images {
            let mut from = image * layout.len + tap;
            for _ in 0..rows {
                cols[at..at + len].copy_from_slice(&planes[from..from + len]);
                from += layout.width;
                at += width;
            }
        }
    }
}

multiversion! {
    /// The transpose of [`columns`]: adds columns to the staged planes, for output rows from `start` on.
    pub(super) fn add_columns(
        layout: &Layout,
        cols: &[f32],
        images: usize,
        start: usize,
        rows: usize,
        width: usize,
        planes: &mut [f32],
    ) {
        let mut at = 0;
        for &tap in &layout.taps {
            for image in 0..images {
                let mut to = image * layout.len + tap + start * layout.width;
                for _ in 0..rows {
                    planes[to..to + width].iter_mut().zip(&cols[at..at + width]).for_each(|(p, c)| *p += c);
                    to += layout.width;
                    at += width;
                }
            }
        }
    }
}
