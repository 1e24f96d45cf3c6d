//! Weight gradient of depthwise convolution: vectors hold 16 channels, so that sums need no lane of another.

use bitbudget_formats::Counts;

use super::depthwise::{PIXELS, stage, stage_len};
use super::geometry::Conv2d;
use super::layout::{Axis, Layout};
use super::stage::{Picked, Planes, Window};
use crate::operators::product::LANES;
use crate::tensors::elements::{Elements, Output};
use crate::tensors::parallel::{SharedOut, for_tasks, with_scratch};
use crate::words::simd::{mul_add, multiversion};

/// Tasks that the gradient is cut into.
const TASKS: usize = 16;
/// Taps whose gradients are summed in registers.
const TAPS: usize = 9;

/// The weight gradient, and how it is cut. Shapes alone decide.
#[derive(Debug)]
pub(super) struct DepthwiseGradWeight {
    batch: usize,
    channels: usize,
    multiplier: usize,
    source: [usize; 2],
    result: [usize; 2],
    layout: Layout,
    plain: Layout,
    taps: Vec<usize>,
    rows: usize,
    parts: usize,
}

impl DepthwiseGradWeight {
    pub(super) fn new(g: &Conv2d) -> DepthwiseGradWeight {
        let result = [g.out_height(), g.out_width()];
        let rows = (PIXELS / result[1]).clamp(1, result[0]);
        let rows = result[0].div_ceil(result[0].div_ceil(rows));
        let layout = Layout::new([Axis::below_outputs(g, 0), Axis::below_outputs(g, 1)], [rows, result[1]]);
        let parts = TASKS.div_ceil(g.in_channels.div_ceil(LANES)).min(g.batch);
        DepthwiseGradWeight {
            batch: g.batch,
            channels: g.in_channels,
            multiplier: g.group_out(),
            source: [g.in_height, g.in_width],
            result,
            plain: Layout::new([Axis::plain(result[0]), Axis::plain(result[1])], [rows, result[1]]),
            taps: (0..g.taps()).map(|t| layout.tap(t / g.kernel[1], t % g.kernel[1]) * LANES).collect(),
            layout,
            rows,
            parts,
        }
    }

    /// Elements of shared memory: the sums of the parts of the batch.
    pub(super) fn workspace(&self) -> usize {
        self.parts * self.sums()
    }

    /// Elements of the gradient.
    fn sums(&self) -> usize {
        self.channels * self.multiplier * self.taps.len()
    }

    /// Elements of scratch memory that a thread takes.
    pub(super) fn scratch(&self) -> usize {
        self.lens().iter().sum()
    }

    /// Elements of the staged planes, of what staging needs, of dy side by side, and of the sums in double precision.
    fn lens(&self) -> [usize; 3] {
        let stage = stage_len(&self.layout, self.rows).max(stage_len(&self.plain, self.rows));
        [self.layout.len * LANES, self.rows * self.result[1] * LANES, stage]
    }

    pub(super) fn run(&self, x: Elements, dy: Elements, dw: &mut Output, shared: &mut [f32]) -> Counts {
        let blocks = self.channels.div_ceil(LANES);
        let sums = self.sums();
        let out = SharedOut::new(shared);
        for_tasks(blocks * self.parts, |task| {
            let (first, part) = (task / self.parts * LANES, task % self.parts);
            let images = part * self.batch / self.parts..(part + 1) * self.batch / self.parts;
            let per_channel = self.multiplier * self.taps.len();
            let count = LANES.min(self.channels - first);
            // SAFETY: a task writes its own channels of its part.
            let sums = unsafe { out.slice(part * sums + first * per_channel, count * per_channel) };
            with_scratch(self.scratch(), |scratch| self.sum(x, dy, first, images, sums, scratch));
        });
        let shared = &shared[..self.workspace()];
        dw.fill(1, |start, dw| {
            for (i, dw) in dw.iter_mut().enumerate() {
                *dw = shared[start + i..].iter().step_by(sums).map(|&sum| f64::from(sum)).sum::<f64>() as f32;
            }
        })
    }

