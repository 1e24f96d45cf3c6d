//! How planes are laid out in scratch memory for pooling.
//!
//! A padded plane is cut into phases: with a stride of s, its row r lies in phase r % s as row r / s, and columns alike.
//! There the elements that successive windows have at one tap are neighbours. Outputs are laid out with the rows as far
//! apart as those of a phase, so that a tap of all windows of a plane is one contiguous run, with some elements between
//! the rows that belong to no window.

use super::{Pool2d, Span};
use crate::simd::{copy_short, multiversion};

/// Windows that are pooled at a time.
pub(super) const LANES: usize = 16;

/// A tap of the window.
pub(super) struct Tap {
    /// Where the run of its elements begins.
    at: usize,
    /// Its position in the window, row-major.
    pub(super) position: f32,
}

impl Tap {
    /// The tap's elements for a block of windows, or of inputs on the way back.
    #[inline(always)]
    pub(super) fn lanes(&self, x: &[f32], block: usize) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        lanes.copy_from_slice(&x[self.at + block * LANES..][..LANES]);
        lanes
    }
}

/// One axis of the layout.
struct Axis {
    input: usize,
    output: usize,
    stride: usize,
    /// Rows of a phase.
    extent: usize,
    /// Taps that some window has inside the plane: position, phase (by its place in `phases`), row of the first window.
    taps: Vec<(usize, usize, usize)>,
    phases: Vec<Phase>,
}

/// Which rows of a phase hold rows of the plane.
#[derive(Clone, Copy)]
struct Phase {
    /// The first such row.
    first: usize,
    /// The row of the plane that it holds; the next ones are a stride apart.
    input: usize,
    count: usize,
}

impl Axis {
    fn new(g: &Pool2d, axis: usize, spans: &[Span]) -> Axis {
        let input = [g.in_height, g.in_width][axis];
        let (stride, dilation, pad) = (g.stride[axis], g.dilation[axis], g.pad_begin[axis]);
        let mut used: Vec<usize> = spans.iter().flat_map(|span| span.taps.0..span.taps.1).collect();
        used.sort_unstable();
        used.dedup();
        let skipped = used.first().map_or(0, |tap| tap * dilation / stride);
        let mut remainders: Vec<usize> = used.iter().map(|tap| tap * dilation % stride).collect();
        remainders.sort_unstable();
        remainders.dedup();
        let tap = |&tap: &usize| {
            let place = tap * dilation;
            (tap, remainders.partition_point(|r| *r < place % stride), place / stride - skipped)
        };
        let taps: Vec<_> = used.iter().map(tap).collect();
        let extent = spans.len() + taps.iter().map(|tap| tap.2).max().unwrap_or(0);
        let phase = |remainder: &usize| {
            let first = pad.saturating_sub(*remainder).div_ceil(stride).saturating_sub(skipped);
            let input_row = (first + skipped) * stride + remainder - pad;
            let count = input.saturating_sub(input_row).div_ceil(stride).min(extent.saturating_sub(first));
            Phase { first, input: input_row, count }
        };
        let phases = remainders.iter().map(phase).collect();
        Axis { input, output: spans.len(), stride, extent, taps, phases }
    }
}

/// The layout of a plane.
pub(super) struct Layout {
    rows: Axis,
    cols: Axis,
    /// Elements of a phase, of which the last may be unused.
    phase: usize,
}

impl Layout {
    pub(super) fn new(g: &Pool2d, rows: &[Span], cols: &[Span]) -> Layout {
        let (rows, cols) = (Axis::new(g, 0, rows), Axis::new(g, 1, cols));
        let phase = (rows.extent * cols.extent).next_multiple_of(LANES);
        Layout { rows, cols, phase }
    }

    /// Elements of a plane of the input and of the output.
    pub(super) fn planes(&self) -> (usize, usize) {
        (self.rows.input * self.cols.input, self.rows.output * self.cols.output)
    }

    /// Elements of all phases, and what the last block reads beyond them.
    pub(super) fn len(&self) -> usize {
        self.rows.phases.len() * self.cols.phases.len() * self.phase + LANES
    }

    /// Blocks of windows.
    pub(super) fn blocks(&self) -> usize {
        (self.rows.output * self.cols.extent).div_ceil(LANES)
    }

    /// How far before an input the first of its windows lies at most.
    fn margin(&self) -> usize {
        (self.rows.extent - self.rows.output) * self.cols.extent + self.cols.extent - self.cols.output
    }

    /// Elements of the outputs, laid out for the way back.
    pub(super) fn back_len(&self) -> usize {
        self.margin() + self.phase + LANES
    }

