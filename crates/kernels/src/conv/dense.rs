//! Dense and grouped convolution and its input gradient: weights times staged planes, without columns.
//!
//! A vector holds 16 neighbouring outputs of a row, or those of several images where rows are short: the planes of such
//! images are staged side by side. Every tap reads a vector at an offset of its own.

use bitbudget_formats::{Counts, Format};

use super::Conv2d;
use super::layout::{Axis, Layout};
use super::stage::{self, Planes};
use super::weights;
use crate::parallel::{sum_tasks, with_scratch};
use crate::product::{Arithmetic, Block, Kernel, LANES, ROWS, VECTORS, narrow, pair, single};
use crate::simd::multiversion;
use crate::{Elements, Output};

/// Elements of packed weights that there are at a time.
const WEIGHTS: usize = 1024 * 1024;
/// Elements of the sums that one thread holds.
const SUMS: usize = 64 * 1024;
/// Output pixels of a tile.
const PIXELS: [usize; 2] = [256, 512];
/// Products that a block sums before the sums are written.
const DEPTH: usize = 288;
/// Elements of the staged planes that one thread holds.
const STAGED: usize = 64 * 1024;
/// Elements that are packed at a time.
const PACKED: usize = 4096;

/// A product of weights and planes, and how it is cut. Shapes alone decide.
pub(super) struct Dense {
    /// Elements of shared memory: all packed weights, or as many as there may be at a time.
    pub(super) workspace: usize,
    pub(super) arithmetic: Arithmetic,
    batch: usize,
    groups: usize,
    /// Channels of a group that are summed over.
    pub(super) inputs: usize,
    /// Channels of a group that come out.
    pub(super) outputs: usize,
    /// Taps of the kernel.
    pub(super) taps: usize,
    /// Whether weights are stored by input channel.
    pub(super) transposed: bool,
    /// Height and width of a source and of an output plane.
    source: [usize; 2],
    result: [usize; 2],
    layout: Layout,
    /// Distance of the outputs of one phase, and their number.
    step: [usize; 2],
    lattice: [usize; 2],
    phases: Vec<Phase>,
    /// For every tap: taps of the phases before its own, taps of its phase, its place among them.
    pub(super) places: Vec<(usize, usize, usize)>,
    /// Images side by side.
    lanes: usize,
    /// Images and rows of a tile.
    images: usize,
    rows: usize,
    /// Input elements that are staged at a time.
    pub(super) block: usize,
    /// Units of weights that a task multiplies with.
    units: usize,
}

/// Outputs that the same taps lead to.
struct Phase {
    origin: [usize; 2],
    /// Where the taps read, in the order of the weights.
    taps: Vec<usize>,
}

impl Dense {
    pub(super) fn forward(g: &Conv2d, x: Format, w: Format) -> Dense {
        let g = &as_rows(g);
        let axes = [Axis::below_outputs(g, 0), Axis::below_outputs(g, 1)];
        let residues = [vec![0; g.kernel[0]], vec![0; g.kernel[1]]];
        let (source, result) = ([g.in_height, g.in_width], [g.out_height(), g.out_width()]);
        let channels = [g.group_in(), g.group_out()];
        Dense::new(g, [x, w], channels, false, source, result, axes, residues, [1, 1])
    }

    pub(super) fn grad_input(g: &Conv2d, dy: Format, w: Format) -> Dense {
        let g = &as_rows(g);
        let ((y, residues_y), (x, residues_x)) = (Axis::below_inputs(g, 0), Axis::below_inputs(g, 1));
        let (source, result) = ([g.out_height(), g.out_width()], [g.in_height, g.in_width]);
        let channels = [g.group_out(), g.group_in()];
        let residues = [residues_y, residues_x];
        Dense::new(g, [dy, w], channels, true, source, result, [y, x], residues, g.stride)
    }

