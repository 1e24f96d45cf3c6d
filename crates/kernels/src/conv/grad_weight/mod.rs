//! Weight gradient of dense and grouped convolution: dy times staged planes of x, summed over pixels.
//!
//! Vectors hold 16 input channels, panels 16 output channels, side by side for every pixel: both operands are transposed
//! on the way, and every tap of the kernel is an offset of its own into the same staged planes. In BF16, two images meet
//! in one dot product.

mod task;

use bitbudget_formats::{Counts, Format};

use super::Conv2d;
use super::layout::{Axis, Layout};
use super::stage;
use crate::elements::{Elements, Output, SharedOutput};
use crate::parallel::{SharedOut, for_tasks, sum_tasks, with_scratch};
use crate::product::{Arithmetic, LANES, narrow};
use crate::simd::multiversion;
use task::Task;

/// Pixels (or pairs of them) that are staged at a time.
const PIXELS: usize = 256;
/// Vectors of 16 columns that one task sums.
const COLUMNS: usize = 36;
/// Sums that one task holds.
const SUMS: usize = 128 * COLUMNS * LANES;
/// Elements that partial sums may take together.
const PARTIAL_SUMS: usize = 1024 * 1024;
/// Tasks that there should be.
const TASKS: usize = 16;
/// Elements that are packed at a time.
const PACKED: usize = 4096;

/// A weight gradient, and how it is cut. Shapes alone decide.
pub(super) struct GradWeight {
    arithmetic: Arithmetic,
    batch: usize,
    groups: usize,
    /// Channels of a group on the side of the vectors and on the side of the panels.
    inputs: usize,
    outputs: usize,
    /// Whether the vectors hold channels of dy, and the panels those of x.
    swapped: bool,
    source: [usize; 2],
    result: [usize; 2],
    layout: Layout,
    plain: Layout,
    /// Where the taps read.
    taps: Vec<usize>,
    kernel_width: usize,
    /// Where the taps of the kernel read a single plane, if channels are so few that vectors hold pairs of channel and
    /// tap instead: columns of their own, which the plan takes for channels.
    columns: Option<Vec<usize>>,
    /// Whether pixels are skipped where a tap reads outside the source.
    skips: bool,
    /// Elements (images, or pairs of them) and rows of a tile.
    images: usize,
    rows: usize,
    /// Panels of 16 input and output channels that a task takes.
    input_panels: usize,
    output_panels: usize,
    /// Parts into which the batch is cut.
    parts: usize,
}

impl GradWeight {
    pub(super) fn new(g: &Conv2d, x: Format, dy: Format) -> GradWeight {
        let mut g = super::dense::as_rows(g);
        let arithmetic = Arithmetic::of(x, dy);
        // Columns of the result are counted in vectors: let there be enough.
        let swapped = g.is_pointwise() && g.group_in() <= 2 * LANES && g.group_out() > g.group_in();
        if swapped {
            (g.in_channels, g.out_channels) = (g.out_channels, g.in_channels);
        }
        let (inputs, outputs) = (g.group_in(), g.group_out());
        let result = [g.out_height(), g.out_width()];
        let batch = g.batch.div_ceil(if narrow(x) && narrow(dy) { 2 } else { 1 });
        let rows = (PIXELS / result[1]).clamp(1, result[0]);
        let rows = result[0].div_ceil(result[0].div_ceil(rows));
        let layout = Layout::new([Axis::below_outputs(&g, 0), Axis::below_outputs(&g, 1)], [rows, result[1]]);
        let (mut all, mut inside) = (0, 0);
        for (y, x) in (0..rows).flat_map(|y| (0..result[1]).map(move |x| (y, x))) {
            all += g.taps();
            inside += layout.reached(y, x).map(u64::count_ones).iter().product::<u32>() as usize;
        }
        // Vectors of one tap each have to make up blocks.
        let skips = rows == result[0] && inputs > LANES && 10 * inside < 9 * all;
        let pixels = if skips { PIXELS / 2 } else { PIXELS };
        let images = if rows < result[0] { 1 } else { (pixels / (rows * result[1])).clamp(1, batch) };
        let images = batch.div_ceil(batch.div_ceil(images));
        let mut taps: Vec<usize> =
            (0..g.taps()).map(|t| layout.tap(t / g.kernel[1], t % g.kernel[1]) * LANES).collect();
        let mut pairs = None;
        let mut inputs = inputs;
        if inputs < LANES && 4 * (inputs * taps.len()).div_ceil(LANES) <= 3 * taps.len() {
            pairs = Some(taps.iter().map(|tap| tap / LANES).collect());
            inputs *= taps.len();
            taps = vec![0];
        }

        let all = inputs.div_ceil(LANES);
        let input_blocks = all.div_ceil((COLUMNS / taps.len()).clamp(1, 16));
        let input_panels = all.div_ceil(input_blocks);
        let columns = input_panels * taps.len() * LANES;
        let all = outputs.div_ceil(LANES);
        let output_blocks = all.div_ceil((SUMS / (columns * LANES)).clamp(1, 16));
        let output_panels = all.div_ceil(output_blocks);
        let blocks = g.groups * input_blocks * output_blocks;
        let tiles = batch.div_ceil(images) * result[0].div_ceil(rows);
        let most = (PARTIAL_SUMS / (blocks * output_panels * LANES * columns)).clamp(1, tiles);
        let parts = TASKS.div_ceil(blocks).min(most);
        let parts = tiles.div_ceil(tiles.div_ceil(parts));
        let plain = Layout::new([Axis::plain(result[0]), Axis::plain(result[1])], [rows, result[1]]);
        GradWeight {
            arithmetic,
            batch: g.batch,
            groups: g.groups,
            inputs,
            outputs,
            swapped,
            source: [g.in_height, g.in_width],
            result,
            layout,
            plain,
            taps,
            kernel_width: g.kernel[1],
            columns: pairs,
            skips,
            images,
            rows,
            input_panels,
            output_panels,
            parts,
        }
    }

