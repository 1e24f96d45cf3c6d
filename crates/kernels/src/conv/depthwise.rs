//! Depthwise convolution: every input channel feeds `out_channels / in_channels` outputs of its own.
//!
//! A staged plane makes it a one-dimensional filter: in the plane's row distance, output (0, 0) to the last one is one
//! run of pixels, and every tap reads that run at an offset of its own. The gaps between rows are computed and dropped.

use super::Conv2d;
use super::plane::{Layout, SLACK};
use crate::parallel::{SharedOut, fill_rows, for_tasks, with_scratch};
use crate::simd::{copy_short, mul_add, multiversion};

/// Vector of the weight gradient's sums.
const WIDTH: usize = 16;
/// Images whose products are summed in single precision before they join the double-precision sum.
const IMAGES: usize = 16;

multiversion! {
    /// `y[i] = sum over taps of weight * x[offset + i]`, in whole vectors: reads and writes up to 15 elements more.
    fn filter(taps: &[(usize, f32)], x: &[f32], y: &mut [f32], len: usize) {
        let mut i = 0;
        while i + 64 <= len {
            filter_block::<FMA, 64>(taps, &x[i..], &mut y[i..]);
            i += 64;
        }
        while i < len {
            filter_block::<FMA, 16>(taps, &x[i..], &mut y[i..]);
            i += 16;
        }
    }
}

#[inline(always)]
fn filter_block<const FMA: bool, const N: usize>(taps: &[(usize, f32)], x: &[f32], y: &mut [f32]) {
    let mut sums = [0.0f32; N];
    for &(offset, weight) in taps {
        let x = &x[offset..offset + N];
        for i in 0..N {
            sums[i] = mul_add::<FMA>(weight, x[i], sums[i]);
        }
    }
    y[..N].copy_from_slice(&sums);
}

multiversion! {
    /// `sums[tap] += products of dy and x[offset..]`, lane by lane; `dy` is whole vectors.
    fn correlate(offsets: &[usize], x: &[f32], dy: &[f32], sums: &mut [[f32; WIDTH]]) {
        for (&offset, sums) in offsets.iter().zip(sums) {
            let mut lanes = [*sums, [0.0; WIDTH], [0.0; WIDTH], [0.0; WIDTH]];
            let (x4, dy4) = (x[offset..offset + dy.len()].as_chunks::<{ 4 * WIDTH }>(), dy.as_chunks::<{ 4 * WIDTH }>());
            for (x, dy) in x4.0.iter().zip(dy4.0) {
                for j in 0..4 {
                    for i in 0..WIDTH {
                        lanes[j][i] = mul_add::<FMA>(x[j * WIDTH + i], dy[j * WIDTH + i], lanes[j][i]);
                    }
                }
            }
            for (x, dy) in x4.1.as_chunks::<WIDTH>().0.iter().zip(dy4.1.as_chunks::<WIDTH>().0) {
                for i in 0..WIDTH {
                    lanes[0][i] = mul_add::<FMA>(x[i], dy[i], lanes[0][i]);
                }
            }
            for i in 0..WIDTH {
                sums[i] = (lanes[0][i] + lanes[1][i]) + (lanes[2][i] + lanes[3][i]);
            }
        }
    }
}

multiversion! {
    /// Copies `rows` rows of `width` elements from one row distance to another.
    fn copy_rows(rows: usize, width: usize, x: &[f32], x_row: usize, y: &mut [f32], y_row: usize) {
        for i in 0..rows {
            let x = &x[i * x_row..i * x_row + width];
            copy_short(x, &mut y[i * y_row..i * y_row + width]);
        }
    }
}

/// Pixels from the first to the last output in the staged row distance.
fn run(g: &Conv2d, layout: &Layout) -> usize {
    (g.out_height() - 1) * layout.width + g.out_width()
}

