//! Max and average pooling and their gradients. What the geometry decides is planned once ([`MaxPoolPlan`] and so on).

use crate::error::ShapeError;
use crate::tensors::elements::{Elements, Output};
use crate::tensors::parallel::with_scratch;
use bitbudget_formats::Counts;

mod average;
mod geometry;
mod layout;
mod loops;
mod max;
pub use average::{AvgPoolGradPlan, AvgPoolPlan};
pub use geometry::Pool2d;
use layout::{LANES, Layout, collect, compact, spread};
pub use max::{MaxPoolGradPlan, MaxPoolPlan};

/// Pools the planes of x from `first` on, as many as y holds: `windows(plane of y, plane of x, its phases,
/// results)`.
fn pool(
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
struct Beside {
    len: usize,
    fill: f32,
}

/// The way back: for each plane of dx from `first` on, `spread(plane, dy, spread dy)` and, for each phase,
/// `windows(spread dy, taps, results)`.
fn pool_back(
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

/// [`MaxPoolPlan::run`], planned for once.
///
/// # Errors
/// If a size is wrong.
pub fn max_pool(g: &Pool2d, x: Elements<'_>, y: &mut Output<'_>) -> Result<Counts, ShapeError> {
    g.check("max_pool", &[("x", x.len(), true), ("y", y.len(), false)])?;
    MaxPoolPlan::new(g)?.run(x, y)
}

/// [`MaxPoolPlan::indices`], planned for once.
///
/// # Errors
/// If a size is wrong, or a window has more than 256 positions.
pub fn max_pool_indices(g: &Pool2d, x: Elements<'_>, indices: &mut [u8]) -> Result<(), ShapeError> {
    g.check("max_pool_indices", &[("x", x.len(), true), ("indices", indices.len(), false)])?;
    MaxPoolPlan::new(g)?.indices(x, indices)
}

/// [`MaxPoolPlan::with_indices`], planned for once.
///
/// # Errors
/// If a size is wrong, or a window has more than 256 positions.
pub fn max_pool_with_indices(
    g: &Pool2d,
    x: Elements<'_>,
    y: &mut Output<'_>,
    indices: &mut [u8],
) -> Result<Counts, ShapeError> {
    let slices = [("x", x.len(), true), ("y", y.len(), false), ("indices", indices.len(), false)];
    g.check("max_pool_with_indices", &slices)?;
    MaxPoolPlan::new(g)?.with_indices(x, y, indices)
}

/// [`MaxPoolGradPlan::run`], planned for once.
///
/// # Errors
/// If a size is wrong, or a window has more than 256 positions.
pub fn max_pool_grad(g: &Pool2d, dy: Elements<'_>, indices: &[u8], dx: &mut Output<'_>) -> Result<Counts, ShapeError> {
    let slices = [("dy", dy.len(), false), ("indices", indices.len(), false), ("dx", dx.len(), true)];
    g.check("max_pool_grad", &slices)?;
    MaxPoolGradPlan::new(g)?.run(dy, indices, dx)
}

/// [`AvgPoolPlan::run`], planned for once.
///
/// # Errors
/// If a size is wrong.
pub fn avg_pool(
    g: &Pool2d,
    count_include_pad: bool,
    x: Elements<'_>,
    y: &mut Output<'_>,
) -> Result<Counts, ShapeError> {
    g.check("avg_pool", &[("x", x.len(), true), ("y", y.len(), false)])?;
    AvgPoolPlan::new(g, count_include_pad)?.run(x, y)
}

/// [`AvgPoolGradPlan::run`], planned for once.
///
/// # Errors
/// If a size is wrong.
pub fn avg_pool_grad(
    g: &Pool2d,
    count_include_pad: bool,
    dy: Elements<'_>,
    dx: &mut Output<'_>,
) -> Result<Counts, ShapeError> {
    g.check("avg_pool_grad", &[("dy", dy.len(), false), ("dx", dx.len(), true)])?;
    AvgPoolGradPlan::new(g, count_include_pad)?.run(dy, dx)
}
