//! Planes as products read them: zero-padded, and split into phases, one for each residue of the index modulo the step
//! from one output to the next. Inside a phase every tap of the kernel is a contiguous row, whatever stride, dilation
//! and padding are.

use super::geometry::Conv2d;
use crate::words::simd::multiversion;

/// One axis of a source plane, below a lattice of outputs.
#[derive(Debug)]
pub(super) struct Axis {
    /// Source elements from one output of the lattice to the next.
    step: usize,
    /// Elements of the source, and outputs of the lattice.
    size: usize,
    outputs: usize,
    /// Residues that some tap reads.
    phases: Vec<usize>,
    /// Lattice steps from an output to the first element that any tap reads.
    low: isize,
    /// Elements that a phase has beyond those of the lattice.
    extra: usize,
    /// Place of the phase and lattice steps beyond `low`, for every tap.
    taps: Vec<(usize, usize)>,
}

impl Axis {
    /// `taps` are the source elements that the kernel reads, counted from the output's own.
    fn new(size: usize, outputs: usize, step: usize, taps: impl Iterator<Item = isize> + Clone) -> Axis {
        let split = |tap: isize| (tap.rem_euclid(step as isize) as usize, tap.div_euclid(step as isize));
        let shifts = taps.clone().map(|tap| split(tap).1);
        let (low, high) = (shifts.clone().min().unwrap_or(0), shifts.max().unwrap_or(0));
        let mut phases: Vec<usize> = taps.clone().map(|tap| split(tap).0).collect();
        phases.sort_unstable();
        phases.dedup();
        let place = |phase: usize| phases.iter().position(|&p| p == phase).unwrap_or(0);
        let taps = taps.map(|tap| (place(split(tap).0), (split(tap).1 - low) as usize)).collect();
        Axis { step, size, outputs, low, extra: (high - low) as usize, taps, phases }
    }

    /// The input's axis below the outputs of a convolution.
    pub(super) fn below_outputs(g: &Conv2d, axis: usize) -> Axis {
        let taps = (0..g.kernel[axis]).map(move |k| (k * g.dilation[axis]) as isize - g.pad_begin[axis] as isize);
        Axis::new([g.in_height, g.in_width][axis], g.out_size(axis), g.stride[axis], taps)
    }

    /// The output's axis below the inputs of a convolution, of which each tap reaches those of one residue modulo the
    /// stride; that residue is given beside, for every tap.
    pub(super) fn below_inputs(g: &Conv2d, axis: usize) -> (Axis, Vec<usize>) {
        let stride = g.stride[axis] as isize;
        let tap = move |k: usize| (k * g.dilation[axis]) as isize - g.pad_begin[axis] as isize;
        let residues = (0..g.kernel[axis]).map(|k| tap(k).rem_euclid(stride) as usize).collect();
        let (size, outputs) = (g.out_size(axis), [g.in_height, g.in_width][axis].div_ceil(g.stride[axis]));
        (Axis::new(size, outputs, 1, (0..g.kernel[axis]).map(move |k| -tap(k).div_euclid(stride))), residues)
    }

    /// An axis whose outputs read their own element only.
    pub(super) fn plain(size: usize) -> Axis {
        Axis::new(size, size, 1, [0].into_iter())
    }

    /// Source elements below `outputs` outputs from `start` on: the first and the one after the last.
    pub(super) fn range(&self, start: usize, outputs: usize) -> (usize, usize) {
        let first = (start as isize + self.low) * self.step as isize;
        let end = first + ((outputs + self.extra) * self.step) as isize;
        let clamp = |i: isize| i.clamp(0, self.size as isize) as usize;
        (clamp(first), clamp(end))
    }

    /// Which taps read an element of the source for an output, as bits; kernels of more than 64 taps have none told apart.
    pub(super) fn reached(&self, output: usize) -> u64 {
        let inside = |&(phase, shift): &(usize, usize)| {
            let index =
                (output as isize + self.low + shift as isize) * self.step as isize + self.phases[phase] as isize;
            (0..self.size as isize).contains(&index)
        };
        match self.taps.len() {
            0..=64 => self.taps.iter().enumerate().map(|(k, tap)| u64::from(inside(tap)) << k).sum(),
            _ => u64::MAX,
        }
    }