    fn new(
        g: &Conv2d,
        [x, w]: [Format; 2],
        [inputs, outputs]: [usize; 2],
        transposed: bool,
        source: [usize; 2],
        result: [usize; 2],
        axes: [Axis; 2],
        residues: [Vec<usize>; 2],
        step: [usize; 2],
    ) -> Dense {
        let arithmetic = Arithmetic::of(x, w);
        let lattice = [result[0].div_ceil(step[0]), result[1].div_ceil(step[1])];
        // Phases that some tap reaches and that have an output.
        let mut origins: Vec<[usize; 2]> =
            residues[0].iter().flat_map(|&y| residues[1].iter().map(move |&x| [y, x])).collect();
        origins.sort_unstable();
        origins.dedup();
        let lanes = side_by_side(lattice[1], g.batch);
        let vectors = (lattice[1] * lanes).div_ceil(LANES);
        let row = vectors * LANES;
        let panels = outputs.div_ceil(LANES);
        // Tiles of fewer pixels where there are many output channels or several phases.
        let pixels = (SUMS / (panels.min(16) * LANES)).clamp(PIXELS[0], PIXELS[1]) / origins.len().max(1);
        let rows = (pixels / row).clamp(1, lattice[0]);
        let rows = lattice[0].div_ceil(lattice[0].div_ceil(rows));
        let image_groups = if rows < lattice[0] { 1 } else { (pixels / (row * rows)).max(1) };
        let all = g.batch.div_ceil(lanes);
        let image_groups = all.div_ceil(all.div_ceil(image_groups));
        let layout = Layout::new(axes, [rows, lattice[1]]);
        let elements = inputs.div_ceil(arithmetic.numbers());
        let taps = g.taps();
        let most = (STAGED / (layout.len * lanes * image_groups)).min(DEPTH.div_ceil(taps).min(128)).clamp(1, elements);
        let block = elements.div_ceil(elements.div_ceil(most));
        let sums = origins.len() * (image_groups * rows * row + LANES) * LANES;
        let units = (2 * SUMS / sums).clamp(1, 16).min(panels);
        let units = panels.div_ceil(panels.div_ceil(units));

        let mut phases = Vec::with_capacity(origins.len());
        let mut places = vec![(0, 0, 0); taps];
        let mut before = 0;
        for origin in origins {
            let tap = |t: usize| (t / g.kernel[1], t % g.kernel[1]);
            let members: Vec<usize> =
                (0..taps).filter(|&t| origin == [residues[0][tap(t).0], residues[1][tap(t).1]]).collect();
            for (index, &t) in members.iter().enumerate() {
                places[t] = (before, members.len(), index);
            }
            before += members.len();
            let taps = members.into_iter().map(|t| layout.tap(tap(t).0, tap(t).1) * lanes).collect();
            phases.push(Phase { origin, taps });
        }
        // A processor without BF16 instructions has to make do with the memory that those with them take.
        let unit = inputs.div_ceil(if narrow(x) && narrow(w) { 2 } else { 1 }) * taps * LANES;
        let workspace = (g.groups * panels * unit).min(WEIGHTS).max(inputs * taps * LANES);
        Dense {
            workspace,
            arithmetic,
            batch: g.batch,
            groups: g.groups,
            inputs,
            outputs,
            taps,
            transposed,
            source,
            result,
            layout,
            step,
            lattice,
            phases,
            places,
            lanes,
            images: image_groups * lanes,
            rows,
            block,
            units,
        }
    }

    /// Units of weights of a group.
    pub(super) fn panels(&self) -> usize {
        self.outputs.div_ceil(LANES)
    }

    /// Input elements of a group.
    pub(super) fn elements(&self) -> usize {
        self.inputs.div_ceil(self.arithmetic.numbers())
    }

    /// Elements of a unit of weights.
    pub(super) fn unit_len(&self) -> usize {
        self.elements() * self.taps * LANES
    }

    /// Elements of scratch memory that a thread takes.
    pub(super) fn scratch(&self) -> usize {
        self.lens().iter().sum::<usize>().max(weights::scratch(self))
    }

    /// Rows of vectors in a row of the lattice.
    fn vectors(&self) -> usize {
        (self.lattice[1] * self.lanes).div_ceil(LANES)
    }

