//! Dense and grouped convolution and its input gradient: weights times staged planes, without columns.
//!
//! A vector holds 16 neighbouring outputs of a row, or those of several images where rows are short: the planes of such
//! images are staged side by side. Every tap reads a vector at an offset of its own.

mod task;

use std::collections::BTreeMap;

use bitbudget_formats::{Counts, Format};

use super::Conv2d;
use super::layout::{Axis, Layout};
use super::stage;
use super::weights;
use crate::elements::{Elements, Output};
use crate::parallel::{sum_tasks, with_scratch};
use crate::product::{Arithmetic, Kernel, LANES, narrow};
use task::Task;

/// Elements of packed weights that there are at a time.
const WEIGHTS: usize = 1024 * 1024;
/// Elements of the sums that one thread holds.
const SUMS: usize = 64 * 1024;
/// Output pixels of a tile.
const PIXELS: [usize; 2] = [256, 512];
/// Products that a block sums before the sums are written.
const DEPTH: usize = 72;
/// Elements of the staged planes that one thread holds.
const STAGED: usize = 64 * 1024;
/// Outputs of a plane of which taps may be skipped.
const SKIPPED: usize = 64;
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
    /// Whether taps are skipped where they read outside the source: a vector is then one pixel of 16 images.
    skips: bool,
    /// Images side by side.
    lanes: usize,
    /// Images and rows of a tile.
    images: usize,
    rows: usize,
    /// Input elements that are summed at a time, and those that are staged at a time: as many, or all if several parts read
    /// them.
    pub(super) block: usize,
    staged: usize,
    /// Units of weights that a task multiplies with.
    units: usize,
}

/// Outputs that the same taps lead to.
struct Phase {
    origin: [usize; 2],
    /// The bits of [`Layout::reached`] and where they read, for all taps in the order of the weights.
    taps: Vec<([u64; 2], usize)>,
}