    /// Elements of an image's staged plane.
    fn image_len(&self) -> usize {
        if self.columns.is_some() { self.rows * self.result[1] } else { self.layout.len }
    }

    fn input_blocks(&self) -> usize {
        self.inputs.div_ceil(LANES).div_ceil(self.input_panels)
    }

    fn output_blocks(&self) -> usize {
        self.outputs.div_ceil(LANES).div_ceil(self.output_panels)
    }

    fn blocks(&self) -> usize {
        self.groups * self.input_blocks() * self.output_blocks()
    }

    /// Columns of a block of sums.
    fn columns(&self) -> usize {
        self.input_panels * self.taps.len() * LANES
    }

    /// Elements of a block of sums.
    fn sums_len(&self) -> usize {
        self.output_panels * LANES * self.columns()
    }

    /// Elements of shared memory: the partial sums, where there are several.
    pub(super) fn workspace(&self) -> usize {
        if self.parts > 1 { self.parts * self.blocks() * self.sums_len() } else { 0 }
    }

    /// Elements of scratch memory that a thread takes.
    pub(super) fn scratch(&self) -> usize {
        self.lens().iter().sum()
    }

    /// Elements of staged planes, of panels, of what staging needs, of the sums and of the results on their way.
    fn lens(&self) -> [usize; 5] {
        let line = self.inputs.max(self.outputs) * self.taps.len();
        let single_planes = match &self.columns {
            Some(columns) => self.inputs / columns.len() * self.layout.len,
            None => 0,
        };
        [
            self.input_panels * self.images * self.image_len() * LANES + single_planes,
            self.output_panels * LANES * self.images * self.rows * self.result[1],
            // Lines of two images, pairs of them, and those side by side.
            4 * LANES * stage::line(self.layout.source_len(self.rows).max(self.plain.source_len(self.rows))),
            self.sums_len(),
            PACKED.max(line),
        ]
    }