    /// Elements from one channel's sums to the next: no power of two, since rows at such distances compete for the same
    /// lines of the cache.
    fn distance(&self) -> usize {
        self.images / self.lanes * self.rows * self.vectors() * LANES + LANES
    }

    /// Elements of the staged planes, of what staging needs, of the sums, of the results on their way and of the bias.
    fn lens(&self) -> [usize; 5] {
        let image_groups = self.images / self.lanes;
        [
            self.block * image_groups * self.layout.len * self.lanes + 2 * LANES,
            self.stage_len(),
            self.phases.len() * self.units * LANES * self.distance(),
            PACKED.max(self.rows * self.step[0] * self.result[1]),
            self.units * LANES,
        ]
    }

    /// Elements that staging takes: unpacked lines, pairs of them, and those side by side.
    fn stage_len(&self) -> usize {
        let n = self.layout.source_len(self.rows);
        let line = stage::line(n);
        let numbers = self.arithmetic.numbers();
        // Fewer rows at the edges may leave room for more lines.
        let unpacked =
            (self.lanes * numbers * line * stage::lines_together(n, self.lanes * numbers)).max(stage::UNPACKED);
        unpacked + 2 * self.lanes * line
    }

    fn tiles(&self) -> usize {
        self.batch.div_ceil(self.images) * self.lattice[0].div_ceil(self.rows)
    }

    fn tile(&self, i: usize) -> Tile {
        let per_image = self.lattice[0].div_ceil(self.rows);
        let (image, row) = (i / per_image * self.images, i % per_image * self.rows);
        Tile { image, images: self.images.min(self.batch - image), row, rows: self.rows.min(self.lattice[0] - row) }
    }

    /// Computes the outputs; `shared` has the elements of `workspace`.
    pub(super) fn run(
        &self,
        x: Elements,
        w: Elements,
        bias: Option<Elements>,
        y: &mut Output,
        shared: &mut [f32],
    ) -> Counts {
        let kernel = Kernel::new(self.arithmetic);
        let offsets: Vec<Vec<usize>> =
            self.phases.iter().map(|phase| self.offsets(phase, self.channel_len(x))).collect();
        let out = y.shared();
        let units = self.groups * self.panels();
        let chunk = (shared.len() / self.unit_len()).clamp(1, units);
        let mut counts = Counts::default();
        for first in (0..units).step_by(chunk) {
            let count = chunk.min(units - first);
            let packed = &mut shared[..count * self.unit_len()];
            weights::pack(self, w, first, count, packed);
            let parts = self.parts(first, count);
            let (tiles, packed) = (self.tiles(), &*packed);
            counts += sum_tasks(tiles * parts.len(), |task| {
                let part = &parts[task / tiles];
                let weights = &packed[(part.unit - first) * self.unit_len()..][..part.units * self.unit_len()];
                let task = Task { plan: self, kernel, offsets: &offsets, part, weights, tile: self.tile(task % tiles) };
                with_scratch(self.lens().iter().sum(), |scratch| task.run(x, bias, &out, scratch))
            });
        }
        counts
    }

    /// The chunk's units in parts that one task takes: each of one group.
    fn parts(&self, first: usize, count: usize) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut unit = first;
        while unit < first + count {
            let (group, panel) = (unit / self.panels(), unit % self.panels());
            let units = self.units.min(self.panels() - panel).min(first + count - unit);
            let output = panel * LANES;
            parts.push(Part { group, unit, units, output, outputs: (units * LANES).min(self.outputs - output) });
            unit += units;
        }
        parts
    }

    /// Whether products can read the operand where it is.
    fn in_place(&self, x: Elements) -> bool {
        self.arithmetic == Arithmetic::F32
            && x.numbers().is_some()
            && self.lanes == 1
            && self.layout.is_plain()
            && self.lattice[1] % LANES == 0
    }

    /// Elements from one channel's operand to the next.
    fn channel_len(&self, x: Elements) -> usize {
        if self.in_place(x) { self.source[0] * self.source[1] } else { self.images * self.layout.len }
    }

    /// Where the products of a phase find their operands, for a block of channels.
    fn offsets(&self, phase: &Phase, channel_len: usize) -> Vec<usize> {
        (0..self.block).flat_map(|c| phase.taps.iter().map(move |tap| c * channel_len + tap)).collect()
    }
}

