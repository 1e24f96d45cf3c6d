//! How a convolution or its input gradient is cut: tiles, phases, classes of vectors.

use std::collections::BTreeMap;

use bitbudget_formats::Format;

use super::super::geometry::Conv2d;
use super::super::layout::{Filter, Layout};
use super::super::stage;
use super::super::weights::Weights;
use crate::operators::product::{Arithmetic, LANES, narrow};
use crate::tensors::elements::Elements;

/// Elements of packed weights that there are at a time.
pub(super) const WEIGHTS: usize = 1024 * 1024;
/// Elements of the sums that one thread holds.
pub(super) const SUMS: usize = 64 * 1024;
/// Output pixels of a tile.
pub(super) const PIXELS: [usize; 2] = [256, 512];
/// Products that a block sums before the sums are written.
pub(super) const DEPTH: usize = 72;
/// Elements of the staged planes that one thread holds.
pub(super) const STAGED: usize = 64 * 1024;
/// Outputs of a plane of which taps may be skipped.
pub(super) const SKIPPED: usize = 64;
/// Elements that are packed at a time.
pub(super) const PACKED: usize = 4096;

/// A product of weights and planes, and how it is cut. Shapes alone decide.
#[derive(Debug)]
pub(crate) struct Dense {
    /// Elements of shared memory: all packed weights, or as many as there may be at a time.
    pub(crate) workspace: usize,
    pub(super) weights: Weights,
    pub(super) batch: usize,
    pub(super) groups: usize,
    /// Height and width of a source and of an output plane.
    pub(super) source: [usize; 2],
    pub(super) result: [usize; 2],
    pub(super) layout: Layout,
    /// Distance of the outputs of one phase, and their number.
    pub(super) step: [usize; 2],
    pub(super) lattice: [usize; 2],
    pub(super) phases: Vec<Phase>,
    /// Whether taps are skipped where they read outside the source: a vector is then one pixel of 16 images.
    pub(super) skips: bool,
    /// Images side by side.
    pub(super) lanes: usize,
    /// Images and rows of a tile.
    pub(super) images: usize,
    pub(super) rows: usize,
    /// Input elements that are staged at a time: those that are summed at a time, or all if several shares read them.
    pub(super) staged: usize,
    /// Units of weights that a task multiplies with.
    pub(super) units: usize,
}

/// Outputs that the same taps lead to.
#[derive(Debug)]
pub(super) struct Phase {
    pub(super) origin: [usize; 2],
    /// The bits of [`Layout::reached`] and where they read, for all taps in the order of the weights.
    pub(super) taps: Vec<([u64; 2], usize)>,
}

/// Vectors of outputs of a phase whose operands the same taps reach; the others would read zeros outside the source.
#[derive(Debug)]
pub(super) struct Class {
    /// In the order of the images.
    pub(super) vectors: Vec<usize>,
    pub(super) taps: usize,
    /// Steps of a block of input elements.
    pub(super) steps: Vec<[u32; 2]>,
}

/// How outputs are cut into tiles.
pub(super) struct Cut {
    pub(super) skips: bool,
    pub(super) lanes: usize,
    /// Images, as many times `lanes` as are staged one after the other, and rows of a tile.
    pub(super) images: usize,
    pub(super) rows: usize,
    /// Elements of a row of sums.
    pub(super) row: usize,
}

impl Cut {
    pub(super) fn new(filter: &Filter, origins: &[[usize; 2]], batch: usize, outputs: usize) -> Cut {
        let lattice = filter.lattice();
        let skips = Reached::new(filter, origins).worth_skipping(lattice, batch);
        let lanes = if skips { LANES } else { side_by_side(lattice[1], batch) };
        let row = (lattice[1] * lanes).div_ceil(LANES) * LANES;
        // Tiles of fewer pixels where there are many output channels or several phases.
        let panels = outputs.div_ceil(LANES);
        let pixels = (SUMS / (panels.min(16) * LANES)).clamp(PIXELS[0], PIXELS[1]) / origins.len().max(1);
        let rows = if skips { lattice[0] } else { (pixels / row).clamp(1, lattice[0]) };
        let rows = lattice[0].div_ceil(lattice[0].div_ceil(rows));
        let pixels = if skips { PIXELS[1] } else { pixels };
        let image_groups = if rows < lattice[0] { 1 } else { (pixels / (row * rows)).max(1) };
        let all = batch.div_ceil(lanes);
        let image_groups = all.div_ceil(all.div_ceil(image_groups));
        Cut { skips, lanes, images: image_groups * lanes, rows, row }
    }
}

