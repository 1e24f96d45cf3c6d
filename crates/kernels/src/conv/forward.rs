//! Dense and grouped convolution: columns of a tile of output pixels, times the weights.

use super::Conv2d;
use super::plane::{Layout, SLACK, columns};
use crate::gemm::{View, product};
use crate::parallel::{SharedOut, for_tasks, with_scratch};
use crate::simd::copy_short;

/// Elements of the columns that one thread holds at a time.
const COLUMNS: usize = 128 * 1024;
/// Output pixels of a tile.
const PIXELS: usize = 256;

/// The weights of each group as a matrix `[group_out, depth]` with any strides.
pub(super) struct Weights<'a> {
    data: &'a [f32],
    row: usize,
    col: usize,
}

impl<'a> Weights<'a> {
    pub(super) fn plain(g: &Conv2d, data: &'a [f32]) -> Self {
        Weights { data, row: g.depth(), col: 1 }
    }

    /// The transposed weights of the 1x1 convolution `g`.
    pub(super) fn transposed(g: &Conv2d, data: &'a [f32]) -> Self {
        Weights { data, row: 1, col: g.group_in() }
    }
}

/// Some rows of one image, or several whole images.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub(super) image: usize,
    pub(super) images: usize,
    pub(super) row: usize,
    pub(super) rows: usize,
}

/// A cut of a batch's output pixels into tiles of about `pixels`, in order.
pub(super) struct Tiling {
    batch: usize,
    height: usize,
    images: usize,
    rows: usize,
}

impl Tiling {
    pub(super) fn new(g: &Conv2d, pixels: usize) -> Tiling {
        let (batch, height, width) = (g.batch, g.out_height(), g.out_width());
        if g.out_plane() <= pixels {
            let groups = batch.div_ceil(pixels / g.out_plane());
            Tiling { batch, height, images: batch.div_ceil(groups), rows: height }
        } else {
            let parts = height.div_ceil((pixels / width).max(1));
            Tiling { batch, height, images: 1, rows: height.div_ceil(parts) }
        }
    }

    pub(super) fn per_image(&self) -> usize {
        self.height.div_ceil(self.rows)
    }

    pub(super) fn count(&self) -> usize {
        self.batch.div_ceil(self.images) * self.per_image()
    }

    pub(super) fn get(&self, i: usize) -> Tile {
        let image = i / self.per_image() * self.images;
        let row = i % self.per_image() * self.rows;
        Tile { image, images: self.images.min(self.batch - image), row, rows: self.rows.min(self.height - row) }
    }

    /// Images and rows of a full tile.
    pub(super) fn full(&self) -> (usize, usize) {
        (self.images, self.rows)
    }
}

/// Elements between the rows of a matrix of `pixels` columns: not a power of two, since rows at such distances compete
/// for the same lines of the first-level cache.
pub(super) fn distance(pixels: usize) -> usize {
    pixels.next_multiple_of(16) + 16
}

/// The columns of a tile, for `channels` channels from `channel` on: `[images, rows, width]` for each channel and tap,
/// at their [`distance`].
pub(super) fn gather(
    g: &Conv2d,
    layout: &Layout,
    x: &[f32],
    tile: Tile,
    channel: usize,
    channels: usize,
    planes: &mut [f32],
    cols: &mut [f32],
) {
    let (plane, width) = (g.in_plane(), g.out_width());
    let distance = distance(tile.images * tile.rows * width);
    for c in 0..channels {
        let cols = &mut cols[c * g.taps() * distance..];
        for i in 0..tile.images {
            let source = &x[((tile.image + i) * g.in_channels + channel + c) * plane..][..plane];
            if g.is_pointwise() {
                let rows = tile.rows * width;
                cols[i * rows..][..rows].copy_from_slice(&source[tile.row * width..][..rows]);
            } else {
                layout.stage(tile.row, source, &mut planes[i * layout.len..]);
            }
        }
        if !g.is_pointwise() {
            columns(layout, planes, tile.images, tile.rows, width, distance, cols);
        }
    }
}

/// `y = w * x`, for any geometry.
pub(super) fn convolve(g: &Conv2d, x: &[f32], w: &Weights, y: &mut [f32]) {
    let (plane, width) = (g.out_plane(), g.out_width());
    let (group_in, group_out, taps) = (g.group_in(), g.group_out(), g.taps());
    let tiling = Tiling::new(g, PIXELS);
    let (images, rows) = tiling.full();
    let pixels = images * rows * width;
    let layout = Layout::new(g, rows);
    let direct = g.is_pointwise() && images == 1;
    let channels = if direct { 0 } else { (COLUMNS / (taps * pixels)).clamp(1, group_in) };
    // Few tiles: cut the output channels too, so that there is work for every thread.
    let cuts = 8usize.div_ceil(tiling.count() * g.groups);
    let block = group_out.div_ceil(cuts).next_multiple_of(16).min(group_out);
    let blocks = group_out.div_ceil(block);

    let cols_len = channels * taps * distance(pixels) + SLACK;
    let planes_len = images * layout.len + SLACK;
    let result_len = if images > 1 { block * pixels } else { 0 };
    let out = SharedOut::new(y);
    for_tasks(g.groups * tiling.count() * blocks, |task| {
        let tile = tiling.get(task / blocks % tiling.count());
        let group = task / blocks / tiling.count();
        let first = task % blocks * block;
        let outputs = block.min(group_out - first);
        let pixels = tile.images * tile.rows * width;
        let weights = &w.data[group * group_out * group_in * taps..];
        let at = |image: usize, o: usize| {
            ((tile.image + image) * g.out_channels + group * group_out + first + o) * plane + tile.row * width
        };
        with_scratch(cols_len + planes_len + result_len, |scratch| {
            let (cols, rest) = scratch.split_at_mut(cols_len);
            let (planes, result) = rest.split_at_mut(planes_len);
            // SAFETY: a task writes only the pixels of its tile in its own output channels; views stay inside the
            // slices, whose lengths the geometry was checked against.
            unsafe {
                let (c, ldc) = if images == 1 { (out.at(at(0, 0)), plane) } else { (result.as_mut_ptr(), pixels) };
                let a = |channel: usize| View {
                    data: weights.as_ptr().add(first * w.row + channel * taps * w.col),
                    row: w.row,
                    col: w.col,
                };
                if direct {
                    let from = (tile.image * g.in_channels + group * group_in) * g.in_plane() + tile.row * width;
                    let b = View { data: x.as_ptr().add(from), row: g.in_plane(), col: 1 };
                    product(outputs, pixels, group_in, a(0), b, c, [ldc, 1], false);
                    return;
                }
                for channel in (0..group_in).step_by(channels) {
                    let channels = channels.min(group_in - channel);
                    gather(g, &layout, x, tile, group * group_in + channel, channels, planes, cols);
                    let b = View { data: cols.as_ptr(), row: distance(pixels), col: 1 };
                    product(outputs, pixels, channels * taps, a(channel), b, c, [ldc, 1], channel > 0);
                }
                if images > 1 {
                    for o in 0..outputs {
                        for i in 0..tile.images {
                            copy_short(&result[o * pixels + i * plane..][..plane], out.slice(at(i, o), plane));
                        }
                    }
                }
            }
        });
    });
}
