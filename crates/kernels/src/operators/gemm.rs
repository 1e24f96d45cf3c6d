//! Matrix product.

use std::ops::Range;

use bitbudget_formats::{Counts, Format};

use crate::error::{ShapeError, check, elements};
use crate::operators::product::{Arithmetic, Block, Kernel, LANES, ROWS, VECTORS, interleave, pair, pair_up};
use crate::tensors::elements::{Elements, Output, SharedOutput};
use crate::tensors::parallel::{sum_tasks, with_scratch};

/// Products that are summed before the sums are written.
const DEPTH: usize = 256;
/// Rows of a task's block.
const HEIGHT: usize = 128;
/// Columns of a task's block at most, and what they are a multiple of.
const WIDTH: usize = 384;
const STEP: usize = VECTORS * LANES;

/// Sizes and layout of matrix products of a `[m, k]` and b `[k, n]`, both row-major.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matmul {
    /// Pairs of matrices, one after the other.
    pub count: usize,
    /// Rows of a and of the product.
    pub m: usize,
    /// Columns of b and of the product.
    pub n: usize,
    /// Columns of a and rows of b.
    pub k: usize,
    /// Whether a is stored as `[k, m]`.
    pub trans_a: bool,
    /// Whether b is stored as `[n, k]`.
    pub trans_b: bool,
}

/// Matrix products `c [m, n] = op(a) op(b) + bias` of `count` pairs of matrices, all row-major; the numbers that `c` could not
/// hold are counted.
///
/// `bias` is `[n]` and added to every row of every product. With `k = 0` the product is zero. Takes no memory beyond [`matmul_scratch`] for each thread.
///
/// Where BF16 holds all numbers of both operands' formats and the processor has fast BF16 dot products, these compute the
/// sums, in FP32; denormal numbers count as zero.
///
/// # Errors
/// If a length is not that of its shape.
pub fn matmul(
    g: &Matmul,
    a: Elements,
    b: Elements,
    bias: Option<Elements>,
    c: &mut Output,
) -> Result<Counts, ShapeError> {
    let Matmul { count, m, n, k, trans_a, trans_b } = *g;
    check(
        "matmul",
        &[
            ("a", a.len(), elements(&[count, m, k])),
            ("b", b.len(), elements(&[count, k, n])),
            ("bias", bias.map_or(n, Elements::len), n),
            ("c", c.len(), elements(&[count, m, n])),
        ],
    )?;
    if c.is_empty() {
        return Ok(Counts::default());
    }
    let product = Product { n, k, arithmetic: Arithmetic::of(a.format(), b.format()), bias };
    let a = Operand { x: a, start: 0, along_k: !trans_a, row: if trans_a { m } else { k } };
    let b = Operand { x: b, start: 0, along_k: trans_b, row: if trans_b { k } else { n } };
    let (height, width) = cut(count, m, n);
    let (row_blocks, column_blocks) = (m.div_ceil(height), n.div_ceil(width));
    let blocks = row_blocks * column_blocks;
    let out = c.shared();
    Ok(sum_tasks(count * blocks, |task| {
        let (matrix, block) = (task / blocks, task % blocks);
        let (i, j) = (block / column_blocks * height, block % column_blocks * width);
        let (a, b) = (Operand { start: matrix * m * k, ..a }, Operand { start: matrix * k * n, ..b });
        let area = Area { start: matrix * m * n, i, j, height: height.min(m - i), width: width.min(n - j) };
        with_scratch(scratch(count, m, n, k), |scratch| product.block(a, b, area, &out, scratch))
    }))
}

/// FP32 elements of scratch memory that a thread takes in [`matmul`] at most, for these sizes and operands of any format.
pub fn matmul_scratch(g: &Matmul, _a: Format, _b: Format) -> usize {
    if g.count == 0 || g.m == 0 || g.n == 0 { 0 } else { scratch(g.count, g.m, g.n, g.k) }
}

fn scratch(count: usize, m: usize, n: usize, k: usize) -> usize {
    lens(count, m, n, k).iter().sum()
}

/// Elements of the panels of a and b, of the sums, and of lines on their way into panels.
fn lens(count: usize, m: usize, n: usize, k: usize) -> [usize; 4] {
    let (height, width) = cut(count, m, n);
    let (height, width) = (height.next_multiple_of(LANES), width.next_multiple_of(LANES));
    let depth = k.min(DEPTH).next_multiple_of(2);
    [height * depth, width * depth, height * (width + LANES), (depth * (LANES + 2)).max(3 * height.max(width))]
}

/// Rows and columns of a task's block: about sixteen blocks where the products are large enough.
fn cut(count: usize, m: usize, n: usize) -> (usize, usize) {
    let height = m.min(HEIGHT);
    let blocks = 16usize.div_ceil(m.div_ceil(height).saturating_mul(count));
    (height, n.div_ceil(blocks).min(WIDTH).next_multiple_of(STEP).min(n))
}

/// A matrix whose side of vectors or panels is its columns, or its rows if they lie `along_k`.
#[derive(Clone, Copy)]
struct Operand<'a> {
    x: Elements<'a>,
    /// The matrix's first element.
    start: usize,
    along_k: bool,
    row: usize,
}

