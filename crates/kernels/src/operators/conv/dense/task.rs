//! The work of one thread: from a tile of the source to finished outputs.

use std::ops::Range;

use bitbudget_formats::Counts;

use super::super::stage::{self, Picked, Planes};
use super::plan::{Class, Dense, PACKED, Share, Tile};
use crate::operators::product::{Arithmetic, Block, Kernel, LANES, ROWS, VECTORS, pair, single};
use crate::tensors::elements::{Elements, SharedOutput};
use crate::words::simd::{copy_short, multiversion};

/// Elements of a plane that are worth unpacking by themselves.
const LONG: usize = 128;

/// The outputs of one tile and share.
pub(super) struct Task<'a> {
    pub(super) plan: &'a Dense,
    pub(super) kernel: Kernel,
    pub(super) classes: &'a [Vec<Class>],
    pub(super) share: &'a Share,
    pub(super) weights: &'a [f32],
    pub(super) tile: Tile,
    pub(super) is_staged: bool,
}

/// The vectors of a tile's outputs: where their operands begin, and where their results go.
struct Vectors<'a> {
    plan: &'a Dense,
    share: &'a Share,
    tile: Tile,
    out: &'a SharedOutput,
    /// Whether products read the operand where it is.
    in_place: bool,
    /// Elements of the operand from one group of images, and from one row, to the next.
    image_len: usize,
    row_len: usize,
    /// Vectors of a row, and of the tile.
    per_row: usize,
    count: usize,
    image_groups: usize,
    /// Elements of a plane of the result.
    result: usize,
    /// Whether a vector is a piece of a row of the result, and whether products write it there.
    whole: bool,
    written_directly: bool,
}

impl<'a> Vectors<'a> {
    fn new(task: &Task<'a>, x: Elements, out: &'a SharedOutput) -> Vectors<'a> {
        let (plan, tile) = (task.plan, task.tile);
        let in_place = plan.in_place(x);
        let (image_len, row_len) = match in_place {
            true => (plan.weights.inputs * plan.groups * plan.source[0] * plan.source[1], plan.source[1]),
            false => (plan.layout.len * plan.lanes, plan.layout.row() * plan.lanes),
        };
        let (per_row, image_groups) = (plan.vectors(), tile.images.div_ceil(plan.lanes));
        let mut vectors = Vectors {
            plan,
            share: task.share,
            tile,
            out,
            in_place,
            image_len,
            row_len,
            per_row,
            count: image_groups * tile.rows * per_row,
            image_groups,
            result: plan.result[0] * plan.result[1],
            whole: plan.lanes == 1 && plan.step == [1, 1] && plan.lattice[1].is_multiple_of(LANES),
            written_directly: false,
        };
        vectors.written_directly = vectors.whole && vectors.direct(0).is_some();
        vectors
    }

    /// Where the operands of a vector of outputs begin.
    #[inline(always)]
    fn place(&self, vector: usize) -> usize {
        let (row, column) = (vector / self.per_row, vector % self.per_row);
        row / self.tile.rows * self.image_len + row % self.tile.rows * self.row_len + column * LANES
    }

    /// The first output channel of the share in an image.
    #[inline(always)]
    fn channel(&self, image: usize) -> usize {
        (image * self.plan.groups + self.share.group) * self.plan.weights.outputs + self.share.output
    }

    /// Where a vector of outputs lies in the result, if products may write it there.
    #[inline(always)]
    fn direct(&self, vector: usize) -> Option<*mut f32> {
        let (row, width) = (vector / self.per_row, self.plan.result[1]);
        let (image, row) = (self.tile.image + row / self.tile.rows, self.tile.row + row % self.tile.rows);
        // SAFETY: a task writes only the pixels of its tile in its own output channels.
        unsafe { self.out.address(self.channel(image) * self.result + row * width + vector % self.per_row * LANES) }
    }
}