/// For every tap: taps of the phases before its own, taps of its phase, its place among them.
pub(super) fn places(taps: usize, members: &[([usize; 2], Vec<usize>)]) -> Vec<(usize, usize, usize)> {
    let mut places = vec![(0, 0, 0); taps];
    let mut before = 0;
    for (_, members) in members {
        for (index, &t) in members.iter().enumerate() {
            places[t] = (before, members.len(), index);
        }
        before += members.len();
    }
    places
}

impl Dense {
    pub(crate) fn forward(g: &Conv2d, formats: [Format; 2], arithmetic: Arithmetic) -> Dense {
        let g = &as_rows(g);
        Dense::new(g, formats, arithmetic, [g.group_in(), g.group_out()], false, Filter::forward(g))
    }

    pub(crate) fn grad_input(g: &Conv2d, formats: [Format; 2], arithmetic: Arithmetic) -> Dense {
        let g = &as_rows(g);
        Dense::new(g, formats, arithmetic, [g.group_out(), g.group_in()], true, Filter::grad_input(g))
    }

    pub(super) fn new(
        g: &Conv2d,
        [x, w]: [Format; 2],
        arithmetic: Arithmetic,
        [inputs, outputs]: [usize; 2],
        transposed: bool,
        filter: Filter,
    ) -> Dense {
        let lattice = filter.lattice();
        // Phases that some tap reaches and that have an output.
        let [residues_y, residues_x] = &filter.residues;
        let mut origins: Vec<[usize; 2]> =
            residues_y.iter().flat_map(|&y| residues_x.iter().map(move |&x| [y, x])).collect();
        origins.sort_unstable();
        origins.dedup();
        let Cut { skips, lanes, images, rows, row } = Cut::new(&filter, &origins, g.batch, outputs);
        let image_groups = images / lanes;
        let taps = g.taps();
        let of_origin = |origin: [usize; 2]| (origin, filter.taps(taps, origin).collect());
        let members: Vec<([usize; 2], Vec<usize>)> = origins.into_iter().map(of_origin).collect();
        let places = places(taps, &members);
        let layout = Layout::new(filter.axes, [rows, lattice[1]]);
        let tap = |t: usize| [t / g.kernel[1], t % g.kernel[1]];
        let at = |&t: &usize| (tap(t).map(|k| 1 << k.min(63)), layout.tap(tap(t)[0], tap(t)[1]) * lanes);
        let phase = |(origin, taps): ([usize; 2], Vec<usize>)| Phase { origin, taps: taps.iter().map(at).collect() };
        let phases: Vec<Phase> = members.into_iter().map(phase).collect();

        let elements = inputs.div_ceil(arithmetic.numbers());
        let most_staged = STAGED / (layout.len * images);
        let most = most_staged.min(DEPTH.div_ceil(taps).min(128)).clamp(1, elements);
        let block = elements.div_ceil(elements.div_ceil(most));
        let panels = outputs.div_ceil(LANES);
        let sums = phases.len() * (image_groups * rows * row + LANES) * LANES;
        let units = (3 * SUMS / 2 / sums).clamp(1, 16).min(panels);
        let units = panels.div_ceil(panels.div_ceil(units));
        let staged = if units < panels && elements <= most_staged { elements } else { block };
        // A processor without BF16 instructions has to make do with the memory that those with them take.
        let unit = inputs.div_ceil(if narrow(x) && narrow(w) { 2 } else { 1 }) * taps * LANES;
        Dense {
            workspace: (g.groups * panels * unit).min(WEIGHTS).max(inputs * taps * LANES),
            weights: Weights { arithmetic, inputs, outputs, taps, transposed, block, places },
            batch: g.batch,
            groups: g.groups,
            source: filter.source,
            result: filter.result,
            layout,
            step: filter.step,
            lattice,
            phases,
            skips,
            lanes,
            images,
            rows,
            staged,
            units,
        }
    }

    /// Elements of scratch memory that a thread takes.
    pub(crate) fn scratch(&self) -> usize {
        self.lens().iter().sum::<usize>().max(self.weights.scratch())
    }

    /// Rows of vectors in a row of the lattice.
    pub(super) fn vectors(&self) -> usize {
        (self.lattice[1] * self.lanes).div_ceil(LANES)
    }

    /// Elements from one channel's sums to the next: no power of two, since rows at such distances compete for the same
    /// lines of the cache.
    pub(super) fn distance(&self) -> usize {
        self.images / self.lanes * self.rows * self.vectors() * LANES + LANES
    }