    /// Sums over images, for the sixteen channels from `first` on.
    fn sum(
        &self,
        x: Elements,
        dy: Elements,
        first: usize,
        images: std::ops::Range<usize>,
        sums: &mut [f32],
        scratch: &mut [f32],
    ) {
        let [staged_len, tile_len, _] = self.lens();
        let (staged, rest) = scratch.split_at_mut(staged_len);
        let (tile, stage_scratch) = rest.split_at_mut(tile_len);
        let (count, taps) = (LANES.min(self.channels - first), self.taps.len());
        let (sources, results) = (Planes { x, size: self.source }, Planes { x: dy, size: self.result });
        let mut totals = vec![[0.0f64; LANES]; self.multiplier * taps];
        staged.fill(0.0);
        for image in images {
            for row in (0..self.result[0]).step_by(self.rows) {
                let rows = self.rows.min(self.result[0] - row);
                if self.rows < self.result[0] {
                    staged.fill(0.0);
                }
                let plane = image * self.channels + first;
                let window = Window { planes: sources, layout: &self.layout, start: row, rows: self.rows };
                stage(&window, Picked { first: plane, step: 1, count }, staged, stage_scratch);
                for (m, totals) in totals.chunks_mut(taps).enumerate() {
                    let window = Window { planes: results, layout: &self.plain, start: row, rows };
                    let picked = Picked { first: plane * self.multiplier + m, step: self.multiplier, count };
                    stage(&window, picked, tile, stage_scratch);
                    correlate(&self.taps, self.layout.row(), self.result[1], rows, staged, tile, totals);
                }
            }
        }
        for lane in 0..count {
            let sums = &mut sums[lane * totals.len()..][..totals.len()];
            sums.iter_mut().zip(&totals).for_each(|(sum, total)| *sum = total[lane] as f32);
        }
    }
}

multiversion! {
    /// Adds the products of dy with what each tap reads.
    fn correlate(
        taps: &[usize],
        source_row: usize,
        width: usize,
        rows: usize,
        staged: &[f32],
        dy: &[f32],
        totals: &mut [[f64; LANES]],
    ) {
        let (whole, rest) = taps.as_chunks::<TAPS>();
        let (whole_totals, rest_totals) = totals.as_chunks_mut::<TAPS>();
        for (taps, totals) in whole.iter().zip(whole_totals) {
            correlate_taps::<FMA, TAPS>(taps, source_row, width, rows, staged, dy, totals);
        }
        for (tap, total) in rest.iter().zip(rest_totals) {
            correlate_taps::<FMA, 1>(&[*tap], source_row, width, rows, staged, dy, std::array::from_mut(total));
        }
    }
}

#[inline(always)]
fn correlate_taps<const FMA: bool, const N: usize>(
    taps: &[usize; N],
    source_row: usize,
    width: usize,
    rows: usize,
    staged: &[f32],
    dy: &[f32],
    totals: &mut [[f64; LANES]; N],
) {
    let mut sums = [[0.0f32; LANES]; N];
    let staged = staged.as_chunks::<LANES>().0;
    for (y, dy) in dy.as_chunks::<LANES>().0.chunks(width).enumerate().take(rows) {
        let sources: [&[[f32; LANES]]; N] =
            std::array::from_fn(|t| &staged[taps[t] / LANES + y * source_row..][..width]);
        for x in 0..width {
            for t in 0..N {
                for lane in 0..LANES {
                    sums[t][lane] = mul_add::<FMA>(sources[t][x][lane], dy[x][lane], sums[t][lane]);
                }
            }
        }
    }
    for t in 0..N {
        for lane in 0..LANES {
            totals[t][lane] += f64::from(sums[t][lane]);
        }
    }
}
