//! Depthwise convolution: every input channel feeds `out_channels / in_channels` outputs of its own.
//!
//! Sixteen planes lie side by side, element for element, so that strides, paddings and short rows cost no lanes. What
//! is beside one another are channels, and in the two convolutions those of consecutive images too.

use bitbudget_formats::Counts;

use super::geometry::Conv2d;
use super::layout::{Filter, Layout};
use super::stage::{self, Picked, Planes, Window};
use crate::operators::product::{LANES, separate};
use crate::tensors::elements::{Elements, Output, SharedOutput};
use crate::tensors::parallel::{sum_tasks, with_scratch};
use crate::words::simd::{mul_add, multiversion};

/// Output pixels of a tile.
pub(super) const PIXELS: usize = 1024;
/// Output elements of a task.
const TASK: usize = 32 * 1024;
/// Output pixels that are summed in registers.
const BLOCK: usize = 4;

/// A filter over single planes, and how it is cut. Shapes alone decide.
#[derive(Debug)]
pub(super) struct Depthwise {
    batch: usize,
    channels: usize,
    /// Source planes and results of every channel; one of them is 1.
    sources: usize,
    results: usize,
    source: [usize; 2],
    result: [usize; 2],
    step: [usize; 2],
    layout: Layout,
    phases: Vec<Phase>,
    /// Rows of a tile, in steps.
    rows: usize,
    taps: usize,
}

/// Outputs that the same taps lead to.
#[derive(Debug)]
struct Phase {
    origin: [usize; 2],
    /// Where the taps read, and their weights' places.
    taps: Vec<(usize, usize)>,
}

impl Depthwise {
    pub(super) fn forward(g: &Conv2d) -> Depthwise {
        Depthwise::new(g, [1, g.group_out()], Filter::forward(g))
    }

    pub(super) fn grad_input(g: &Conv2d) -> Depthwise {
        Depthwise::new(g, [g.group_out(), 1], Filter::grad_input(g))
    }

    fn new(g: &Conv2d, [sources, results]: [usize; 2], filter: Filter) -> Depthwise {
        let (source, result, step, lattice) = (filter.source, filter.result, filter.step, filter.lattice());
        let rows = (PIXELS / (result[1] * step[0])).clamp(1, lattice[0]);
        let rows = lattice[0].div_ceil(lattice[0].div_ceil(rows));
        let origins = (0..step[0].min(result[0])).flat_map(|y| (0..step[1].min(result[1])).map(move |x| [y, x]));
        let members: Vec<([usize; 2], Vec<usize>)> =
            origins.map(|origin| (origin, filter.taps(g.taps(), origin).collect())).collect();
        let layout = Layout::new(filter.axes, [rows, lattice[1]]);
        let at = |&t: &usize| (layout.tap(t / g.kernel[1], t % g.kernel[1]) * LANES, t);
        let phase = |(origin, taps): ([usize; 2], Vec<usize>)| Phase { origin, taps: taps.iter().map(at).collect() };
        let phases = members.into_iter().map(phase).collect();
        let (batch, channels, taps) = (g.batch, g.in_channels, g.taps());
        Depthwise { batch, channels, sources, results, source, result, step, layout, phases, rows, taps }
    }

    /// Elements of scratch memory that a thread takes.
    pub(super) fn scratch(&self) -> usize {
        self.lens().iter().sum()
    }

    /// Elements of the staged planes, of what staging needs, of the results side by side and one after the other, and of
    /// the weights.
    fn lens(&self) -> [usize; 5] {
        let tile = self.rows * self.step[0] * self.result[1] * LANES;
        let filters = self.results.max(self.sources) * self.taps;
        [self.layout.len * LANES, stage_len(&self.layout, self.rows), tile, tile.max(filters * LANES), filters * LANES]
    }

    pub(super) fn run(&self, x: Elements, w: Elements, bias: Option<Elements>, y: &mut Output) -> Counts {
        let out = y.shared();
        let planes = self.batch * self.channels;
        let blocks = planes.div_ceil(LANES);
        let per_task = (TASK / (self.result[0] * self.result[1] * LANES * self.results)).max(1);
        sum_tasks(blocks.div_ceil(per_task), |task| {
            with_scratch(self.scratch(), |scratch| {
                let blocks = task * per_task..blocks.min((task + 1) * per_task);
                blocks.map(|block| self.block(x, w, bias, block * LANES, &out, scratch)).sum()
            })
        })
    }