    /// For a phase: which of its `len` elements lie inside the source, and the first one's index there.
    fn inside(&self, start: usize, phase: usize, len: usize) -> (usize, usize, usize) {
        let step = self.step as isize;
        let origin = (start as isize + self.low) * step + phase as isize;
        // The number of elements below a source index.
        let below = |index: isize| (index - origin + step - 1).div_euclid(step).clamp(0, len as isize) as usize;
        let (lo, hi) = (below(0), below(self.size as isize));
        (lo, hi.max(lo), (origin + lo as isize * step).max(0) as usize)
    }
}

/// A convolution of planes, or its gradient by them: which elements of the source each output is summed from.
pub(super) struct Filter {
    /// Height and width of a source and of a result plane.
    pub(super) source: [usize; 2],
    pub(super) result: [usize; 2],
    /// Distance of the outputs that the same taps lead to.
    pub(super) step: [usize; 2],
    pub(super) axes: [Axis; 2],
    /// For each axis and tap the outputs that it leads to, modulo the step.
    pub(super) residues: [Vec<usize>; 2],
    /// Width of the kernel.
    width: usize,
}

impl Filter {
    pub(super) fn forward(g: &Conv2d) -> Filter {
        Filter {
            source: [g.in_height, g.in_width],
            result: [g.out_height(), g.out_width()],
            step: [1, 1],
            axes: [Axis::below_outputs(g, 0), Axis::below_outputs(g, 1)],
            residues: [vec![0; g.kernel[0]], vec![0; g.kernel[1]]],
            width: g.kernel[1],
        }
    }

    pub(super) fn grad_input(g: &Conv2d) -> Filter {
        let ((y, residues_y), (x, residues_x)) = (Axis::below_inputs(g, 0), Axis::below_inputs(g, 1));
        Filter {
            source: [g.out_height(), g.out_width()],
            result: [g.in_height, g.in_width],
            step: g.stride,
            axes: [y, x],
            residues: [residues_y, residues_x],
            width: g.kernel[1],
        }
    }

    /// Outputs along each axis that the same taps lead to.
    pub(super) fn lattice(&self) -> [usize; 2] {
        [self.result[0].div_ceil(self.step[0]), self.result[1].div_ceil(self.step[1])]
    }

    /// Row and column of a tap.
    pub(super) fn tap(&self, tap: usize) -> [usize; 2] {
        [tap / self.width, tap % self.width]
    }

    /// Of so many taps those that lead to the outputs of a residue along each axis.
    pub(super) fn taps(&self, count: usize, origin: [usize; 2]) -> impl Iterator<Item = usize> + '_ {
        let leads_to = |tap: usize| [self.residues[0][self.tap(tap)[0]], self.residues[1][self.tap(tap)[1]]];
        (0..count).filter(move |&tap| leads_to(tap) == origin)
    }
}

/// Where the phases and taps of a source plane lie, below some rows of outputs.
#[derive(Debug)]
pub(super) struct Layout {
    axes: [Axis; 2],
    /// Elements of a phase along each axis.
    sizes: [usize; 2],
    /// Elements of all phases.
    pub(super) len: usize,
}

impl Layout {
    pub(super) fn new(axes: [Axis; 2], outputs: [usize; 2]) -> Layout {
        let sizes = [outputs[0] + axes[0].extra, outputs[1] + axes[1].extra];
        let len = axes[0].phases.len() * axes[1].phases.len() * sizes[0] * sizes[1];
        Layout { axes, sizes, len }
    }

    /// Elements from one row of a phase to the next.
    pub(super) fn row(&self) -> usize {
        self.sizes[1]
    }

    /// Which taps along each axis read an element of the source, for an output.
    pub(super) fn reached(&self, y: usize, x: usize) -> [u64; 2] {
        [self.axes[0].reached(y), self.axes[1].reached(x)]
    }