/// A convolution of kernel 1 as one of short rows: what is a row does not matter there.
pub(super) fn as_rows(g: &Conv2d) -> Conv2d {
    let plane = g.in_plane();
    match g.is_pointwise() {
        true if plane % LANES == 0 => Conv2d { in_height: plane / LANES, in_width: LANES, ..*g },
        true => Conv2d { in_height: 1, in_width: plane, ..*g },
        false => *g,
    }
}

/// How many images to put side by side, for rows of `width` outputs: the fewest that hardly leave lanes empty.
fn side_by_side(width: usize, batch: usize) -> usize {
    let computed = |lanes: usize| (width * lanes).next_multiple_of(LANES) * batch.div_ceil(lanes);
    let choices = [1, 2, 4, 8, 16].into_iter().filter(|&lanes| lanes <= batch.max(1));
    let least = choices.clone().map(computed).min().unwrap_or(0);
    choices.into_iter().find(|&lanes| computed(lanes) * 20 <= least * 21).unwrap_or(1)
}

/// Some rows of an image, or several whole images.
#[derive(Clone, Copy)]
struct Tile {
    image: usize,
    images: usize,
    row: usize,
    rows: usize,
}

/// Output channels of one group.
struct Part {
    group: usize,
    unit: usize,
    units: usize,
    output: usize,
    outputs: usize,
}

struct Task<'a> {
    plan: &'a Dense,
    kernel: Kernel,
    offsets: &'a [Vec<usize>],
    part: &'a Part,
    weights: &'a [f32],
    tile: Tile,
}