    /// Every tap that counts, its phase, and the offset of its elements in there; row-major.
    fn all_taps(&self) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        let (rows, cols) = (&self.rows, &self.cols);
        rows.taps.iter().flat_map(move |&(ky, row_phase, row)| {
            cols.taps.iter().map(move |&(kx, col_phase, col)| {
                (ky, kx, row_phase * cols.phases.len() + col_phase, row * cols.extent + col)
            })
        })
    }

    /// The taps of a window whose kernel has `width` columns, row-major.
    pub(super) fn taps(&self, width: usize) -> Vec<Tap> {
        let tap = |(ky, kx, phase, at)| Tap { at: phase * self.phase + at, position: (ky * width + kx) as f32 };
        self.all_taps().map(tap).collect()
    }

    /// For each phase the taps of the windows around an input: the windows' rows in order; in a row the windows in
    /// order, or the other way round.
    pub(super) fn back_taps(&self, width: usize, in_order: bool) -> Vec<Vec<Tap>> {
        let phases = self.rows.phases.len() * self.cols.phases.len();
        let mut taps: Vec<_> = self.all_taps().collect();
        taps.sort_by_key(|&(ky, kx, ..)| (usize::MAX - ky, if in_order { usize::MAX - kx } else { kx }));
        let of_phase = |own: usize| {
            let taps = taps.iter().filter(|(_, _, phase, _)| *phase == own);
            let tap = |&(ky, kx, _, at): &_| Tap { at: self.margin() - at, position: (ky * width + kx) as f32 };
            taps.map(tap).collect()
        };
        (0..phases).map(of_phase).collect()
    }

    /// Numbers of the windows of a plane, laid out as the windows are; zeros in between.
    pub(super) fn windows(&self, numbers: impl Iterator<Item = f32>) -> Vec<[f32; LANES]> {
        let mut windows = vec![[0.0; LANES]; self.blocks()];
        for (i, number) in numbers.enumerate() {
            let (row, col) = (i / self.cols.output, i % self.cols.output);
            windows.as_flattened_mut()[row * self.cols.extent + col] = number;
        }
        windows
    }

    /// The phases of a plane, each of whole blocks.
    pub(super) fn phases_mut<'a>(&self, phases: &'a mut [f32]) -> impl Iterator<Item = &'a mut [f32]> {
        phases.chunks_exact_mut(self.phase.max(1)).take(self.rows.phases.len() * self.cols.phases.len())
    }

    /// Runs `f(row of windows as laid out for the way back, outputs)`.
    #[inline(always)]
    fn back_rows(&self, mut f: impl FnMut(usize, usize)) {
        for row in 0..self.rows.output {
            f(self.margin() + row * self.cols.extent, row * self.cols.output);
        }
    }

    /// Runs `f(place in the phases, elements, first element of the plane)` for each row of each phase.
    #[inline(always)]
    fn phase_rows(&self, mut f: impl FnMut(usize, usize, usize)) {
        for (i, rows) in self.rows.phases.iter().enumerate() {
            for row in 0..rows.count {
                for (j, cols) in self.cols.phases.iter().enumerate() {
                    let phase = (i * self.cols.phases.len() + j) * self.phase;
                    let at = phase + (rows.first + row) * self.cols.extent + cols.first;
                    f(at, cols.count, (rows.input + row * self.rows.stride) * self.cols.input + cols.input);
                }
            }
        }
    }
}

multiversion! {
    /// Writes a plane to its phases; the padding is left.
    pub(super) fn spread(layout: &Layout, x: &[f32], phases: &mut [f32]) {
        let stride = layout.cols.stride;
        layout.phase_rows(|at, count, from| {
            if count > 0 {
                every(&x[from..], stride, &mut phases[at..at + count]);
            }
        });
    }
}

/// Copies every `stride`-th element.
#[inline(always)]
fn every(x: &[f32], stride: usize, y: &mut [f32]) {
    match stride {
        1 => copy_short(&x[..y.len()], y),
        2 => {
            let (x, y) = every_second::<16>(x, y);
            let (x, y) = every_second::<8>(x, y);
            let (x, y) = every_second::<4>(x, y);
            y.iter_mut().zip(x.iter().step_by(2)).for_each(|(y, x)| *y = *x);
        }
        _ => y.iter_mut().zip(x.iter().step_by(stride)).for_each(|(y, x)| *y = *x),
    }
}

/// Copies every second element by blocks of `N`, and gives back what is left.
#[inline(always)]
fn every_second<'x, 'y, const N: usize>(x: &'x [f32], y: &'y mut [f32]) -> (&'x [f32], &'y mut [f32]) {
    let blocks = (y.len() / N).min(x.len() / (2 * N));
    let (x, x_rest) = x.split_at(blocks * 2 * N);
    let (y, y_rest) = y.split_at_mut(blocks * N);
    let pairs = x.as_chunks::<2>().0;
    for (y, x) in y.as_chunks_mut::<N>().0.iter_mut().zip(pairs.as_chunks::<N>().0) {
        for i in 0..N {
            y[i] = x[i][0];
        }
    }
    (x_rest, y_rest)
}