    /// Where output (0, 0) finds the operand of a tap.
    pub(super) fn tap(&self, y: usize, x: usize) -> usize {
        let ((phase_y, y), (phase_x, x)) = (self.axes[0].taps[y], self.axes[1].taps[x]);
        ((phase_y * self.axes[1].phases.len() + phase_x) * self.sizes[0] + y) * self.sizes[1] + x
    }

    /// The source rows below `rows` rows of outputs from `start` on: the first and the one after the last.
    pub(super) fn source_rows(&self, start: usize, rows: usize) -> (usize, usize) {
        self.axes[0].range(start, rows)
    }

    /// Whether the source and what is staged of it are the same.
    pub(super) fn is_plain(&self) -> bool {
        self.axes.iter().all(|a| a.step == 1 && a.low == 0 && a.extra == 0 && a.outputs == a.size)
    }

    /// Most source elements below `rows` rows of outputs.
    pub(super) fn source_len(&self, rows: usize) -> usize {
        ((rows + self.axes[0].extra) * self.axes[0].step).min(self.axes[0].size) * self.axes[1].size
    }

    /// Calls `f(place among the staged elements, place in the source, elements)` for every row, below output row `start`
    /// and on; the source begins at row `first`.
    #[inline(always)]
    fn rows(&self, start: usize, first: usize, mut f: impl FnMut(usize, usize, usize)) {
        let [vertical, horizontal] = &self.axes;
        let mut phase = 0;
        for &py in &vertical.phases {
            let (top, bottom, source_row) = vertical.inside(start, py, self.sizes[0]);
            for &px in &horizontal.phases {
                let (left, right, column) = horizontal.inside(0, px, self.sizes[1]);
                if left < right {
                    for y in top..bottom {
                        let source = (source_row + (y - top) * vertical.step - first) * horizontal.size + column;
                        f((phase * self.sizes[0] + y) * self.sizes[1] + left, source, right - left);
                    }
                }
                phase += 1;
            }
        }
    }

    /// Puts source rows from `first` on, elements of `lanes` numbers each, where the outputs from row `start` on read
    /// them. What lies outside the source is left as it is.
    pub(super) fn place(&self, start: usize, first: usize, lanes: usize, source: &[f32], staged: &mut [f32]) {
        place(self, start, first, lanes, source, staged);
    }
}

multiversion! {
    fn place(layout: &Layout, start: usize, first: usize, lanes: usize, source: &[f32], staged: &mut [f32]) {
        match (layout.axes[1].step, lanes) {
            (1, 1) => layout.rows(start, first, |to, from, len| {
                crate::words::simd::copy_short(&source[from..from + len], &mut staged[to..to + len]);
            }),
            (1, _) => layout.rows(start, first, |to, from, len| {
                let (to, from, len) = (to * lanes, from * lanes, len * lanes);
                crate::words::simd::copy_short(&source[from..from + len], &mut staged[to..to + len]);
            }),
            (2, 1) => layout.rows(start, first, |to, from, len| {
                let staged = &mut staged[to..to + len];
                staged[len - 1] = source[from + 2 * (len - 1)];
                staged.iter_mut().zip(source[from..from + 2 * len - 1].as_chunks::<2>().0).for_each(|(p, x)| *p = x[0]);
            }),
            (step, 1) => place_lanes::<1>(layout, step, start, first, source, staged),
            (step, 2) => place_lanes::<2>(layout, step, start, first, source, staged),
            (step, 4) => place_lanes::<4>(layout, step, start, first, source, staged),
            (step, 8) => place_lanes::<8>(layout, step, start, first, source, staged),
            (step, _) => place_lanes::<16>(layout, step, start, first, source, staged),
        }
    }
}

#[inline(always)]
fn place_lanes<const I: usize>(
    layout: &Layout,
    step: usize,
    start: usize,
    first: usize,
    source: &[f32],
    staged: &mut [f32],
) {
    let (source, staged) = (source.as_chunks::<I>().0, staged.as_chunks_mut::<I>().0);
    layout.rows(start, first, |to, from, len| {
        let source = source[from..].iter().step_by(step);
        staged[to..to + len].iter_mut().zip(source).for_each(|(staged, x)| *staged = *x);
    });
}