impl Task<'_> {
    fn run(
        &self,
        x: Elements,
        bias: Option<Elements>,
        out: &crate::elements::SharedOutput,
        scratch: &mut [f32],
    ) -> Counts {
        let (plan, part, tile) = (self.plan, self.part, self.tile);
        let [staged_len, stage_len, sums_len, line_len, _] = plan.lens();
        let (staged, rest) = scratch.split_at_mut(staged_len);
        let (stage_scratch, rest) = rest.split_at_mut(stage_len);
        let (sums, rest) = rest.split_at_mut(sums_len);
        let (line, start) = rest.split_at_mut(line_len);
        start.fill(0.0);
        if let Some(bias) = bias {
            bias.unpack(part.group * plan.outputs + part.output, &mut start[..part.outputs]);
        }

        let in_place = plan.in_place(x);
        let plane = plan.source[0] * plan.source[1];
        let image_groups = tile.images.div_ceil(plan.lanes);
        let per_row = plan.vectors();
        let vectors = image_groups * tile.rows * per_row;
        // Where the operands of a vector of outputs begin.
        let (image_len, row_len) = match in_place {
            true => (plan.inputs * plan.groups * plane, plan.source[1]),
            false => (plan.layout.len * plan.lanes, plan.layout.row() * plan.lanes),
        };
        let place = |vector: usize| {
            let (row, column) = (vector / per_row, vector % per_row);
            row / tile.rows * image_len + row % tile.rows * row_len + column * LANES
        };
        let result = plan.result[0] * plan.result[1];
        let channel = |image: usize| image * plan.groups * plan.outputs + part.group * plan.outputs + part.output;
        let whole_vectors = plan.lanes == 1 && plan.step == [1, 1] && plan.lattice[1] % LANES == 0;
        // SAFETY: a task writes only the pixels of its tile in its own output channels.
        let direct = |vector: usize| unsafe {
            let row = vector / per_row;
            let (image, row) = (tile.image + row / tile.rows, tile.row + row % tile.rows);
            out.address(channel(image) * result + row * plan.result[1] + vector % per_row * LANES)
        };
        let written_directly = whole_vectors && direct(0).is_some();
        let planes = Planes { x, size: plan.source };
        if !in_place {
            staged.fill(0.0);
        }
        for first in (0..plan.elements()).step_by(plan.block) {
            let elements = plan.block.min(plan.elements() - first);
            let source = if in_place {
                let at = (tile.image * plan.groups + part.group) * plan.inputs + first;
                x.numbers().map_or(&[][..], |x| &x[at * plane + tile.row * plan.source[1]..])
            } else {
                self.stage(&planes, first, elements, staged, stage_scratch);
                &*staged
            };
            let weights = |panel: usize| &self.weights[panel * plan.unit_len() + first * plan.taps * LANES..];
            let mut before = 0;
            for (i, offsets) in self.offsets.iter().enumerate() {
                let taps = plan.phases[i].taps.len();
                let sums = &mut sums[i * plan.units * LANES * plan.distance()..];
                let blocks = vectors.div_ceil(VECTORS);
                for block in 0..blocks {
                    let (v, end) = (block * vectors / blocks, (block + 1) * vectors / blocks);
                    let mut b = [source.as_ptr(); VECTORS];
                    let mut c = [sums.as_mut_ptr(); VECTORS];
                    for (j, vector) in (v..end).enumerate() {
                        b[j] = source[place(vector)..].as_ptr();
                        c[j] = match direct(vector) {
                            Some(y) if written_directly => y,
                            _ => sums[vector * LANES..].as_mut_ptr(),
                        };
                    }
                    let row = if written_directly { result } else { plan.distance() };
                    for output in (0..part.outputs).step_by(ROWS) {
                        let a = &weights(output / LANES)[elements * before * LANES + output % LANES..];
                        let start = start[output..].first_chunk().filter(|_| first == 0);
                        // SAFETY: a task writes only the pixels of its tile in its own output channels; weights, staged
                        // planes and sums are as long as the plan says.
                        unsafe {
                            self.kernel.run(&Block {
                                a: a.as_ptr(),
                                offsets: &offsets[..elements * taps],
                                b,
                                c: c.map(|c| c.add(output * row)),
                                vectors: end - v,
                                row,
                                rows: ROWS.min(part.outputs - output),
                                start,
                            });
                        }
                    }
                }
                before += taps;
            }
        }
        if written_directly {
            return Counts::default();
        }

        let first_row = tile.row * plan.step[0];
        let rows = (tile.rows * plan.step[0]).min(plan.result[0] - first_row);
        let len = rows * plan.result[1];
        let mut counts = Counts::default();
        let together = if rows == plan.result[0] { (PACKED / len).max(1) } else { 1 };
        for image in 0..tile.images {
            for output in (0..part.outputs).step_by(together) {
                let outputs = together.min(part.outputs - output);
                let at = (channel(tile.image + image) + output) * result + first_row * plan.result[1];
                let pixels = image / plan.lanes * tile.rows * per_row * LANES;
                let finished = if whole_vectors && together == 1 {
                    &sums[output * plan.distance() + pixels..][..len]
                } else {
                    for o in 0..outputs {
                        let sums = &sums[(output + o) * plan.distance() + pixels..];
                        assemble(plan, &tile, image % plan.lanes, rows, sums, &mut line[o * len..][..len]);
                    }
                    &line[..outputs * len]
                };
                // SAFETY: a task writes only the pixels of its tile in its own output channels.
                counts += unsafe { out.write(at, finished) };
            }
        }
        counts
    }

    /// Stages the planes of some input elements.
    fn stage(&self, planes: &Planes, first: usize, elements: usize, staged: &mut [f32], scratch: &mut [f32]) {
        let (plan, tile) = (self.plan, self.tile);
        let numbers = plan.arithmetic.numbers();
        let (row, end) = plan.layout.source_rows(tile.row, plan.rows);
        let n = (end - row) * plan.source[1];
        let together = stage::lines_together(n, plan.lanes * numbers);
        let line = stage::line(n);
        let (unpacked, rest) = scratch.split_at_mut(plan.lanes * together * numbers * line);
        let (paired, between) = rest.split_at_mut(plan.lanes * line);
        for (group, image) in (tile.image..tile.image + tile.images).step_by(plan.lanes).enumerate() {
            let images = plan.lanes.min(plan.batch - image);
            for element in (0..elements).step_by(together) {
                let channel = (first + element) * numbers;
                let count = together.min(elements - element);
                let channels = (count * numbers).min(plan.inputs - channel);
                let mut lines = [const { None }; LANES];
                let buffers = unpacked.chunks_mut(together * numbers * line);
                for ((lane, lines), buffer) in lines[..images].iter_mut().enumerate().zip(buffers) {
                    let plane = ((image + lane) * plan.groups + self.part.group) * plan.inputs + channel;
                    *lines = Some(planes.lines(plane, 1, channels, row, n, buffer));
                }
                for i in 0..count {
                    let at = ((element + i) * plan.images + group * plan.lanes) * plan.layout.len;
                    let staged = &mut staged[at..][..plan.layout.len * plan.lanes];
                    let mut found: [&[f32]; LANES] = [&[]; LANES];
                    for ((lines, paired), found) in lines.iter().flatten().zip(paired.chunks_mut(line)).zip(&mut found)
                    {
                        *found = match plan.arithmetic {
                            Arithmetic::F32 => lines.get(i),
                            Arithmetic::Bf16 if 2 * i + 1 < channels => {
                                pair(lines.get(2 * i), lines.get(2 * i + 1), &mut paired[..n]);
                                &paired[..n]
                            }
                            Arithmetic::Bf16 => {
                                single(lines.get(2 * i), &mut paired[..n]);
                                &paired[..n]
                            }
                        };
                    }
                    stage::place(&plan.layout, tile.row, row, &found[..images], plan.lanes, staged, between);
                }
            }
        }
    }
}