    /// Filters the sixteen planes from `first` on.
    fn block(
        &self,
        x: Elements,
        w: Elements,
        bias: Option<Elements>,
        first: usize,
        out: &SharedOutput,
        scratch: &mut [f32],
    ) -> Counts {
        let [staged_len, stage_len, tile_len, _, weights_len] = self.lens();
        let (staged, rest) = scratch.split_at_mut(staged_len);
        let (weights, rest) = rest.split_at_mut(weights_len);
        let (stage_scratch, rest) = rest.split_at_mut(stage_len);
        let (tile, lines) = rest.split_at_mut(tile_len);
        let count = LANES.min(self.batch * self.channels - first);
        let filters = self.results.max(self.sources);
        let per_channel = filters * self.taps;
        weights.fill(0.0);
        let mut lane = 0;
        while lane < count {
            // Channels up to the end of an image.
            let channel = (first + lane) % self.channels;
            let channels = (count - lane).min(self.channels - channel);
            let w = w.read(channel * per_channel, channels * per_channel, lines);
            for (i, w) in w.chunks(per_channel).enumerate() {
                weights[lane + i..].iter_mut().step_by(LANES).zip(w).for_each(|(weight, w)| *weight = *w);
            }
            lane += channels;
        }
        let weights = weights.as_chunks::<LANES>().0;
        let planes = Planes { x, size: self.source };
        let lattice = self.result[0].div_ceil(self.step[0]);
        let plane = self.result[0] * self.result[1];
        let mut counts = Counts::default();
        for row in (0..lattice).step_by(self.rows) {
            let first_row = row * self.step[0];
            let rows = (self.rows * self.step[0]).min(self.result[0] - first_row);
            let len = rows * self.result[1];
            for i in 0..filters {
                let (source, result) = if self.sources > 1 { (i, 0) } else { (0, i) };
                if source > 0 || result == 0 {
                    if !self.layout.is_plain() {
                        staged.fill(0.0);
                    }
                    let window = Window { planes, layout: &self.layout, start: row, rows: self.rows };
                    let picked = Picked { first: first * self.sources + source, step: self.sources, count };
                    stage(&window, picked, staged, stage_scratch);
                }
                let mut start = [0.0; LANES];
                if let Some(bias) = bias {
                    for (lane, start) in start.iter_mut().enumerate().take(count) {
                        let channel = (first + lane) % self.channels * self.results + result;
                        bias.unpack(channel, std::slice::from_mut(start));
                    }
                }
                let start = (source == 0).then_some(&start);
                filter(self, &weights[i * self.taps..][..self.taps], staged, start, rows, tile);
                if source + 1 < self.sources {
                    continue;
                }
                let tile = &tile[..len * LANES];
                let at = first * self.results + result;
                if self.results == 1 && rows == self.result[0] {
                    // SAFETY: a task writes its own planes.
                    if let Some(y) = unsafe { out.direct(at * plane, count * len) } {
                        separate(tile, len, count, y);
                        continue;
                    }
                    separate(tile, len, count, lines);
                    // SAFETY: as above.
                    counts += unsafe { out.write(at * plane, &lines[..count * len]) };
                } else {
                    separate(tile, len, count, lines);
                    for (lane, line) in lines.chunks(len).enumerate().take(count) {
                        let at = (at + lane * self.results) * plane + first_row * self.result[1];
                        // SAFETY: as above.
                        counts += unsafe { out.write(at, line) };
                    }
                }
            }
        }
        counts
    }
}

multiversion! {
    /// The results of a tile side by side, which begin with `start`, or with what they are if nothing is given.
    fn filter(
        plan: &Depthwise,
        weights: &[[f32; LANES]],
        staged: &[f32],
        start: Option<&[f32; LANES]>,
        rows: usize,
        tile: &mut [f32],
    ) {
        let (width, [step_y, step_x]) = (plan.result[1], plan.step);
        let tile = tile.as_chunks_mut::<LANES>().0;
        for phase in &plan.phases {
            for (i, y) in (phase.origin[0]..rows).step_by(step_y).enumerate() {
                let row = &mut tile[y * width..][..width];
                let outputs = (width - phase.origin[1]).div_ceil(step_x);
                let source = &staged[i * plan.layout.row() * LANES..];
                let mut x = 0;
                while x < outputs {
                    let block = (outputs - x).min(BLOCK);
                    let row = &mut row[phase.origin[1] + x * step_x..];
                    let source = &source[x * LANES..];
                    match block {
                        BLOCK => filter_block::<FMA, BLOCK>(&phase.taps, weights, source, start, row, step_x),
                        2.. => filter_block::<FMA, 2>(&phase.taps, weights, source, start, row, step_x),
                        _ => filter_block::<FMA, 1>(&phase.taps, weights, source, start, row, step_x),
                    }
                    x += if block == 3 { 2 } else { block };
                }
            }
        }
    }
}

#[inline(always)]
fn filter_block<const FMA: bool, const N: usize>(
    taps: &[(usize, usize)],
    weights: &[[f32; LANES]],
    source: &[f32],
    start: Option<&[f32; LANES]>,
    row: &mut [[f32; LANES]],
    step: usize,
) {
    let mut sums = [[0.0f32; LANES]; N];
    for j in 0..N {
        sums[j] = start.copied().unwrap_or(row[j * step]);
    }
    for &(offset, tap) in taps {
        let weight = weights[tap];
        let source = &source[offset..offset + N * LANES].as_chunks::<LANES>().0;
        for j in 0..N {
            for lane in 0..LANES {
                sums[j][lane] = mul_add::<FMA>(weight[lane], source[j][lane], sums[j][lane]);
            }
        }
    }
    for j in 0..N {
        row[j * step] = sums[j];
    }
}

/// Elements that [`stage`] takes: lines, and those side by side.
pub(super) fn stage_len(layout: &Layout, rows: usize) -> usize {
    2 * LANES * stage::line(layout.source_len(rows))
}

/// Stages planes.
pub(super) fn stage(window: &Window, picked: Picked, staged: &mut [f32], scratch: &mut [f32]) {
    let (row, n) = window.source();
    let (buffer, between) = scratch.split_at_mut(LANES * stage::line(n));
    let lines = window.planes.lines(picked, row, n, buffer);
    let mut found: [&[f32]; LANES] = [&[]; LANES];
    found.iter_mut().enumerate().take(picked.count).for_each(|(i, found)| *found = lines.get(i));
    stage::place(window.layout, window.start, row, &found[..picked.count], LANES, staged, between);
}
