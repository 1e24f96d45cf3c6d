//! Loops over planes, forward and back.

use super::layout::{LANES, Layout, collect, compact, spread};
use crate::tensors::elements::Elements;
use crate::tensors::parallel::with_scratch;

/// Pools the planes of x from `first` on, as many as y holds: `windows(plane of y, plane of x, its phases,
/// results)`.
pub(super) fn pool(
    layout: &Layout,
    padding: f32,
    x: Elements<'_>,
    first: usize,
    y: &mut [f32],
    mut windows: impl FnMut(usize, &[f32], &[f32], &mut [[f32; LANES]]),
) {
    let (input, output) = layout.planes();
    let planes = y.len() / output;
    let unpacked = if x.numbers().is_some() { 0 } else { planes * input };
    with_scratch(layout.len() + layout.blocks() * LANES + unpacked, |scratch| {
        let (phases, scratch) = scratch.split_at_mut(layout.len());
        let (results, scratch) = scratch.split_at_mut(layout.blocks() * LANES);
        let x = x.read(first * input, planes * input, scratch);
        phases.fill(padding);
        for (plane, y) in y.chunks_exact_mut(output).enumerate() {
            let x = &x[plane * input..][..input];
            spread(layout, x, phases);
            windows(plane, x, phases, results.as_chunks_mut().0);
            compact(layout, results, y);
        }
    });
}

/// Elements that lie behind the spread dy, and what they are where nothing is spread.
pub(super) struct Beside {
    pub(super) len: usize,
    pub(super) fill: f32,
}

/// The way back: for each plane of dx from `first` on, `spread(plane, dy, spread dy)` and, for each phase,
/// `windows(spread dy, taps, results)`.
pub(super) fn pool_back(
    layout: &Layout,
    beside: Beside,
    dy: Elements<'_>,
    first: usize,
    dx: &mut [f32],
    spread: impl Fn(usize, &[f32], &mut [f32]),
    windows: impl Fn(&[f32], usize, &mut [[f32; LANES]]),
) {
    let (input, output) = layout.planes();
    let planes = dx.len() / input;
    let unpacked = if dy.numbers().is_some() { 0 } else { planes * output };
    with_scratch(layout.back_len() + beside.len + layout.len() + unpacked, |scratch| {
        let (windowed, scratch) = scratch.split_at_mut(layout.back_len() + beside.len);
        let (phases, scratch) = scratch.split_at_mut(layout.len());
        let dy = dy.read(first * output, planes * output, scratch);
        windowed[..layout.back_len()].fill(0.0);
        windowed[layout.back_len()..].fill(beside.fill);
        for (plane, dx) in dx.chunks_exact_mut(input).enumerate() {
            spread(first + plane, &dy[plane * output..][..output], windowed);
            for (phase, results) in layout.phases_mut(phases).enumerate() {
                windows(windowed, phase, results.as_chunks_mut().0);
            }
            collect(layout, phases, dx);
        }
    });
}