/// Vectors of outputs of a phase whose operands the same taps reach; the others would read zeros outside the source.
struct Class {
    /// In the order of the images.
    vectors: Vec<usize>,
    taps: usize,
    /// Steps of a block of input elements.
    steps: Vec<[u32; 2]>,
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
        let reached = Reached::new(&axes, &origins, &residues, lattice);
        let skips = reached.worth_skipping(lattice, g.batch);
        let lanes = if skips { LANES } else { side_by_side(lattice[1], g.batch) };
        let vectors = (lattice[1] * lanes).div_ceil(LANES);
        let row = vectors * LANES;
        let panels = outputs.div_ceil(LANES);
        // Tiles of fewer pixels where there are many output channels or several phases.
        let pixels = (SUMS / (panels.min(16) * LANES)).clamp(PIXELS[0], PIXELS[1]) / origins.len().max(1);
        let rows = if skips { lattice[0] } else { (pixels / row).clamp(1, lattice[0]) };
        let rows = lattice[0].div_ceil(lattice[0].div_ceil(rows));
        let pixels = if skips { PIXELS[1] } else { pixels };
        let image_groups = if rows < lattice[0] { 1 } else { (pixels / (row * rows)).max(1) };
        let all = g.batch.div_ceil(lanes);
        let image_groups = all.div_ceil(all.div_ceil(image_groups));
        let layout = Layout::new(axes, [rows, lattice[1]]);
        let elements = inputs.div_ceil(arithmetic.numbers());
        let taps = g.taps();
        let most_staged = STAGED / (layout.len * lanes * image_groups);
        let most = most_staged.min(DEPTH.div_ceil(taps).min(128)).clamp(1, elements);
        let block = elements.div_ceil(elements.div_ceil(most));
        let sums = origins.len() * (image_groups * rows * row + LANES) * LANES;
        let units = (3 * SUMS / 2 / sums).clamp(1, 16).min(panels);
        let units = panels.div_ceil(panels.div_ceil(units));
        let staged = if units < panels && elements <= most_staged { elements } else { block };

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
            let at =
                |&t: &usize| ([1 << tap(t).0.min(63), 1 << tap(t).1.min(63)], layout.tap(tap(t).0, tap(t).1) * lanes);
            phases.push(Phase { origin, taps: members.iter().map(at).collect() });
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
            skips,
            places,
            lanes,
            images: image_groups * lanes,
            rows,
            block,
            staged,
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
            self.staged * image_groups * self.layout.len * self.lanes + 2 * LANES,
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
        let channel_len = self.channel_len(x);
        let classes: Vec<Vec<Class>> = self.phases.iter().map(|phase| self.classes(phase, channel_len)).collect();
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
            // One task takes all parts of a group if it can stage their operands once.
            let once = self.elements() <= self.staged && !self.in_place(x) && tiles >= 8;
            let parts: Vec<&[Part]> = parts.chunk_by(|a, b| once && a.group == b.group).collect();
            counts += sum_tasks(tiles * parts.len(), |task| {
                let tile = self.tile(task % tiles);
                with_scratch(self.lens().iter().sum(), |scratch| {
                    let parts = parts[task / tiles].iter().enumerate().map(|(i, part)| {
                        let weights = &packed[(part.unit - first) * self.unit_len()..][..part.units * self.unit_len()];
                        let task =
                            Task { plan: self, kernel, classes: &classes, part, weights, tile, is_staged: i > 0 };
                        task.run(x, bias, &out, scratch)
                    });
                    parts.sum()
                })
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
            && self.lattice[1].is_multiple_of(LANES)
    }

    /// Elements from one channel's operand to the next.
    fn channel_len(&self, x: Elements) -> usize {
        if self.in_place(x) { self.source[0] * self.source[1] } else { self.images * self.layout.len }
    }

    /// The classes of a full tile's vectors in a phase.
    fn classes(&self, phase: &Phase, channel_len: usize) -> Vec<Class> {
        let mut members = BTreeMap::<[u64; 2], Vec<usize>>::new();
        let per_image = self.rows * self.vectors();
        for vector in 0..self.images / self.lanes * per_image {
            let (y, x) = (vector % per_image / self.vectors(), vector % self.vectors());
            let reached = if self.skips { self.layout.reached(y, x) } else { [u64::MAX; 2] };
            members.entry(reached).or_default().push(vector);
        }
        let class = |(reached, vectors): ([u64; 2], Vec<usize>)| {
            let all = phase.taps.len();
            let taps = phase.taps.iter().enumerate();
            let taps: Vec<(usize, usize)> = taps
                .filter(|(_, (bits, _))| bits[0] & reached[0] != 0 && bits[1] & reached[1] != 0)
                .map(|(i, (_, at))| (i, *at))
                .collect();
            let step =
                |c: usize, (i, at): (usize, usize)| [((c * all + i) * LANES) as u32, (c * channel_len + at) as u32];
            let steps = (0..self.block).flat_map(|c| taps.iter().map(move |&tap| step(c, tap))).collect();
            Class { vectors, taps: taps.len(), steps }
        };
        members.into_iter().map(class).collect()
    }
}

/// How many pairs of an output and a tap there are, and how many of them read an element of the source.
struct Reached {
    all: usize,
    inside: usize,
}

impl Reached {
    fn new(axes: &[Axis; 2], origins: &[[usize; 2]], residues: &[Vec<usize>; 2], lattice: [usize; 2]) -> Reached {
        let (mut all, mut inside) = (0, 0);
        if lattice[0] * lattice[1] > SKIPPED {
            return Reached { all, inside };
        }
        for origin in origins {
            let count = |axis: usize| {
                let taps = (0..residues[axis].len()).filter(|&k| residues[axis][k] == origin[axis]);
                let bits: u64 = taps.clone().map(|k| 1 << k.min(63)).fold(0, |a, b| a | b);
                let outputs = (0..lattice[axis]).map(|i| (axes[axis].reached(i) & bits).count_ones() as usize);
                (taps.count() * lattice[axis], outputs.sum::<usize>())
            };
            let (y, x) = (count(0), count(1));
            all += y.0 * x.0;
            inside += y.1 * x.1;
        }
        Reached { all, inside }
    }

    /// Whether vectors of one pixel of 16 images, without the taps that read outside the source, are less work.
    fn worth_skipping(&self, lattice: [usize; 2], batch: usize) -> bool {
        let lanes = side_by_side(lattice[1], batch);
        let without = (lattice[1] * lanes).next_multiple_of(LANES) * batch.div_ceil(lanes) * self.all;
        let with = lattice[1] * LANES * batch.div_ceil(LANES) * self.inside;
        10 * with < 9 * without
    }
}

/// A convolution of kernel 1 as one of short rows: what is a row does not matter there.
pub(super) fn as_rows(g: &Conv2d) -> Conv2d {
    let plane = g.in_plane();
    match g.is_pointwise() {
        true if plane.is_multiple_of(LANES) => Conv2d { in_height: plane / LANES, in_width: LANES, ..*g },
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
