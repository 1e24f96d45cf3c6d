//! Max pooling and its gradient.

use bitbudget_formats::Counts;
use rayon::prelude::*;

use super::geometry::{Pool2d, Span};
use super::layout::{LANES, Layout, Tap, compact_positions, spread_back, spread_positions};
use super::loops::{back_maxima, has_nan, maxima, maxima_and_positions};
use super::planes::{Beside, pool, pool_back};
use crate::error::ShapeError;
use crate::tensors::elements::{Elements, Output, SharedOutput};
use crate::tensors::parallel::with_scratch;

/// Max pooling that is ready to run, any number of times.
#[derive(Debug)]
pub struct MaxPoolPlan {
    geometry: Pool2d,
    /// Nothing where there is no window.
    windows: Option<Windows>,
}

/// The windows of a plane.
#[derive(Debug)]
struct Windows {
    layout: Layout,
    taps: Vec<Tap>,
    /// The position of each window's first element, which is the maximum where nothing exceeds minus infinity.
    first: Vec<[f32; LANES]>,
}

impl MaxPoolPlan {
    /// Plans for a geometry.
    ///
    /// # Errors
    /// If it contradicts itself.
    pub fn new(g: &Pool2d) -> Result<MaxPoolPlan, ShapeError> {
        g.check("max_pool", &[])?;
        let windows = (!g.is_empty()).then(|| {
            let (rows, cols) = (g.spans(0), g.spans(1));
            let layout = Layout::new(g, &rows, &cols);
            let taps = layout.taps(g.kernel[1]);
            let position = |(row, col): (&Span, &Span)| (row.taps.0 * g.kernel[1] + col.taps.0) as f32;
            let first = layout.windows(rows.iter().flat_map(|row| cols.iter().map(move |col| position((row, col)))));
            Windows { layout, taps, first }
        });
        Ok(MaxPoolPlan { geometry: *g, windows })
    }

    /// Max pooling; a window that holds a NaN gives NaN, and one that holds no element minus infinity.
    ///
    /// # Errors
    /// If a size is wrong.
    pub fn run(&self, x: Elements<'_>, y: &mut Output<'_>) -> Result<Counts, ShapeError> {
        let g = &self.geometry;
        g.check("max_pool", &[("x", x.len(), true), ("y", y.len(), false)])?;
        let Some(Windows { layout, taps, .. }) = &self.windows else { return Ok(Counts::default()) };
        Ok(g.fill(g.output(), y, |first, y| {
            pool(layout, f32::NEG_INFINITY, x, first, y, |_, plane, x, y| maxima(has_nan(plane), x, taps, y));
        }))
    }

    /// The position of each window's first maximum (or first NaN), row-major inside the window; `indices` are shaped as y.
    ///
    /// # Errors
    /// If a size is wrong, or a window has more than 256 positions.
    pub fn indices(&self, x: Elements<'_>, indices: &mut [u8]) -> Result<(), ShapeError> {
        let g = &self.geometry;
        g.check("max_pool_indices", &[("x", x.len(), true), ("indices", indices.len(), false)])?;
        g.check_area("max_pool_indices")?;
        self.maxima_and_indices(x, None, indices);
        Ok(())
    }

    /// [`MaxPoolPlan::run`] and [`MaxPoolPlan::indices`] in one pass over x.
    ///
    /// # Errors
    /// If a size is wrong, or a window has more than 256 positions.
    pub fn with_indices(&self, x: Elements<'_>, y: &mut Output<'_>, indices: &mut [u8]) -> Result<Counts, ShapeError> {
        let slices = [("x", x.len(), true), ("y", y.len(), false), ("indices", indices.len(), false)];
        self.geometry.check("max_pool_with_indices", &slices)?;
        self.geometry.check_area("max_pool_with_indices")?;
        Ok(self.maxima_and_indices(x, Some(y.shared()), indices))
    }

    /// Writes the indices and, where asked for, the maxima, which are as many.
    fn maxima_and_indices(&self, x: Elements<'_>, y: Option<SharedOutput>, indices: &mut [u8]) -> Counts {
        let (g, Some(Windows { layout, taps, first })) = (&self.geometry, &self.windows) else {
            return Counts::default();
        };
        let (len, output) = (g.tiles().1 * g.output(), g.output());
        let pool = |start: usize, y: &mut [f32], indices: &mut [u8]| {
            with_scratch(first.len() * LANES, |positions| {
                pool(layout, f32::NEG_INFINITY, x, start / output, y, |plane, numbers, x, y| {
                    positions.copy_from_slice(first.as_flattened());
                    maxima_and_positions(has_nan(numbers), x, taps, y, positions.as_chunks_mut().0);
                    compact_positions(layout, positions, &mut indices[plane * output..][..output]);
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
}

/// The gradient of max pooling, ready to run any number of times.
#[derive(Debug)]
pub struct MaxPoolGradPlan {
    geometry: Pool2d,
    /// The layout and each phase's taps; nothing where there is no window.
    windows: Option<(Layout, Vec<Vec<Tap>>)>,
}

impl MaxPoolGradPlan {
    /// Plans for the geometry of the pooling.
    ///
    /// # Errors
    /// If it contradicts itself, or a window has more than 256 positions.
    pub fn new(g: &Pool2d) -> Result<MaxPoolGradPlan, ShapeError> {
        g.check("max_pool_grad", &[])?;
        g.check_area("max_pool_grad")?;
        let windows = (!g.is_empty()).then(|| {
            let layout = Layout::new(g, &g.spans(0), &g.spans(1));
            let taps = layout.back_taps(g.kernel[1], true);
            (layout, taps)
        });
        Ok(MaxPoolGradPlan { geometry: *g, windows })
    }

    /// The gradient: each dy is added to dx where [`MaxPoolPlan::indices`] point; dx is overwritten.
    ///
    /// # Errors
    /// If a size is wrong.
    pub fn run(&self, dy: Elements<'_>, indices: &[u8], dx: &mut Output<'_>) -> Result<Counts, ShapeError> {
        let g = &self.geometry;
        let slices = [("dy", dy.len(), false), ("indices", indices.len(), false), ("dx", dx.len(), true)];
        g.check("max_pool_grad", &slices)?;
        let Some((layout, taps)) = &self.windows else { return Ok(dx.fill(1, |_, dx| dx.fill(0.0))) };
        let (len, output) = (layout.back_len(), g.output());
        let spread = |plane: usize, dy: &[f32], windowed: &mut [f32]| {
            let (dy_windowed, positions) = windowed.split_at_mut(len);
            spread_back(layout, dy, dy_windowed);
            spread_positions(layout, &indices[plane * output..][..output], positions);
        };
        Ok(g.fill(g.input(), dx, |first, dx| {
            // No tap has the position -1.
            pool_back(layout, Beside { len, fill: -1.0 }, dy, first, dx, spread, |windowed, phase, dx| {
                let (dy, positions) = windowed.split_at(len);
                back_maxima(dy, positions, &taps[phase], dx);
            });
        }))
    }
}
