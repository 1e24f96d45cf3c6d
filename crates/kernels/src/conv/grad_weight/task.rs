//! The work of one thread: sums over tiles.

use super::super::layout::Layout;
use super::super::stage::{self, Planes};
use super::{Channels, GradWeight, Tile};
use crate::elements::Elements;
use crate::product::{Arithmetic, Block, Kernel, LANES, ROWS, VECTORS, interleave, pair, single};
use crate::simd::copy_short;

/// The sums of one block of weights.
pub(super) struct Task<'a> {
    pub(super) plan: &'a GradWeight,
    pub(super) x: Elements<'a>,
    pub(super) dy: Elements<'a>,
    /// Steps of a full tile: those of each tap if some are skipped, else those of all.
    pub(super) steps: &'a [Vec<[u32; 2]>],
    pub(super) block: Channels,
}

impl Task<'_> {
    /// Sums over tiles, in order.
    pub(super) fn sum(&self, tiles: impl Iterator<Item = Tile>, sums: &mut [f32], scratch: &mut [f32]) {
        let (plan, block) = (self.plan, &self.block);
        if block.inputs == 0 || block.outputs == 0 {
            return;
        }
        let [staged_len, panels_len, stage_len, ..] = plan.lens();
        let (staged, rest) = scratch.split_at_mut(staged_len);
        let (panels, rest) = rest.split_at_mut(panels_len);
        let stage_scratch = &mut rest[..stage_len];
        let kernel = Kernel::new(plan.arithmetic);
        let sources = Planes { x: self.x, size: plan.source };
        let results = Planes { x: self.dy, size: plan.result };
        let panel_len = plan.images * plan.image_len() * LANES;
        let input_panels = block.inputs.div_ceil(LANES);
        let mut first = true;
        for tile in tiles {
            if !plan.layout.is_plain() && (first || plan.rows < plan.result[0]) {
                staged.fill(0.0);
            }
            let depth = tile.images * tile.rows * plan.result[1];
            for image in 0..tile.images {
                if plan.columns.is_some() {
                    self.stage_columns(&sources, &tile, image, staged, stage_scratch);
                }
                for panel in (0..block.inputs).step_by(LANES).filter(|_| plan.columns.is_none()) {
                    let at = panel / LANES * panel_len + image * plan.layout.len * LANES;
                    let staged = &mut staged[at..][..plan.layout.len * LANES];
                    let first = block.group * plan.inputs + block.input + panel;
                    let (all, count) = (plan.groups * plan.inputs, LANES.min(block.inputs - panel));
                    let image = tile.image + image;
                    self.stage(
                        &sources,
                        &plan.layout,
                        tile.row,
                        plan.rows,
                        image,
                        all,
                        first,
                        count,
                        staged,
                        stage_scratch,
                    );
                }
                for panel in (0..block.outputs).step_by(LANES) {
                    let at = (panel / LANES * depth + image * tile.rows * plan.result[1]) * LANES;
                    let panels = &mut panels[at..];
                    let first = block.group * plan.outputs + block.output + panel;
                    let (all, count) = (plan.groups * plan.outputs, LANES.min(block.outputs - panel));
                    let image = tile.image + image;
                    self.stage(
                        &results,
                        &plan.plain,
                        tile.row,
                        tile.rows,
                        image,
                        all,
                        first,
                        count,
                        panels,
                        stage_scratch,
                    );
                }
            }
            for (tap, steps) in self.steps.iter().enumerate() {
                // The vectors that take these steps, and the steps in this tile.
                let (from, between, count, steps) = match plan.skips {
                    true => (tap, plan.taps.len(), input_panels, &steps[..steps.len() / plan.images * tile.images]),
                    false => (0, 1, input_panels * plan.taps.len(), &steps[..depth]),
                };
                let blocks = count.div_ceil(VECTORS);
                for i in 0..blocks {
                    let range = i * count / blocks..(i + 1) * count / blocks;
                    let mut b = [staged.as_ptr(); VECTORS];
                    let mut c = [sums.as_mut_ptr(); VECTORS];
                    for (j, vector) in range.clone().map(|i| from + i * between).enumerate() {
                        let (panel, tap) = (vector / plan.taps.len(), vector % plan.taps.len());
                        b[j] = staged[panel * panel_len + plan.taps[tap]..].as_ptr();
                        c[j] = sums[vector * LANES..].as_mut_ptr();
                    }
                    for output in (0..block.outputs).step_by(ROWS) {
                        let a = &panels[output / LANES * depth * LANES + output % LANES..];
                        // SAFETY: panels, staged planes and sums are as long as the plan says.
                        unsafe {
                            kernel.run(&Block {
                                a: a.as_ptr(),
                                steps,
                                b,
                                c: c.map(|c| c.add(output * plan.columns())),
                                vectors: range.len(),
                                row: plan.columns(),
                                rows: ROWS.min(block.outputs - output),
                                start: first.then_some(&[0.0; ROWS]),
                            });
                        }
                    }
                }
            }
            first = false;
        }
        if first {
            sums.fill(0.0);
        }
    }

    /// Stages columns of an image of the tile, for the block's pairs of channel and tap.
    fn stage_columns(&self, planes: &Planes, tile: &Tile, image: usize, staged: &mut [f32], scratch: &mut [f32]) {
        let (plan, block) = (self.plan, &self.block);
        let Some(taps) = &plan.columns else { return };
        let layout = &plan.layout;
        let channels = plan.inputs / taps.len();
        let (staged, singles) = staged.split_at_mut(plan.input_panels * plan.images * plan.image_len() * LANES);
        let (row, end) = layout.source_rows(tile.row, plan.rows);
        let n = (end - row) * planes.size[1];
        let (lines, rest) = scratch.split_at_mut(2 * LANES * stage::line(n));
        let (even, odd) = lines.split_at_mut(LANES * stage::line(n));
        let numbers = plan.arithmetic.numbers();
        let (first, all) = ((tile.image + image) * numbers, plan.groups * channels);
        for (c, single_plane) in singles.chunks_mut(layout.len).enumerate() {
            let plane = first * all + block.group * channels + c;
            let evens = planes.lines(plane, 1, 1, row, n, even);
            let line = match plan.arithmetic {
                Arithmetic::F32 => evens.get(0),
                Arithmetic::Bf16 if first + 1 < plan.batch => {
                    pair(evens.get(0), planes.lines(plane + all, 1, 1, row, n, odd).get(0), &mut rest[..n]);
                    &rest[..n]
                }
                Arithmetic::Bf16 => {
                    single(evens.get(0), &mut rest[..n]);
                    &rest[..n]
                }
            };
            layout.place(tile.row, row, 1, line, single_plane);
        }
        let (width, len) = (plan.result[1], tile.rows * plan.result[1]);
        let distance = stage::line(plan.rows * width);
        for panel in (0..block.inputs).step_by(LANES) {
            let count = LANES.min(block.inputs - panel);
            for (i, line) in scratch.chunks_mut(distance).enumerate().take(count) {
                let (c, tap) = ((block.input + panel + i) / taps.len(), (block.input + panel + i) % taps.len());
                let single_plane = &singles[c * layout.len + taps[tap]..];
                for (line, plane) in line[..len].chunks_mut(width).zip(single_plane.chunks(layout.row())) {
                    copy_short(&plane[..width], line);
                }
            }
            let mut found: [&[f32]; LANES] = [&[]; LANES];
            found.iter_mut().zip(scratch.chunks(distance)).for_each(|(found, line)| *found = &line[..len]);
            let at = (panel / LANES * plan.images + image) * plan.image_len() * LANES;
            interleave(&found[..count], LANES, len, &mut staged[at..]);
        }
    }

    /// Stages a panel of `count` channels from `first` on, those of two images in BF16.
    fn stage(
        &self,
        planes: &Planes,
        layout: &Layout,
        start: usize,
        rows: usize,
        image: usize,
        all: usize,
        first: usize,
        count: usize,
        staged: &mut [f32],
        scratch: &mut [f32],
    ) {
        let (row, end) = layout.source_rows(start, rows);
        let n = (end - row) * planes.size[1];
        let line = stage::line(n);
        let (unpacked, rest) = scratch.split_at_mut(2 * LANES * line);
        let (even, odd) = unpacked.split_at_mut(LANES * line);
        let (paired, between) = rest.split_at_mut(LANES * line);
        let image = image * self.plan.arithmetic.numbers();
        let evens = planes.lines(image * all + first, 1, count, row, n, even);
        let mut found: [&[f32]; LANES] = [&[]; LANES];
        if self.plan.arithmetic == Arithmetic::F32 {
            found.iter_mut().enumerate().take(count).for_each(|(i, found)| *found = evens.get(i));
        } else {
            let second = image + 1 < self.plan.batch;
            let odds = second.then(|| planes.lines((image + 1) * all + first, 1, count, row, n, odd));
            for ((i, paired), found) in paired.chunks_mut(line).enumerate().zip(&mut found).take(count) {
                match &odds {
                    Some(odds) => pair(evens.get(i), odds.get(i), &mut paired[..n]),
                    None => single(evens.get(i), &mut paired[..n]),
                }
                *found = &paired[..n];
            }
        }
        stage::place(layout, start, row, &found[..count], LANES, staged, between);
    }
}