/// A task's block of a product that begins at element `start` of the result.
#[derive(Clone, Copy)]
struct Area {
    start: usize,
    i: usize,
    j: usize,
    height: usize,
    width: usize,
}

struct Product<'a> {
    n: usize,
    k: usize,
    arithmetic: Arithmetic,
    bias: Option<Elements<'a>>,
}

impl Product<'_> {
    fn block(&self, a: Operand, b: Operand, area: Area, out: &SharedOutput, scratch: &mut [f32]) -> Counts {
        let Area { start, i, j, height, width } = area;
        let kernel = Kernel::new(self.arithmetic);
        let numbers = self.arithmetic.numbers();
        let depth = self.k.min(DEPTH).next_multiple_of(2) / numbers;
        let distance = width.next_multiple_of(LANES) + LANES;
        let (rows, rest) = scratch.split_at_mut(height.next_multiple_of(LANES) * depth);
        let (columns, rest) = rest.split_at_mut(width.next_multiple_of(LANES) * depth);
        let (sums, lines) = rest.split_at_mut(height * distance);
        let (first, others) = sums.split_at_mut(distance);
        first.fill(0.0);
        if let Some(bias) = self.bias {
            bias.unpack(j, &mut first[..width]);
        }
        others.chunks_mut(distance).for_each(|sums| sums.copy_from_slice(first));
        let steps: Vec<[u32; 2]> = (0..depth).map(|k| [(k * LANES) as u32; 2]).collect();
        for first in (0..self.k).step_by(DEPTH) {
            let k = DEPTH.min(self.k - first);
            let depth = k.div_ceil(numbers);
            a.pack(self.arithmetic, i..i + height, first..first + k, rows, lines);
            b.pack(self.arithmetic, j..j + width, first..first + k, columns, lines);
            let vectors = width.div_ceil(LANES);
            let blocks = vectors.div_ceil(VECTORS);
            for block in 0..blocks {
                let (v, end) = (block * vectors / blocks, (block + 1) * vectors / blocks);
                let mut from = [columns.as_ptr(); VECTORS];
                let mut to = [sums.as_mut_ptr(); VECTORS];
                for (slot, vector) in (v..end).enumerate() {
                    from[slot] = columns[vector * depth * LANES..].as_ptr();
                    to[slot] = sums[vector * LANES..].as_mut_ptr();
                }
                for row in (0..height).step_by(ROWS) {
                    let a = &rows[row / LANES * depth * LANES + row % LANES..];
                    // SAFETY: panels and sums are as long as the blocks that they were cut for.
                    unsafe {
                        kernel.run(&Block {
                            a: a.as_ptr(),
                            steps: &steps[..depth],
                            b: from,
                            c: to.map(|c| c.add(row * distance)),
                            vectors: end - v,
                            row: distance,
                            rows: ROWS.min(height - row),
                            start: None,
                        });
                    }
                }
            }
        }
        let sums = sums.chunks(distance).enumerate();
        // SAFETY: a task writes its own block.
        sums.map(|(row, sums)| unsafe { out.write(start + (i + row) * self.n + j, &sums[..width]) }).sum()
    }
}

impl Operand<'_> {
    /// Lays rows into panels `[k][16]`, for some of the products.
    fn pack(
        self,
        arithmetic: Arithmetic,
        rows: Range<usize>,
        products: Range<usize>,
        panels: &mut [f32],
        lines: &mut [f32],
    ) {
        let (first, len, start, k) = (rows.start, rows.len(), products.start, products.len());
        let depth = k.div_ceil(arithmetic.numbers());
        if self.along_k {
            let (lines, rest) = lines.split_at_mut(LANES * depth);
            for (panel, out) in panels.chunks_mut(depth * LANES).enumerate().take(len.div_ceil(LANES)) {
                let rows = LANES.min(len - panel * LANES);
                for (row, line) in lines.chunks_mut(depth).enumerate() {
                    let at = self.start + (first + panel * LANES + row) * self.row + start;
                    match arithmetic {
                        _ if row >= rows => line.fill(0.0),
                        Arithmetic::F32 => self.x.unpack(at, line),
                        Arithmetic::Bf16 => pair_up(self.x.read(at, k, rest), line),
                    }
                }
                let mut found: [&[f32]; LANES] = [&[]; LANES];
                found.iter_mut().zip(lines.chunks(depth)).for_each(|(found, line)| *found = line);
                interleave(&found, LANES, depth, out);
            }
            return;
        }
        let (line, rest) = lines.split_at_mut(len);
        let (odd, even) = rest.split_at_mut(len);
        for index in 0..depth {
            let row = start + index * arithmetic.numbers();
            let at = self.start + row * self.row + first;
            let line = match arithmetic {
                Arithmetic::F32 => self.x.read(at, len, &mut *line),
                Arithmetic::Bf16 => {
                    if row + 1 < start + k {
                        self.x.unpack(at + self.row, odd);
                    } else {
                        odd.fill(0.0);
                    }
                    pair(self.x.read(at, len, even), odd, &mut *line);
                    &*line
                }
            };
            for (panel, line) in line.chunks(LANES).enumerate() {
                panels[(panel * depth + index) * LANES..][..line.len()].copy_from_slice(line);
            }
        }
    }
}
