//! Max and average pooling and their gradients.

use bitbudget_formats::Counts;
use rayon::prelude::*;

use crate::error::ShapeError;
use crate::tensors::elements::{Elements, Output, SharedOutput};
use crate::tensors::parallel::with_scratch;

mod geometry;
mod layout;
mod loops;
pub use geometry::Pool2d;
use geometry::Span;
use layout::{
    LANES, Layout, collect, compact, compact_positions, spread, spread_back, spread_positions, spread_shares,
};
use loops::{averages, back_maxima, back_sums, has_nan, maxima, maxima_and_positions, plane_averages};

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

/// Max pooling; a window that holds a NaN gives NaN, and one that holds no element minus infinity.
pub fn max_pool(g: &Pool2d, x: Elements<'_>, y: &mut Output<'_>) -> Result<Counts, ShapeError> {
    g.check("max_pool", &[("x", x.len(), true), ("y", y.len(), false)])?;
    if y.is_empty() {
        return Ok(Counts::default());
    }
    let layout = Layout::new(g, &g.spans(0), &g.spans(1));
    let taps = layout.taps(g.kernel[1]);
    Ok(g.fill(g.output(), y, |first, y| {
        pool(&layout, f32::NEG_INFINITY, x, first, y, |_, plane, x, y| maxima(has_nan(plane), x, &taps, y));
    }))
}

/// The position of each window's first maximum (or first NaN), row-major inside the window; `indices` are shaped as y.
///
/// A window of more than 256 positions is an error.
pub fn max_pool_indices(g: &Pool2d, x: Elements<'_>, indices: &mut [u8]) -> Result<(), ShapeError> {
    g.check("max_pool_indices", &[("x", x.len(), true), ("indices", indices.len(), false)])?;
    g.check_area("max_pool_indices")?;
    maxima_and_indices(g, x, None, indices);
    Ok(())
}

/// [`max_pool`] and [`max_pool_indices`] in one pass over x.
///
/// A window of more than 256 positions is an error.
pub fn max_pool_with_indices(
    g: &Pool2d,
    x: Elements<'_>,
    y: &mut Output<'_>,
    indices: &mut [u8],
) -> Result<Counts, ShapeError> {
    let slices = [("x", x.len(), true), ("y", y.len(), false), ("indices", indices.len(), false)];
    g.check("max_pool_with_indices", &slices)?;
    g.check_area("max_pool_with_indices")?;
    Ok(maxima_and_indices(g, x, Some(y.shared()), indices))
}

/// Writes the indices and, where asked for, the maxima, which are as many.
fn maxima_and_indices(g: &Pool2d, x: Elements<'_>, y: Option<SharedOutput>, indices: &mut [u8]) -> Counts {
    if indices.is_empty() {
        return Counts::default();
    }
    let (rows, cols) = (g.spans(0), g.spans(1));
    let layout = Layout::new(g, &rows, &cols);
    let taps = layout.taps(g.kernel[1]);
    // Where nothing exceeds minus infinity, the first element inside the window is the maximum.
    let first = |(row, col): (&Span, &Span)| (row.taps.0 * g.kernel[1] + col.taps.0) as f32;
    let none = layout.windows(rows.iter().flat_map(|row| cols.iter().map(move |col| first((row, col)))));
    let (len, output) = (g.tiles().1 * g.output(), g.output());
    let pool = |start: usize, y: &mut [f32], indices: &mut [u8]| {
        with_scratch(none.len() * LANES, |positions| {
            pool(&layout, f32::NEG_INFINITY, x, start / output, y, |plane, numbers, x, y| {
                positions.copy_from_slice(none.as_flattened());
                maxima_and_positions(has_nan(numbers), x, &taps, y, positions.as_chunks_mut().0);
                compact_positions(&layout, positions, &mut indices[plane * output..][..output]);
            });
        });
    };
    let task = |(i, indices): (usize, &mut [u8])| {
        // SAFETY: y is as long as the indices, whose chunks do not overlap.
        if let Some(y) = y.as_ref().and_then(|y| unsafe { y.direct(i * len, indices.len()) }) {
            pool(i * len, y, indices);
            return Counts::default();
        }
        with_scratch(indices.len(), |maxima| {
            pool(i * len, maxima, indices);
            // SAFETY: as above.
            y.as_ref().map_or(Counts::default(), |y| unsafe { y.write(i * len, maxima) })
        })
    };
    indices.par_chunks_mut(len).enumerate().map(task).sum()
}

