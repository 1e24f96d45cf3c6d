//! How a weight gradient is cut: blocks of channels, tiles of pixels, parts of the batch.

use bitbudget_formats::{Counts, Format};

use super::super::geometry::Conv2d;
use super::super::layout::{Axis, Layout};
use super::super::stage;
use crate::operators::product::{Arithmetic, LANES, narrow};
use crate::tensors::elements::SharedOutput;
use crate::words::simd::multiversion;

/// Pixels (or pairs of them) that are staged at a time.
pub(super) const PIXELS: usize = 256;
/// Vectors of 16 columns that one task sums.
pub(super) const COLUMNS: usize = 36;
/// Sums that one task holds.
pub(super) const SUMS: usize = 128 * COLUMNS * LANES;
/// Elements that partial sums may take together.
pub(super) const PARTIAL_SUMS: usize = 1024 * 1024;
/// Tasks that there should be.
pub(super) const TASKS: usize = 16;
/// Elements that are packed at a time.
pub(super) const PACKED: usize = 4096;

/// A weight gradient, and how it is cut. Shapes alone decide.
#[derive(Debug)]
pub(crate) struct GradWeight {
    pub(super) arithmetic: Arithmetic,
    pub(super) batch: usize,
    pub(super) groups: usize,
    /// Channels of a group on the side of the vectors and on the side of the panels.
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Whether the vectors hold channels of dy, and the panels those of x.
    pub(super) swapped: bool,
    pub(super) source: [usize; 2],
    pub(super) result: [usize; 2],
    pub(super) layout: Layout,
    pub(super) plain: Layout,
    /// Where the taps read.
    pub(super) taps: Vec<usize>,
    pub(super) kernel_width: usize,
    /// Where the taps of the kernel read a single plane, if channels are so few that vectors hold pairs of channel and
    /// tap instead: columns of their own, which the plan takes for channels.
    pub(super) columns: Option<Vec<usize>>,
    /// Whether pixels are skipped where a tap reads outside the source.
    pub(super) skips: bool,
    /// Elements (images, or pairs of them) and rows of a tile.
    pub(super) images: usize,
    pub(super) rows: usize,
    /// Panels of 16 input and output channels that a task takes.
    pub(super) input_panels: usize,
    pub(super) output_panels: usize,
    /// Parts into which the batch is cut.
    pub(super) parts: usize,
}

impl GradWeight {
    pub(crate) fn new(g: &Conv2d, [x, dy]: [Format; 2], arithmetic: Arithmetic) -> GradWeight {
        let mut g = super::super::dense::as_rows(g);
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
    pub(super) fn image_len(&self) -> usize {
        if self.columns.is_some() { self.rows * self.result[1] } else { self.layout.len }
    }

    pub(super) fn input_blocks(&self) -> usize {
        self.inputs.div_ceil(LANES).div_ceil(self.input_panels)
    }

    pub(super) fn output_blocks(&self) -> usize {
        self.outputs.div_ceil(LANES).div_ceil(self.output_panels)
    }

    pub(super) fn blocks(&self) -> usize {
        self.groups * self.input_blocks() * self.output_blocks()
    }

    /// Columns of a block of sums.
    pub(super) fn columns(&self) -> usize {
        self.input_panels * self.taps.len() * LANES
    }

    /// Elements of a block of sums.
    pub(super) fn sums_len(&self) -> usize {
        self.output_panels * LANES * self.columns()
    }

    /// Elements of shared memory: the partial sums, where there are several.
    pub(crate) fn workspace(&self) -> usize {
        if self.parts > 1 { self.parts * self.blocks() * self.sums_len() } else { 0 }
    }

    /// Elements of scratch memory that a thread takes.
    pub(crate) fn scratch(&self) -> usize {
        self.lens().iter().sum()
    }

    /// Elements of staged planes, of panels, of what staging needs, of the sums and of the results on their way.
    pub(super) fn lens(&self) -> [usize; 5] {
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

    pub(super) fn block(&self, i: usize) -> Channels {
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
    pub(super) fn finish(&self, block: &Channels, sums: &[f32], scratch: &mut [f32], out: &SharedOutput) -> Counts {
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
    pub(super) fn by_channel(taps: usize, sums: &[f32], line: &mut [f32]) {
        for (line, sums) in line.chunks_mut(LANES * taps).zip(sums.chunks(LANES * taps)) {
            for (c, line) in line.chunks_mut(taps).enumerate() {
                line.iter_mut().zip(sums[c..].iter().step_by(LANES)).for_each(|(w, sum)| *w = *sum);
            }
        }
    }
}

/// Some rows of an image, or several whole images; pairs of images in BF16.
pub(super) struct Tile {
    pub(super) image: usize,
    pub(super) images: usize,
    pub(super) row: usize,
    pub(super) rows: usize,
}

/// Channels of one group.
pub(super) struct Channels {
    pub(super) group: usize,
    pub(super) input: usize,
    pub(super) inputs: usize,
    pub(super) output: usize,
    pub(super) outputs: usize,
}