multiversion! {
    /// Writes a plane from its phases; what no window covers becomes 0.
    pub(super) fn collect(layout: &Layout, phases: &[f32], x: &mut [f32]) {
        let (rows, cols) = (&layout.rows, &layout.cols);
        let covered = |axis: &Axis| axis.phases.iter().map(|phase| phase.count).sum::<usize>() == axis.input;
        if !covered(rows) || !covered(cols) {
            x.fill(0.0);
        }
        if let [even, odd] = cols.phases[..]
            && cols.stride == 2
            && even.input.min(odd.input) == 0
            && even.input.max(odd.input) == 1
        {
            let (even, odd, odd_at) = match even.input {
                0 => (even, odd, layout.phase as isize),
                _ => (odd, even, -(layout.phase as isize)),
            };
            for (i, phase) in rows.phases.iter().enumerate() {
                for row in 0..phase.count {
                    let at = (2 * i + usize::from(odd_at < 0)) * layout.phase + (phase.first + row) * cols.extent;
                    let even = &phases[at + even.first..][..even.count];
                    let odd = &phases[at.wrapping_add_signed(odd_at) + odd.first..][..odd.count];
                    let x = &mut x[(phase.input + row * rows.stride) * cols.input..][..cols.input];
                    interleave(even, odd, x);
                }
            }
            return;
        }
        layout.phase_rows(|at, count, to| {
            if count > 0 {
                let phase = &phases[at..at + count];
                match cols.stride {
                    1 => copy_short(phase, &mut x[to..to + count]),
                    stride => x[to..].iter_mut().step_by(stride).zip(phase).for_each(|(x, phase)| *x = *phase),
                }
            }
        });
    }
}

/// Writes `x` from its elements at even and at odd places.
#[inline(always)]
fn interleave(even: &[f32], odd: &[f32], x: &mut [f32]) {
    let pairs = even.len().min(odd.len());
    for i in pairs..even.len() {
        x[2 * i] = even[i];
    }
    for i in pairs..odd.len() {
        x[2 * i + 1] = odd[i];
    }
    let x = &mut x.as_chunks_mut::<2>().0[..pairs];
    let (even, odd) = (&even[..pairs], &odd[..pairs]);
    let mut at = 0;
    interleave_blocks::<16>(even, odd, x, &mut at);
    interleave_blocks::<8>(even, odd, x, &mut at);
    interleave_blocks::<4>(even, odd, x, &mut at);
    for i in at..pairs {
        x[i] = [even[i], odd[i]];
    }
}

/// Interleaves from `at` on by blocks of `N`.
#[inline(always)]
fn interleave_blocks<const N: usize>(even: &[f32], odd: &[f32], x: &mut [[f32; 2]], at: &mut usize) {
    while *at + N <= x.len() {
        let (even, odd) = (&even[*at..][..N], &odd[*at..][..N]);
        let x = &mut x[*at..][..N];
        for i in 0..N {
            x[i] = [even[i], odd[i]];
        }
        *at += N;
    }
}

multiversion! {
    /// Writes the outputs of the windows as they are laid out.
    pub(super) fn compact(layout: &Layout, windows: &[f32], y: &mut [f32]) {
        let len = layout.cols.output;
        for (row, y) in y.chunks_exact_mut(len).enumerate() {
            copy_short(&windows[row * layout.cols.extent..][..len], y);
        }
    }
}

multiversion! {
    /// As [`compact`], for positions, which are whole numbers below 256.
    pub(super) fn compact_positions(layout: &Layout, windows: &[f32], indices: &mut [u8]) {
        let len = layout.cols.output;
        for (row, indices) in indices.chunks_exact_mut(len).enumerate() {
            let windows = &windows[row * layout.cols.extent..][..len];
            indices.iter_mut().zip(windows).for_each(|(index, position)| *index = *position as u8);
        }
    }
}

multiversion! {
    /// Lays out dy for the way back; what lies between is left.
    pub(super) fn spread_back(layout: &Layout, dy: &[f32], windows: &mut [f32]) {
        let len = layout.cols.output;
        layout.back_rows(|to, from| copy_short(&dy[from..from + len], &mut windows[to..to + len]));
    }
}

multiversion! {
    /// Lays out `dy * shares` for the way back; what lies between is left.
    pub(super) fn spread_shares(layout: &Layout, dy: &[f32], shares: &[f32], windows: &mut [f32]) {
        let len = layout.cols.output;
        layout.back_rows(|to, from| {
            let (dy, shares) = (&dy[from..from + len], &shares[from..from + len]);
            windows[to..to + len].iter_mut().zip(dy).zip(shares).for_each(|((y, dy), share)| *y = dy * share);
        });
    }
}

multiversion! {
    /// Lays out positions for the way back; what lies between is left.
    pub(super) fn spread_positions(layout: &Layout, indices: &[u8], windows: &mut [f32]) {
        let len = layout.cols.output;
        layout.back_rows(|to, from| {
            let windows = &mut windows[to..to + len];
            windows.iter_mut().zip(&indices[from..from + len]).for_each(|(y, index)| *y = f32::from(*index));
        });
    }
}
