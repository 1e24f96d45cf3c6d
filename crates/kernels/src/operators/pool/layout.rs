//! How planes are laid out in scratch memory for pooling.
//!
//! A padded plane is cut into phases: with a stride of s, its row r lies in phase r % s as row r / s, and columns alike.
//! There the elements that successive windows have at one tap are neighbours. Outputs are laid out with the rows as far
//! apart as those of a phase, so that a tap of all windows of a plane is one contiguous run, with some elements between
//! the rows that belong to no window.

use super::geometry::{Pool2d, Span};
use crate::words::simd::{copy_short, multiversion};

/// Windows that are pooled at a time.
pub(super) const LANES: usize = 16;

/// A tap of the window.
#[derive(Debug)]
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
#[derive(Debug)]
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
#[derive(Clone, Copy, Debug)]
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

    /// The phases of the elements at even and at odd places, where these are all there are.
    fn halves(&self) -> Option<(Phase, Phase)> {
        match self.phases[..] {
            [even, odd] if self.stride == 2 && (even.input, odd.input) == (0, 1) => Some((even, odd)),
            [odd, even] if self.stride == 2 && (even.input, odd.input) == (0, 1) => Some((even, odd)),
            _ => None,
        }
    }
}

/// The layout of a plane.
#[derive(Debug)]
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
        self.rows.phases.len() * self.cols.phases.len() * self.phase + LANES + self.cols.extent - self.cols.output
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
        let (rows, cols) = (&layout.rows, &layout.cols);
        if let Some((even, odd)) = cols.halves() {
            for (rows_phase, phases) in rows.phases.iter().zip(phases.chunks_exact_mut((2 * layout.phase).max(1))) {
                let (first, second) = phases.split_at_mut(layout.phase);
                let (evens, odds) = if cols.phases[0].input == 0 { (first, second) } else { (second, first) };
                let row = |i: usize| (rows_phase.first + i) * cols.extent;
                let line = |i: usize| (rows_phase.input + i * rows.stride) * cols.input;
                let rows = (0..rows_phase.count).map(|i| (row(i), line(i)));
                // Rows of a constant length take a fraction of the time.
                match (even.count == odd.count, cols.input) {
                    (true, 32) => split_rows::<16>(cols.input, (even, odd), rows, x, evens, odds),
                    (true, 16) => split_rows::<8>(cols.input, (even, odd), rows, x, evens, odds),
                    (true, 8) => split_rows::<4>(cols.input, (even, odd), rows, x, evens, odds),
                    _ => split_rows::<0>(cols.input, (even, odd), rows, x, evens, odds),
                }
            }
            return;
        }
        layout.phase_rows(|at, count, from| {
            if count > 0 {
                every(&x[from..], cols.stride, &mut phases[at..at + count]);
            }
        });
    }
}

/// Copies elements at even and at odd places of rows, given by where they are in the phases and in the plane; `N` of
/// each, or any number if `N` is 0.
#[inline(always)]
fn split_rows<const N: usize>(
    len: usize,
    (even, odd): (Phase, Phase),
    rows: impl Iterator<Item = (usize, usize)>,
    x: &[f32],
    evens: &mut [f32],
    odds: &mut [f32],
) {
    for (at, from) in rows {
        let (x, even) = (&x[from..][..len], &mut evens[at + even.first..][..even.count]);
        let odd = &mut odds[at + odd.first..][..odd.count];
        if N == 0 {
            split(x, even, odd);
        } else if let (Some(x), Some(even), Some(odd)) =
            (x.as_chunks::<2>().0.first_chunk::<N>(), even.first_chunk_mut::<N>(), odd.first_chunk_mut::<N>())
        {
            for i in 0..N {
                even[i] = x[i][0];
            }
            for i in 0..N {
                odd[i] = x[i][1];
            }
        }
    }
}

/// Copies elements at even and at odd places.
#[inline(always)]
fn split(x: &[f32], even: &mut [f32], odd: &mut [f32]) {
    let pairs = even.len().min(odd.len());
    for i in pairs..even.len() {
        even[i] = x[2 * i];
    }
    for i in pairs..odd.len() {
        odd[i] = x[2 * i + 1];
    }
    let (x, even, odd) = (&x.as_chunks::<2>().0[..pairs], &mut even[..pairs], &mut odd[..pairs]);
    for i in 0..pairs {
        even[i] = x[i][0];
        odd[i] = x[i][1];
    }
}

/// Copies every `stride`-th element.
#[inline(always)]
fn every(x: &[f32], stride: usize, y: &mut [f32]) {
    match stride {
        1 => copy_short(&x[..y.len()], y),
        _ => y.iter_mut().zip(x.iter().step_by(stride)).for_each(|(y, x)| *y = *x),
    }
}

multiversion! {
    /// Writes a plane from its phases; what no window covers becomes 0.
    pub(super) fn collect(layout: &Layout, phases: &[f32], x: &mut [f32]) {
        let (rows, cols) = (&layout.rows, &layout.cols);
        let covered = |axis: &Axis| axis.phases.iter().map(|phase| phase.count).sum::<usize>() == axis.input;
        if !covered(rows) || !covered(cols) {
            x.fill(0.0);
        }
        if let Some((even, odd)) = cols.halves() {
            for (rows_phase, phases) in rows.phases.iter().zip(phases.chunks_exact((2 * layout.phase).max(1))) {
                let (first, second) = phases.split_at(layout.phase);
                let (evens, odds) = if cols.phases[0].input == 0 { (first, second) } else { (second, first) };
                let row = |i: usize| (rows_phase.first + i) * cols.extent;
                let line = |i: usize| (rows_phase.input + i * rows.stride) * cols.input;
                let rows = (0..rows_phase.count).map(|i| (row(i), line(i)));
                match (even.count == odd.count, cols.input) {
                    (true, 32) => interleave_rows::<16>(cols.input, (even, odd), rows, evens, odds, x),
                    (true, 16) => interleave_rows::<8>(cols.input, (even, odd), rows, evens, odds, x),
                    (true, 8) => interleave_rows::<4>(cols.input, (even, odd), rows, evens, odds, x),
                    _ => interleave_rows::<0>(cols.input, (even, odd), rows, evens, odds, x),
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

/// The way back from [`split_rows`].
#[inline(always)]
fn interleave_rows<const N: usize>(
    len: usize,
    (even, odd): (Phase, Phase),
    rows: impl Iterator<Item = (usize, usize)>,
    evens: &[f32],
    odds: &[f32],
    x: &mut [f32],
) {
    for (at, to) in rows {
        let (x, even) = (&mut x[to..][..len], &evens[at + even.first..][..even.count]);
        let odd = &odds[at + odd.first..][..odd.count];
        if N == 0 {
            interleave(even, odd, x);
        } else if let (Some(x), Some(even), Some(odd)) =
            (x.as_chunks_mut::<2>().0.first_chunk_mut::<N>(), even.first_chunk::<N>(), odd.first_chunk::<N>())
        {
            for i in 0..N {
                x[i] = [even[i], odd[i]];
            }
        }
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
    for ((x, even), odd) in x.iter_mut().zip(even).zip(odd) {
        *x = [*even, *odd];
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
            // The sum has the position in its lowest bits.
            let number = |position: f32| (position + (1 << 23) as f32).to_bits();
            indices.iter_mut().zip(windows).for_each(|(index, position)| *index = number(*position) as u8);
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