impl Task<'_> {
    /// Stages the operands block by block, sums, and writes the results.
    pub(super) fn run(&self, x: Elements, bias: Option<Elements>, out: &SharedOutput, scratch: &mut [f32]) -> Counts {
        let (plan, share) = (self.plan, self.share);
        let [staged_len, stage_len, sums_len, line_len, _] = plan.lens();
        let (staged, rest) = scratch.split_at_mut(staged_len);
        let (stage_scratch, rest) = rest.split_at_mut(stage_len);
        let (sums, rest) = rest.split_at_mut(sums_len);
        let (line, start) = rest.split_at_mut(line_len);
        start.fill(0.0);
        if let Some(bias) = bias {
            bias.unpack(share.group * plan.weights.outputs + share.output, &mut start[..share.outputs]);
        }

        let vectors = Vectors::new(self, x, out);
        let planes = Planes { x, size: plan.source };
        // Planes of their own size are written as a whole.
        if !vectors.in_place && !self.is_staged && !plan.layout.is_plain() {
            staged.fill(0.0);
        }
        let (all, block) = (plan.weights.elements(), plan.weights.block);
        for first in (0..all).step_by(block) {
            let elements = first..all.min(first + block);
            let source = if vectors.in_place {
                let at = (self.tile.image * plan.groups + share.group) * plan.weights.inputs + first;
                let plane = plan.source[0] * plan.source[1];
                x.numbers().map_or(&[][..], |x| &x[at * plane + self.tile.row * plan.source[1]..])
            } else {
                let at = if plan.staged > block { first * plan.images * plan.layout.len } else { 0 };
                if !self.is_staged {
                    self.stage(&planes, first, elements.len(), &mut staged[at..], stage_scratch);
                }
                &staged[at..]
            };
            self.add_products(&vectors, elements, source, start, sums);
        }
        if vectors.written_directly { Counts::default() } else { self.write(&vectors, sums, line) }
    }

    /// Adds the products of some input elements to the sums, which begin with `start`.
    fn add_products(&self, vectors: &Vectors, elements: Range<usize>, source: &[f32], start: &[f32], sums: &mut [f32]) {
        let (plan, share) = (self.plan, self.share);
        let (first, unit_len) = (elements.start, plan.weights.unit_len());
        let weights = |panel: usize| &self.weights[panel * unit_len + first * plan.weights.taps * LANES..];
        let row = if vectors.written_directly { vectors.result } else { plan.distance() };
        let mut before = 0;
        for (i, classes) in self.classes.iter().enumerate() {
            let sums = &mut sums[i * plan.units * LANES * plan.distance()..];
            for class in classes {
                let members = match plan.skips {
                    true => class.vectors.len() / (plan.images / plan.lanes) * vectors.image_groups,
                    false => vectors.count,
                };
                let members = &class.vectors[..members];
                let blocks = members.len().div_ceil(VECTORS);
                for block in 0..blocks {
                    let range = block * members.len() / blocks..(block + 1) * members.len() / blocks;
                    let mut b = [source.as_ptr(); VECTORS];
                    let mut c = [sums.as_mut_ptr(); VECTORS];
                    for (j, &vector) in members[range.clone()].iter().enumerate() {
                        b[j] = source[vectors.place(vector)..].as_ptr();
                        let to_result = if vectors.written_directly { vectors.direct(vector) } else { None };
                        c[j] = to_result.unwrap_or(sums[vector * LANES..].as_mut_ptr());
                    }
                    for output in (0..share.outputs).step_by(ROWS) {
                        let a = &weights(output / LANES)[elements.len() * before * LANES + output % LANES..];
                        let start = start[output..].first_chunk().filter(|_| first == 0);
                        // SAFETY: a task writes only the pixels of its tile in its own output channels; weights,
                        // staged planes and sums are as long as the plan says.
                        unsafe {
                            self.kernel.run(&Block {
                                a: a.as_ptr(),
                                steps: &class.steps[..elements.len() * class.taps],
                                b,
                                c: c.map(|c| c.add(output * row)),
                                vectors: range.len(),
                                row,
                                rows: ROWS.min(share.outputs - output),
                                start,
                            });
                        }
                    }
                }
            }
            before += plan.phases[i].taps.len();
        }
    }

    /// Writes the sums to the result, by way of `line`.
    fn write(&self, vectors: &Vectors, sums: &[f32], line: &mut [f32]) -> Counts {
        let (plan, share, tile) = (self.plan, self.share, self.tile);
        let first_row = tile.row * plan.step[0];
        let rows = (tile.rows * plan.step[0]).min(plan.result[0] - first_row);
        let len = rows * plan.result[1];
        let mut counts = Counts::default();
        let together = if rows == plan.result[0] { (PACKED / len).max(1) } else { 1 };
        for image in 0..tile.images {
            for output in (0..share.outputs).step_by(together) {
                let outputs = together.min(share.outputs - output);
                let channel = vectors.channel(tile.image + image) + output;
                let at = channel * vectors.result + first_row * plan.result[1];
                let pixels = image / plan.lanes * tile.rows * vectors.per_row * LANES;
                let finished = if vectors.whole && together == 1 {
                    &sums[output * plan.distance() + pixels..][..len]
                } else {
                    for o in 0..outputs {
                        let sums = &sums[(output + o) * plan.distance() + pixels..];
                        let line = &mut line[o * len..][..len];
                        match vectors.whole {
                            true => copy_short(&sums[..len], line),
                            false => assemble(plan, &tile, image % plan.lanes, rows, sums, line),
                        }
                    }
                    &line[..outputs * len]
                };
                // SAFETY: a task writes only the pixels of its tile in its own output channels.
                counts += unsafe { vectors.out.write(at, finished) };
            }
        }
        counts
    }

    /// Stages the planes of some input elements.
    fn stage(&self, planes: &Planes, first: usize, elements: usize, staged: &mut [f32], scratch: &mut [f32]) {
        let (plan, tile) = (self.plan, self.tile);
        let numbers = plan.weights.arithmetic.numbers();
        let (row, end) = plan.layout.source_rows(tile.row, plan.rows);
        let n = (end - row) * plan.source[1];
        if plan.weights.arithmetic == Arithmetic::F32 && plan.lanes == 1 && plan.layout.is_plain() {
            return self.stage_plain(planes, first, elements, [row, n], staged, scratch);
        }
        let together = stage::lines_together(n, plan.lanes * numbers);
        let line = stage::line(n);
        let (unpacked, rest) = scratch.split_at_mut(plan.lanes * together * numbers * line);
        let (paired, between) = rest.split_at_mut(plan.lanes * line);
        for (group, image) in (tile.image..tile.image + tile.images).step_by(plan.lanes).enumerate() {
            let images = plan.lanes.min(plan.batch - image);
            for element in (0..elements).step_by(together) {
                let channel = (first + element) * numbers;
                let count = together.min(elements - element);
                let channels = (count * numbers).min(plan.weights.inputs - channel);
                let mut lines = [const { None }; LANES];
                let buffers = unpacked.chunks_mut(together * numbers * line);
                for ((lane, lines), buffer) in lines[..images].iter_mut().enumerate().zip(buffers) {
                    let first = ((image + lane) * plan.groups + self.share.group) * plan.weights.inputs + channel;
                    let picked = Picked { first, step: 1, count: channels };
                    *lines = Some(planes.lines(picked, row, n, buffer));
                }
                for i in 0..count {
                    let at = ((element + i) * plan.images + group * plan.lanes) * plan.layout.len;
                    let staged = &mut staged[at..][..plan.layout.len * plan.lanes];
                    let mut found: [&[f32]; LANES] = [&[]; LANES];
                    for ((lines, paired), found) in lines.iter().flatten().zip(paired.chunks_mut(line)).zip(&mut found)
                    {
                        *found = match plan.weights.arithmetic {
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

    /// Stages planes that products read as they are: `n` elements of each from a row on.
    fn stage_plain(
        &self,
        planes: &Planes,
        first: usize,
        elements: usize,
        [row, n]: [usize; 2],
        staged: &mut [f32],
        scratch: &mut [f32],
    ) {
        let (plan, tile) = (self.plan, self.tile);
        let (plane, len) = (plan.source[0] * plan.source[1], plan.layout.len);
        // Short planes that lie side by side are unpacked together.
        let together = if n == plane && n < LONG { (stage::UNPACKED / n.max(1)).min(elements) } else { 1 };
        for image in 0..tile.images {
            let source = ((tile.image + image) * plan.groups + self.share.group) * plan.weights.inputs + first;
            let at = |element: usize| (element * plan.images + image) * len;
            for element in (0..elements).step_by(together) {
                let count = together.min(elements - element);
                let from = (source + element) * plane + row * plan.source[1];
                if count == 1 {
                    planes.x.unpack(from, &mut staged[at(element)..][..n]);
                    continue;
                }
                let unpacked = &mut scratch[..count * n];
                planes.x.unpack(from, unpacked);
                for (i, line) in unpacked.chunks(n).enumerate() {
                    copy_short(line, &mut staged[at(element + i)..][..n]);
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
        let origin = |i: usize| plan.phases.get(i).map(|phase| phase.origin);
        for i in 0..plan.phases.len() {
            let [y, x] = plan.phases[i].origin;
            let woven = plan.step[1] == 2 && plan.lanes <= 4;
            // Both halves of a row are written together.
            let is_second = woven && x == 1 && i > 0 && origin(i - 1) == Some([y, 0]);
            if y >= rows || x >= width || is_second {
                continue;
            }
            if woven && origin(i + 1) == Some([y, 1]) {
                let (even, odd) = (&sums[i * phase_len + lane..], &sums[(i + 1) * phase_len + lane..]);
                for (row, line) in line[y * width..].chunks_mut(plan.step[0] * width).enumerate().take(tile.rows) {
                    let (even, odd, line) = (&even[row * row_len..], &odd[row * row_len..], &mut line[..width]);
                    match plan.lanes {
                        1 => weave::<1>(even, odd, line),
                        2 => weave::<2>(even, odd, line),
                        _ => weave::<4>(even, odd, line),
                    }
                }
                continue;
            }
            for (line, sums) in line[y * width..].chunks_mut(plan.step[0] * width).zip(sums[i * phase_len..].chunks(row_len)).take(tile.rows) {
                let line = &mut line[x..width];
                match (plan.lanes, plan.step[1]) {
                    (1, 1) => copy_short(&sums[..line.len()], line),
                    (2, 1) => spread::<2>(&sums[lane..], line),
                    (4, 1) => spread::<4>(&sums[lane..], line),
                    (8, 1) => spread::<8>(&sums[lane..], line),
                    (16, 1) => spread::<16>(&sums[lane..], line),
                    (lanes, step) => {
                        let sums = sums[lane..].iter().step_by(lanes);
                        line.iter_mut().step_by(step).zip(sums).for_each(|(y, sum)| *y = *sum);
                    }
                }
            }
        }
    }
}

/// Every `FROM`th sum.
#[inline(always)]
fn spread<const FROM: usize>(sums: &[f32], line: &mut [f32]) {
    line.iter_mut().zip(sums.iter().step_by(FROM)).for_each(|(y, sum)| *y = *sum);
}

/// Every `FROM`th sum of both halves, in turn.
#[inline(always)]
fn weave<const FROM: usize>(even: &[f32], odd: &[f32], line: &mut [f32]) {
    let count = line.len() / 2;
    let (even_sums, odd) = (&even[..(count * FROM).min(even.len())], &odd[..(count * FROM).min(odd.len())]);
    let (pairs, last) = line.as_chunks_mut::<2>();
    for ((pair, even), odd) in pairs.iter_mut().zip(even_sums.iter().step_by(FROM)).zip(odd.iter().step_by(FROM)) {
        *pair = [*even, *odd];
    }
    if let [last] = last {
        *last = even[count * FROM];
    }
}