multiversion! {
    /// The rows of one image and output channel, from the sums of all phases.
    fn assemble(plan: &Dense, tile: &Tile, lane: usize, rows: usize, sums: &[f32], line: &mut [f32]) {
        let (phase_len, row_len) = (plan.units * LANES * plan.distance(), plan.vectors() * LANES);
        let width = plan.result[1];
        if plan.phases.len() < plan.step[0] * plan.step[1] {
            line.fill(0.0);
        }
        for (i, phase) in plan.phases.iter().enumerate() {
            let [y, x] = phase.origin;
            if y >= rows || x >= width {
                continue;
            }
            for (line, sums) in line[y * width..].chunks_mut(plan.step[0] * width).zip(sums[i * phase_len..].chunks(row_len)).take(tile.rows) {
                let line = &mut line[x..width];
                match (plan.lanes, plan.step[1]) {
                    (1, 1) => crate::simd::copy_short(&sums[..line.len()], line),
                    (1, 2) => spread::<1, 2>(sums, line),
                    (2, 1) => spread::<2, 1>(&sums[lane..], line),
                    (2, 2) => spread::<2, 2>(&sums[lane..], line),
                    (4, 1) => spread::<4, 1>(&sums[lane..], line),
                    (4, 2) => spread::<4, 2>(&sums[lane..], line),
                    (8, 1) => spread::<8, 1>(&sums[lane..], line),
                    (16, 1) => spread::<16, 1>(&sums[lane..], line),
                    (lanes, step) => {
                        let sums = sums[lane..].iter().step_by(lanes);
                        line.iter_mut().step_by(step).zip(sums).for_each(|(y, sum)| *y = *sum);
                    }
                }
            }
        }
    }
}

/// Every `FROM`th sum to every `TO`th place.
#[inline(always)]
fn spread<const FROM: usize, const TO: usize>(sums: &[f32], line: &mut [f32]) {
    line.iter_mut().step_by(TO).zip(sums.iter().step_by(FROM)).for_each(|(y, sum)| *y = *sum);
}