    /// Computes the gradient; `shared` has the elements of [`GradWeight::workspace`].
    pub(super) fn run(&self, x: Elements, dy: Elements, dw: &mut Output, shared: &mut [f32]) -> Counts {
        let out = dw.shared();
        let (x, dy) = if self.swapped { (dy, x) } else { (x, dy) };
        let images = self.batch.div_ceil(self.arithmetic.numbers());
        let per_image = self.result[0].div_ceil(self.rows);
        let tiles = images.div_ceil(self.images) * per_image;
        let per_part = tiles.div_ceil(self.parts);
        let pixels = 0..self.images * self.rows * self.result[1];
        let place = |k: usize| {
            let (row, column) = (k / self.result[1], k % self.result[1]);
            (row / self.rows, row % self.rows, column)
        };
        let step = |k: usize| {
            let (image, row, column) = place(k);
            let row_len = if self.columns.is_some() { self.result[1] } else { self.layout.row() };
            [k * LANES, (image * self.image_len() + row * row_len + column) * LANES].map(|offset| offset as u32)
        };
        let steps: Vec<Vec<[u32; 2]>> = match self.skips {
            false => vec![pixels.map(step).collect()],
            true => {
                let reaches = |tap: usize, k: usize| {
                    let [rows, columns] = self.layout.reached(place(k).1, place(k).2);
                    let (y, x) = (tap / self.kernel_width, tap % self.kernel_width);
                    rows >> y.min(63) & columns >> x.min(63) & 1 == 1
                };
                let of = |tap: usize| pixels.clone().filter(|&k| reaches(tap, k)).map(step).collect();
                (0..self.taps.len()).map(of).collect()
            }
        };
        let sum = |block: usize, part: usize, sums: &mut [f32], scratch: &mut [f32]| {
            let task = Task { plan: self, x, dy, steps: &steps, block: self.block(block) };
            let range = (part * per_part).min(tiles)..((part + 1) * per_part).min(tiles);
            task.sum(
                range.map(|tile| {
                    let (image, row) = (tile / per_image * self.images, tile % per_image * self.rows);
                    Tile {
                        image,
                        images: self.images.min(images - image),
                        row,
                        rows: self.rows.min(self.result[0] - row),
                    }
                }),
                sums,
                scratch,
            );
        };
        let [.., sums_len, _] = self.lens();
        if self.parts == 1 {
            return sum_tasks(self.blocks(), |block| {
                with_scratch(self.scratch(), |scratch| {
                    let (sums, scratch) = scratch.split_at_mut(sums_len);
                    sum(block, 0, sums, scratch);
                    self.finish(&self.block(block), sums, scratch, &out)
                })
            });
        }
        let partial = SharedOut::new(shared);
        for_tasks(self.blocks() * self.parts, |task| {
            // SAFETY: a task writes its own sums.
            let sums = unsafe { partial.slice(task * sums_len, sums_len) };
            with_scratch(self.scratch() - sums_len, |scratch| sum(task / self.parts, task % self.parts, sums, scratch));
        });
        sum_tasks(self.blocks(), |block| {
            // SAFETY: every task takes the sums of its own block.
            let sums = unsafe { partial.slice(block * self.parts * sums_len, self.parts * sums_len) };
            let (first, others) = sums.split_at_mut(sums_len);
            for other in others.chunks(sums_len) {
                first.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
            }
            with_scratch(self.scratch() - sums_len, |scratch| self.finish(&self.block(block), first, scratch, &out))
        })
    }

    fn block(&self, i: usize) -> Channels {
        let (group, i) =
            (i / (self.input_blocks() * self.output_blocks()), i % (self.input_blocks() * self.output_blocks()));
        let input = i % self.input_blocks() * self.input_panels * LANES;
        let output = i / self.input_blocks() * self.output_panels * LANES;
        Channels {
            group,
            input,
            inputs: (self.input_panels * LANES).min(self.inputs.saturating_sub(input)),
            output,
            outputs: (self.output_panels * LANES).min(self.outputs.saturating_sub(output)),
        }
    }

    /// Writes the weights of a block from its sums.
    fn finish(&self, block: &Channels, sums: &[f32], scratch: &mut [f32], out: &SharedOutput) -> Counts {
        let (inputs, outputs) = match self.swapped {
            true => (block.outputs, block.inputs),
            false => (block.inputs, block.outputs),
        };
        let (input, output, all_inputs, all_outputs) = match self.swapped {
            true => (block.output, block.input, self.outputs, self.inputs),
            false => (block.input, block.output, self.inputs, self.outputs),
        };
        let len = inputs * self.taps.len();
        let together = if inputs == all_inputs { (PACKED / len.max(1)).max(1) } else { 1 };
        let mut counts = Counts::default();
        for first in (0..outputs).step_by(together) {
            let line = &mut scratch[..together.min(outputs - first) * len];
            for (o, line) in line.chunks_mut(len).enumerate() {
                match self.swapped {
                    true => {
                        let sums = sums[first + o..].iter().step_by(self.columns());
                        line.iter_mut().zip(sums).for_each(|(w, sum)| *w = *sum);
                    }
                    false => by_channel(self.taps.len(), &sums[(first + o) * self.columns()..], line),
                }
            }
            let at = ((block.group * all_outputs + output + first) * all_inputs + input) * self.taps.len();
            // SAFETY: a task writes the weights of its own block.
            counts += unsafe { out.write(at, line) };
        }
        counts
    }
}

multiversion! {
    /// `[channel][tap]` from `[channel / 16][tap][channel % 16]`.
    fn by_channel(taps: usize, sums: &[f32], line: &mut [f32]) {
        for (line, sums) in line.chunks_mut(LANES * taps).zip(sums.chunks(LANES * taps)) {
            for (c, line) in line.chunks_mut(taps).enumerate() {
                line.iter_mut().zip(sums[c..].iter().step_by(LANES)).for_each(|(w, sum)| *w = *sum);
            }
        }
    }
}

/// Some rows of an image, or several whole images; pairs of images in BF16.
struct Tile {
    image: usize,
    images: usize,
    row: usize,
    rows: usize,
}

/// Channels of one group.
struct Channels {
    group: usize,
    input: usize,
    inputs: usize,
    output: usize,
    outputs: usize,
}
