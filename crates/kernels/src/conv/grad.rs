//! Gradients of dense and grouped convolution.

use super::Conv2d;
use super::forward::{Tile, Tiling, distance, gather};
use super::plane::{Layout, SLACK, add_columns};
use crate::gemm::{View, product};
use crate::parallel::{SharedOut, fill, for_tasks, with_scratch};
use crate::simd::copy_short;

/// Output pixels of a tile at most.
const PIXELS: usize = 256;
/// Elements of the columns and planes that one thread holds at a time.
const COLUMNS: usize = 144 * 1024;
/// Rows of the weight gradient's transpose that one task sums.
const DEPTH: usize = 288;
/// Elements that partial sums of a weight gradient may take together.
const PARTIAL_SUMS: usize = 1024 * 1024;

/// Output pixels of a tile: fewer where dy has many channels, so that its copy stays in the second-level cache.
fn pixels_per_tile(g: &Conv2d) -> usize {
    PIXELS.min((COLUMNS / g.group_out()).max(64))
}

/// The stride-1 convolution that leads from dy to dx.
pub(super) fn mirrored(g: &Conv2d) -> Conv2d {
    Conv2d {
        in_channels: g.out_channels,
        in_height: g.out_height(),
        in_width: g.out_width(),
        out_channels: g.in_channels,
        pad_begin: [g.extent(0) - g.pad_begin[0], g.extent(1) - g.pad_begin[1]],
        pad_end: [g.extent(0) - g.pad_end[0], g.extent(1) - g.pad_end[1]],
        ..*g
    }
}

/// The weights of the mirrored convolution: input and output channels exchanged, kernels reversed.
pub(super) fn flipped(g: &Conv2d, w: &[f32]) -> Vec<f32> {
    let (group_in, group_out, taps) = (g.group_in(), g.group_out(), g.taps());
    let mut flipped = vec![0.0; w.len()];
    let row = group_out * taps;
    crate::parallel::fill_rows(&mut flipped, row, |start, y| {
        let (group, c) = (start / row / group_in, start / row % group_in);
        for (o, y) in y.chunks_mut(taps).enumerate() {
            let w = &w[((group * group_out + o) * group_in + c) * taps..][..taps];
            y.iter_mut().zip(w.iter().rev()).for_each(|(y, w)| *y = *w);
        }
    });
    flipped
}

/// Copies dy of a tile into a matrix `[group_out, pixels]`, its rows at their [`distance`].
fn copy_dy(g: &Conv2d, dy: &[f32], group: usize, tile: Tile, copy: &mut [f32]) {
    let (plane, width) = (g.out_plane(), g.out_width());
    let len = tile.rows * width;
    let distance = distance(tile.images * len);
    for o in 0..g.group_out() {
        for i in 0..tile.images {
            let at = ((tile.image + i) * g.out_channels + group * g.group_out() + o) * plane + tile.row * width;
            copy_short(&dy[at..][..len], &mut copy[o * distance + i * len..][..len]);
        }
    }
}

/// dx for any stride: columns of dx are the transposed weights times dy, and are added where they came from.
pub(super) fn grad_input(g: &Conv2d, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    let (group_in, group_out, taps, depth) = (g.group_in(), g.group_out(), g.taps(), g.depth());
    let (plane, width) = (g.in_plane(), g.out_width());
    let tiling = Tiling::new(g, pixels_per_tile(g) / 2);
    let (images, rows) = tiling.full();
    let pixels = images * rows * width;
    let layout = Layout::new(g, g.out_height());
    let planes_len = images * layout.len;
    let most = (COLUMNS / (taps * pixels + planes_len)).clamp(1, group_in);
    let blocks = group_in.div_ceil(most);
    let channels = group_in.div_ceil(blocks);
    let image_groups = tiling.count() / tiling.per_image();

    let cols_len = channels * taps * pixels;
    let dy_len = group_out * distance(pixels);
    let out = SharedOut::new(dx);
    for_tasks(g.groups * blocks * image_groups, |task| {
        let image_group = task % image_groups;
        let first = task / image_groups % blocks * channels;
        let group = task / image_groups / blocks;
        let channels = channels.min(group_in.saturating_sub(first));
        with_scratch(cols_len + channels * planes_len + dy_len, |scratch| {
            let (cols, rest) = scratch.split_at_mut(cols_len);
            let (planes, copy) = rest.split_at_mut(channels * planes_len);
            planes.fill(0.0);
            for i in 0..tiling.per_image() {
                let tile = tiling.get(image_group * tiling.per_image() + i);
                let pixels = tile.images * tile.rows * width;
                let weights = &w[group * group_out * depth + first * taps..];
                copy_dy(g, dy, group, tile, copy);
                // SAFETY: the views stay inside the slices, whose lengths the geometry was checked against.
                unsafe {
                    let a = View { data: weights.as_ptr(), row: 1, col: depth };
                    let b = View { data: copy.as_ptr(), row: distance(pixels), col: 1 };
                    product(channels * taps, pixels, group_out, a, b, cols.as_mut_ptr(), [pixels, 1], false);
                }
                for c in 0..channels {
                    let cols = &cols[c * taps * pixels..];
                    let planes = &mut planes[c * planes_len..];
                    add_columns(&layout, cols, tile.images, tile.row, tile.rows, width, planes);
                }
            }
            let tile = tiling.get(image_group * tiling.per_image());
            for c in 0..channels {
                for i in 0..tile.images {
                    let at = ((tile.image + i) * g.in_channels + group * group_in + first + c) * plane;
                    // SAFETY: a task writes only the planes of its own images and channels.
                    let dx = unsafe { out.slice(at, plane) };
                    layout.unstage(&planes[c * planes_len + i * layout.len..], dx);
                }
            }
        });
    });
}

