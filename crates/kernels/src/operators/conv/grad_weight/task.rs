//! The work of one thread: sums over tiles.

use super::super::stage::{self, Picked, Planes, Window};
use super::plan::{Channels, GradWeight, Tile};
use crate::operators::product::{Arithmetic, Block, Kernel, LANES, ROWS, VECTORS, interleave, pair, single};
use crate::tensors::elements::Elements;
use crate::words::simd::copy_short;

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
        let mut first = true;
        for tile in tiles {
            if !plan.layout.is_plain() && (first || plan.rows < plan.result[0]) {
                staged.fill(0.0);
            }
            for image in 0..tile.images {
                self.stage_inputs(&tile, image, staged, stage_scratch);
                self.stage_outputs(&tile, image, panels, stage_scratch);
            }
            self.add_products(kernel, &tile, staged, panels, first.then_some(&[0.0; ROWS]), sums);
            first = false;
        }
        if first {
            sums.fill(0.0);
        }
    }

    /// Stages the block's input channels of an image of the tile.
    fn stage_inputs(&self, tile: &Tile, image: usize, staged: &mut [f32], scratch: &mut [f32]) {
        let (plan, block) = (self.plan, &self.block);
        let planes = Planes { x: self.x, size: plan.source };
        if plan.columns.is_some() {
            return self.stage_columns(&planes, tile, image, staged, scratch);
        }
        let window = Window { planes, layout: &plan.layout, start: tile.row, rows: plan.rows };
        for panel in (0..block.inputs).step_by(LANES) {
            let at = panel / LANES * self.panel_len() + image * plan.layout.len * LANES;
            let staged = &mut staged[at..][..plan.layout.len * LANES];
            let channels = Picked {
                first: block.group * plan.inputs + block.input + panel,
                step: 1,
                count: LANES.min(block.inputs - panel),
            };
            self.stage(&window, tile.image + image, plan.groups * plan.inputs, channels, staged, scratch);
        }
    }

    /// Stages the block's output channels of an image of the tile.
    fn stage_outputs(&self, tile: &Tile, image: usize, panels: &mut [f32], scratch: &mut [f32]) {
        let (plan, block) = (self.plan, &self.block);
        let planes = Planes { x: self.dy, size: plan.result };
        let window = Window { planes, layout: &plan.plain, start: tile.row, rows: tile.rows };
        let plane = tile.rows * plan.result[1];
        for panel in (0..block.outputs).step_by(LANES) {
            let at = (panel / LANES * tile.images * plane + image * plane) * LANES;
            let channels = Picked {
                first: block.group * plan.outputs + block.output + panel,
                step: 1,
                count: LANES.min(block.outputs - panel),
            };
            let panels = &mut panels[at..];
            self.stage(&window, tile.image + image, plan.groups * plan.outputs, channels, panels, scratch);
        }
    }

    /// Elements of a staged panel of input channels.
    fn panel_len(&self) -> usize {
        self.plan.images * self.plan.image_len() * LANES
    }

    /// Adds the products of a staged tile to the sums, which begin with `start` if it is given.
    fn add_products(
        &self,
        kernel: Kernel,
        tile: &Tile,
        staged: &[f32],
        panels: &[f32],
        start: Option<&[f32; ROWS]>,
        sums: &mut [f32],
    ) {
        let (plan, block) = (self.plan, &self.block);
        let (panel_len, depth) = (self.panel_len(), tile.images * tile.rows * plan.result[1]);
        let input_panels = block.inputs.div_ceil(LANES);
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
                            start,
                        });
                    }
                }
            }
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
        let single_plane = |first| Picked { first, step: 1, count: 1 };
        for (c, plane_of_columns) in singles.chunks_mut(layout.len).enumerate() {
            let plane = first * all + block.group * channels + c;
            let evens = planes.lines(single_plane(plane), row, n, even);
            let line = match plan.arithmetic {
                Arithmetic::F32 => evens.get(0),
                Arithmetic::Bf16 if first + 1 < plan.batch => {
                    pair(evens.get(0), planes.lines(single_plane(plane + all), row, n, odd).get(0), &mut rest[..n]);
                    &rest[..n]
                }
                Arithmetic::Bf16 => {
                    single(evens.get(0), &mut rest[..n]);
                    &rest[..n]
                }
            };
            layout.place(tile.row, row, 1, line, plane_of_columns);
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

    /// Stages a panel of some channels of an image of `all` channels, those of two images in BF16.
    fn stage(
        &self,
        window: &Window,
        image: usize,
        all: usize,
        channels: Picked,
        staged: &mut [f32],
        scratch: &mut [f32],
    ) {
        let (row, n) = window.source();
        let (line, count) = (stage::line(n), channels.count);
        let (unpacked, rest) = scratch.split_at_mut(2 * LANES * line);
        let (even, odd) = unpacked.split_at_mut(LANES * line);
        let (paired, between) = rest.split_at_mut(LANES * line);
        let image = image * self.plan.arithmetic.numbers();
        let of_image = |image: usize| Picked { first: image * all + channels.first, ..channels };
        let evens = window.planes.lines(of_image(image), row, n, even);
        let mut found: [&[f32]; LANES] = [&[]; LANES];
        if self.plan.arithmetic == Arithmetic::F32 {
            found.iter_mut().enumerate().take(count).for_each(|(i, found)| *found = evens.get(i));
        } else {
            let second = image + 1 < self.plan.batch;
            let odds = second.then(|| window.planes.lines(of_image(image + 1), row, n, odd));
            for ((i, paired), found) in paired.chunks_mut(line).enumerate().zip(&mut found).take(count) {
                match &odds {
                    Some(odds) => pair(evens.get(i), odds.get(i), &mut paired[..n]),
                    None => single(evens.get(i), &mut paired[..n]),
                }
                *found = &paired[..n];
            }
        }
        stage::place(window.layout, window.start, row, &found[..count], LANES, staged, between);
    }
}