    /// Elements of the staged planes, of what staging needs, of the sums, of the results on their way and of the bias.
    pub(super) fn lens(&self) -> [usize; 5] {
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
    pub(super) fn stage_len(&self) -> usize {
        let n = self.layout.source_len(self.rows);
        let line = stage::line(n);
        let numbers = self.weights.arithmetic.numbers();
        // Fewer rows at the edges may leave room for more lines.
        let unpacked =
            (self.lanes * numbers * line * stage::lines_together(n, self.lanes * numbers)).max(stage::UNPACKED);
        unpacked + 2 * self.lanes * line
    }

    pub(super) fn tiles(&self) -> usize {
        self.batch.div_ceil(self.images) * self.lattice[0].div_ceil(self.rows)
    }

    pub(super) fn tile(&self, i: usize) -> Tile {
        let per_image = self.lattice[0].div_ceil(self.rows);
        let (image, row) = (i / per_image * self.images, i % per_image * self.rows);
        Tile { image, images: self.images.min(self.batch - image), row, rows: self.rows.min(self.lattice[0] - row) }
    }

    /// Whether products can read the operand where it is.
    pub(super) fn in_place(&self, x: Elements) -> bool {
        x.numbers().is_some() && self.may_be_in_place()
    }

    /// Whether products can read FP32 numbers where they are.
    pub(super) fn may_be_in_place(&self) -> bool {
        self.weights.arithmetic == Arithmetic::F32
            && self.lanes == 1
            && self.layout.is_plain()
            && self.lattice[1].is_multiple_of(LANES)
    }

    /// Elements from one channel's operand to the next.
    pub(super) fn channel_len(&self, in_place: bool) -> usize {
        if in_place { self.source[0] * self.source[1] } else { self.images * self.layout.len }
    }

    /// The classes of a full tile's vectors in a phase.
    pub(super) fn classes(&self, phase: &Phase, channel_len: usize) -> Vec<Class> {
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
            let steps = (0..self.weights.block).flat_map(|c| taps.iter().map(move |&tap| step(c, tap))).collect();
            Class { vectors, taps: taps.len(), steps }
        };
        members.into_iter().map(class).collect()
    }
}

/// How many pairs of an output and a tap there are, and how many of them read an element of the source.
pub(super) struct Reached {
    pub(super) all: usize,
    pub(super) inside: usize,
}

impl Reached {
    pub(super) fn new(filter: &Filter, origins: &[[usize; 2]]) -> Reached {
        let (Filter { axes, residues, .. }, lattice) = (filter, filter.lattice());
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
    pub(super) fn worth_skipping(&self, lattice: [usize; 2], batch: usize) -> bool {
        let lanes = side_by_side(lattice[1], batch);
        let without = (lattice[1] * lanes).next_multiple_of(LANES) * batch.div_ceil(lanes) * self.all;
        let with = lattice[1] * LANES * batch.div_ceil(LANES) * self.inside;
        10 * with < 9 * without
    }
}

/// A convolution of kernel 1 as one of short rows: what is a row does not matter there.
pub(crate) fn as_rows(g: &Conv2d) -> Conv2d {
    let plane = g.in_plane();
    match g.is_pointwise() {
        true if plane.is_multiple_of(LANES) => Conv2d { in_height: plane / LANES, in_width: LANES, ..*g },
        true => Conv2d { in_height: 1, in_width: plane, ..*g },
        false => *g,
    }
}

/// How many images to put side by side, for rows of `width` outputs: the fewest that hardly leave lanes empty.
pub(super) fn side_by_side(width: usize, batch: usize) -> usize {
    let computed = |lanes: usize| (width * lanes).next_multiple_of(LANES) * batch.div_ceil(lanes);
    let choices = [1, 2, 4, 8, 16].into_iter().filter(|&lanes| lanes <= batch.max(1));
    let least = choices.clone().map(computed).min().unwrap_or(0);
    choices.into_iter().find(|&lanes| computed(lanes) * 20 <= least * 21).unwrap_or(1)
}

/// Some rows of an image, or several whole images.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub(super) image: usize,
    pub(super) images: usize,
    pub(super) row: usize,
    pub(super) rows: usize,
}

/// Output channels of one group.
pub(super) struct Share {
    pub(super) group: usize,
    pub(super) unit: usize,
    pub(super) units: usize,
    pub(super) output: usize,
    pub(super) outputs: usize,
}