/// Gradient of [`max_pool`]: each dy is added to dx where [`max_pool_indices`] points; dx is overwritten.
pub fn max_pool_grad(g: &Pool2d, dy: Elements<'_>, indices: &[u8], dx: &mut Output<'_>) -> Result<Counts, ShapeError> {
    let slices = [("dy", dy.len(), false), ("indices", indices.len(), false), ("dx", dx.len(), true)];
    g.check("max_pool_grad", &slices)?;
    g.check_area("max_pool_grad")?;
    if dy.is_empty() {
        return Ok(dx.fill(1, |_, dx| dx.fill(0.0)));
    }
    let layout = Layout::new(g, &g.spans(0), &g.spans(1));
    let (taps, len, output) = (layout.back_taps(g.kernel[1], true), layout.back_len(), g.output());
    let spread = |plane: usize, dy: &[f32], windowed: &mut [f32]| {
        let (dy_windowed, positions) = windowed.split_at_mut(len);
        spread_back(&layout, dy, dy_windowed);
        spread_positions(&layout, &indices[plane * output..][..output], positions);
    };
    Ok(g.fill(g.input(), dx, |first, dx| {
        // No tap has the position -1.
        pool_back(&layout, Beside { len, fill: -1.0 }, dy, first, dx, spread, |windowed, phase, dx| {
            let (dy, positions) = windowed.split_at(len);
            back_maxima(dy, positions, &taps[phase], dx);
        });
    }))
}

/// One over the number of elements that each window divides by.
fn shares(g: &Pool2d, count_include_pad: bool, rows: &[Span], cols: &[Span]) -> Vec<f32> {
    let count = |s: &Span| if count_include_pad { s.padded } else { s.taps.1 - s.taps.0 };
    let mut shares = Vec::with_capacity(g.output());
    for row in rows {
        shares.extend(cols.iter().map(|col| 1.0 / (count(row) * count(col)).max(1) as f32));
    }
    shares
}

/// Average pooling. With `count_include_pad` the divisor counts padding, but not what hangs over beyond `pad_end`
/// (ONNX `AveragePool` 19); a window that holds no element gives 0.
pub fn avg_pool(
    g: &Pool2d,
    count_include_pad: bool,
    x: Elements<'_>,
    y: &mut Output<'_>,
) -> Result<Counts, ShapeError> {
    g.check("avg_pool", &[("x", x.len(), true), ("y", y.len(), false)])?;
    if y.is_empty() {
        return Ok(Counts::default());
    }
    let (rows, cols) = (g.spans(0), g.spans(1));
    let shares = shares(g, count_include_pad, &rows, &cols);
    if g.is_global(&rows, &cols) {
        let area = g.input();
        return Ok(g.fill(1, y, |first, y| {
            with_scratch(if x.numbers().is_some() { 0 } else { y.len() * area }, |scratch| {
                plane_averages(x.read(first * area, y.len() * area, scratch), area, shares[0], y);
            });
        }));
    }
    let layout = Layout::new(g, &rows, &cols);
    let (taps, shares) = (layout.taps(g.kernel[1]), layout.windows(shares.into_iter()));
    Ok(g.fill(g.output(), y, |first, y| {
        pool(&layout, 0.0, x, first, y, |_, _, x, y| averages(x, &taps, &shares, y));
    }))
}

/// Gradient of [`avg_pool`]; dx is overwritten.
pub fn avg_pool_grad(
    g: &Pool2d,
    count_include_pad: bool,
    dy: Elements<'_>,
    dx: &mut Output<'_>,
) -> Result<Counts, ShapeError> {
    g.check("avg_pool_grad", &[("dy", dy.len(), false), ("dx", dx.len(), true)])?;
    if dy.is_empty() {
        return Ok(dx.fill(1, |_, dx| dx.fill(0.0)));
    }
    let (rows, cols) = (g.spans(0), g.spans(1));
    let shares = shares(g, count_include_pad, &rows, &cols);
    if g.is_global(&rows, &cols) {
        let area = g.input();
        return Ok(g.fill(area, dx, |first, dx| {
            with_scratch(dx.len() / area, |scratch| {
                let dy = dy.read(first, dx.len() / area, scratch);
                // A sum begins at +0, as that of several windows does.
                dx.chunks_exact_mut(area).zip(dy).for_each(|(dx, dy)| dx.fill(0.0 + dy * shares[0]));
            });
        }));
    }
    let layout = Layout::new(g, &rows, &cols);
    let taps = layout.back_taps(g.kernel[1], false);
    let spread = |_: usize, dy: &[f32], windowed: &mut [f32]| spread_shares(&layout, dy, &shares, windowed);
    Ok(g.fill(g.input(), dx, |first, dx| {
        pool_back(&layout, Beside { len: 0, fill: 0.0 }, dy, first, dx, spread, |dy, phase, dx| {
            back_sums(dy, &taps[phase], dx)
        });
    }))
}