/// dw: a task sums over the pixels of its images, in order, for some input channels.
pub(super) fn grad_weight(g: &Conv2d, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let (group_in, group_out, taps, depth) = (g.group_in(), g.group_out(), g.taps(), g.depth());
    let width = g.out_width();
    let tiling = Tiling::new(g, pixels_per_tile(g));
    let (images, rows) = tiling.full();
    let pixels = images * rows * width;
    let layout = Layout::new(g, rows);
    // Few channels: cut the batch too, so that there is work for every thread, as far as the partial sums stay small.
    let most = (PARTIAL_SUMS / dw.len()).clamp(1, tiling.count());
    let blocks = group_in.div_ceil((DEPTH / taps).max(1)).max(4usize.div_ceil(g.groups * most)).min(group_in);
    let parts = 16usize.div_ceil(g.groups * blocks).min(most);
    let channels = group_in.div_ceil(blocks);
    // The product transposes the operand along its contiguous side while it packs it: let that be the smaller one.
    let transposed = group_out < channels * taps;
    let tiles = tiling.count().div_ceil(parts);
    let parts = tiling.count().div_ceil(tiles);

    let cols_len = channels * taps * distance(pixels) + SLACK;
    let planes_len = images * layout.len + SLACK;
    let copied = transposed || images > 1;
    let dy_len = if copied { group_out * distance(pixels) } else { 0 };
    let sum_len = if transposed { group_out * channels * taps } else { 0 };
    let size = dw.len();
    let mut sums = if parts > 1 { vec![0.0; parts * size] } else { Vec::new() };
    let out = SharedOut::new(if parts > 1 { &mut sums } else { dw });
    for_tasks(g.groups * blocks * parts, |task| {
        let part = task % parts;
        let first = task / parts % blocks * channels;
        let group = task / parts / blocks;
        let channels = channels.min(group_in.saturating_sub(first));
        if channels == 0 {
            return;
        }
        let at = part * size + group * group_out * depth + first * taps;
        with_scratch(cols_len + planes_len + dy_len + sum_len, |scratch| {
            let (cols, rest) = scratch.split_at_mut(cols_len);
            let (planes, rest) = rest.split_at_mut(planes_len);
            let (copy, sum) = rest.split_at_mut(dy_len);
            for i in part * tiles..((part + 1) * tiles).min(tiling.count()) {
                let tile = tiling.get(i);
                let pixels = tile.images * tile.rows * width;
                gather(g, &layout, x, tile, group * group_in + first, channels, planes, cols);
                let (dy, dy_row) = if copied {
                    copy_dy(g, dy, group, tile, copy);
                    (copy.as_ptr(), distance(pixels))
                } else {
                    let plane = tile.image * g.out_channels + group * group_out;
                    (dy[plane * g.out_plane() + tile.row * width..].as_ptr(), g.out_plane())
                };
                // SAFETY: a task writes only its own columns of its part's sum; the views stay inside the slices,
                // whose lengths the geometry was checked against.
                unsafe {
                    let a = View { data: dy, row: dy_row, col: 1 };
                    let b = View { data: cols.as_ptr(), row: 1, col: distance(pixels) };
                    let (c, strides) =
                        if transposed { (sum.as_mut_ptr(), [1, group_out]) } else { (out.at(at), [depth, 1]) };
                    product(group_out, channels * taps, pixels, a, b, c, strides, i > part * tiles);
                }
            }
            for (i, sum) in sum.chunks(group_out).take(channels * taps).enumerate() {
                for (o, sum) in sum.iter().enumerate() {
                    // SAFETY: as above.
                    unsafe { *out.at(at + o * depth + i) = *sum };
                }
            }
        });
    });
    if parts > 1 {
        fill(dw, |start, dw| {
            let len = dw.len();
            dw.copy_from_slice(&sums[start..start + len]);
            for part in 1..parts {
                let sums = &sums[part * size + start..][..len];
                dw.iter_mut().zip(sums).for_each(|(dw, sum)| *dw += sum);
            }
        });
    }
}