pub(super) fn forward(g: &Conv2d, x: &[f32], w: &[f32], y: &mut [f32]) {
    let (height, width, multiplier, count) = (g.out_height(), g.out_width(), g.group_out(), g.taps());
    let layout = Layout::new(g, height);
    let run = run(g, &layout);
    let planes = crate::parallel::rows_per_task(multiplier * height * width);
    fill_rows(y, planes * multiplier * height * width, |start, y| {
        let mut taps: Vec<(usize, f32)> = layout.taps.iter().map(|&offset| (offset, 0.0)).collect();
        with_scratch(layout.len + run + 2 * SLACK, |scratch| {
            let (plane, result) = scratch.split_at_mut(layout.len + SLACK);
            for (i, y) in y.chunks_mut(multiplier * height * width).enumerate() {
                let image_channel = start / (multiplier * height * width) + i;
                let channel = image_channel % g.in_channels;
                layout.stage(0, &x[image_channel * g.in_plane()..][..g.in_plane()], plane);
                for (m, y) in y.chunks_mut(height * width).enumerate() {
                    let w = &w[(channel * multiplier + m) * count..];
                    taps.iter_mut().zip(w).for_each(|(tap, w)| tap.1 = *w);
                    filter(&taps, plane, result, run);
                    copy_rows(height, width, result, layout.width, y, width);
                }
            }
        });
    });
}

pub(super) fn grad_input(g: &Conv2d, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    let (height, width, multiplier, count) = (g.out_height(), g.out_width(), g.group_out(), g.taps());
    let layout = Layout::new(g, height);
    let phase_len = layout.phase_len;
    // A phase is a filter over dy, whose taps look back; zeros stand before the first and after the last pixel.
    let back = layout.taps.iter().map(|tap| tap % phase_len).max().unwrap_or(0);
    let dy_len = back + phase_len + SLACK;
    let planes = crate::parallel::rows_per_task(g.in_plane());
    let phases: Vec<Vec<usize>> = (0..layout.len / phase_len)
        .map(|phase| (0..count).filter(|&t| layout.taps[t] / phase_len == phase).collect())
        .collect();
    fill_rows(dx, planes * g.in_plane(), |start, dx| {
        let mut taps = Vec::with_capacity(multiplier * count);
        with_scratch(layout.len + SLACK + multiplier * dy_len, |scratch| {
            let (plane, staged) = scratch.split_at_mut(layout.len + SLACK);
            staged.fill(0.0);
            for (i, dx) in dx.chunks_mut(g.in_plane()).enumerate() {
                let image_channel = start / g.in_plane() + i;
                let channel = image_channel % g.in_channels;
                for m in 0..multiplier {
                    let dy = &dy[(image_channel * multiplier + m) * height * width..];
                    copy_rows(height, width, dy, width, &mut staged[m * dy_len + back..], layout.width);
                }
                for (phase, members) in phases.iter().enumerate() {
                    taps.clear();
                    for m in 0..multiplier {
                        let w = &w[(channel * multiplier + m) * count..];
                        taps.extend(members.iter().map(|&t| (m * dy_len + back - layout.taps[t] % phase_len, w[t])));
                    }
                    filter(&taps, staged, &mut plane[phase * phase_len..], phase_len);
                }
                layout.unstage(plane, dx);
            }
        });
    });
}

pub(super) fn grad_weight(g: &Conv2d, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let (height, width, multiplier, count) = (g.out_height(), g.out_width(), g.group_out(), g.taps());
    let layout = Layout::new(g, height);
    let run = run(g, &layout).next_multiple_of(WIDTH);
    let out = SharedOut::new(dw);
    for_tasks(g.in_channels, |channel| {
        let mut sums = vec![[0.0f32; WIDTH]; multiplier * count];
        let mut totals = vec![0.0f64; multiplier * count];
        with_scratch(layout.len + run + 2 * SLACK, |scratch| {
            scratch.fill(0.0);
            let (plane, staged) = scratch.split_at_mut(layout.len + SLACK);
            for image in 0..g.batch {
                let image_channel = image * g.in_channels + channel;
                layout.stage(0, &x[image_channel * g.in_plane()..][..g.in_plane()], plane);
                for (m, sums) in sums.chunks_mut(count).enumerate() {
                    let dy = &dy[(image_channel * multiplier + m) * height * width..];
                    copy_rows(height, width, dy, width, staged, layout.width);
                    correlate(&layout.taps, plane, &staged[..run], sums);
                }
                if (image + 1) % IMAGES == 0 || image + 1 == g.batch {
                    for (total, sums) in totals.iter_mut().zip(&mut sums) {
                        *total += sums.iter().map(|&s| f64::from(s)).sum::<f64>();
                        *sums = [0.0; WIDTH];
                    }
                }
            }
        });
        // SAFETY: a task writes only its own channel's weights.
        let dw = unsafe { out.slice(channel * multiplier * count, multiplier * count) };
        dw.iter_mut().zip(&totals).for_each(|(dw, total)| *dw = *total as f32);
    });
}
