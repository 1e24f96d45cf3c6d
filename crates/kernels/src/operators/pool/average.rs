//! Average pooling and its gradient.

use bitbudget_formats::Counts;

use super::geometry::{Pool2d, Span};
use super::layout::{LANES, Layout, Tap, spread_shares};
use super::loops::{averages, back_sums, plane_averages};
use super::planes::{Beside, pool, pool_back};
use crate::error::ShapeError;
use crate::tensors::elements::{Elements, Output};
use crate::tensors::parallel::with_scratch;

/// Average pooling that is ready to run, any number of times.
#[derive(Debug)]
pub struct AvgPoolPlan {
    geometry: Pool2d,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// There is no window.
    Empty,
    /// One window covers the whole plane, of which each element has this share.
    Global(f32),
    Windows {
        layout: Box<Layout>,
        taps: Vec<Tap>,
        shares: Vec<[f32; LANES]>,
    },
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

impl AvgPoolPlan {
    /// Plans for a geometry. With `count_include_pad` the divisor counts padding, but not what hangs over beyond `pad_end`
    /// (ONNX `AveragePool` 19).
    ///
    /// # Errors
    /// If the geometry contradicts itself.
    pub fn new(g: &Pool2d, count_include_pad: bool) -> Result<AvgPoolPlan, ShapeError> {
        g.check("avg_pool", &[])?;
        if g.is_empty() {
            return Ok(AvgPoolPlan { geometry: *g, way: Way::Empty });
        }
        let (rows, cols) = (g.spans(0), g.spans(1));
        let shares = shares(g, count_include_pad, &rows, &cols);
        let way = if g.is_global(&rows, &cols) {
            Way::Global(shares[0])
        } else {
            let layout = Box::new(Layout::new(g, &rows, &cols));
            let (taps, shares) = (layout.taps(g.kernel[1]), layout.windows(shares.into_iter()));
            Way::Windows { layout, taps, shares }
        };
        Ok(AvgPoolPlan { geometry: *g, way })
    }

    /// Average pooling; a window that holds no element gives 0.
    ///
    /// # Errors
    /// If a size is wrong.
    pub fn run(&self, x: Elements<'_>, y: &mut Output<'_>) -> Result<Counts, ShapeError> {
        let g = &self.geometry;
        g.check("avg_pool", &[("x", x.len(), true), ("y", y.len(), false)])?;
        Ok(match &self.way {
            Way::Empty => Counts::default(),
            Way::Global(share) => {
                let area = g.input();
                g.fill(1, y, |first, y| {
                    with_scratch(if x.numbers().is_some() { 0 } else { y.len() * area }, |scratch| {
                        plane_averages(x.read(first * area, y.len() * area, scratch), area, *share, y);
                    });
                })
            }
            Way::Windows { layout, taps, shares } => g.fill(g.output(), y, |first, y| {
                pool(layout, 0.0, x, first, y, |_, _, x, y| averages(x, taps, shares, y));
            }),
        })
    }
}

/// The gradient of average pooling, ready to run any number of times.
#[derive(Debug)]
pub struct AvgPoolGradPlan {
    geometry: Pool2d,
    way: GradWay,
}

#[derive(Debug)]
enum GradWay {
    Empty,
    Global(f32),
    Windows {
        layout: Box<Layout>,
        /// Those of each phase.
        taps: Vec<Vec<Tap>>,
        shares: Vec<f32>,
    },
}

impl AvgPoolGradPlan {
    /// Plans for the geometry of the pooling, as [`AvgPoolPlan::new`].
    ///
    /// # Errors
    /// If it contradicts itself.
    pub fn new(g: &Pool2d, count_include_pad: bool) -> Result<AvgPoolGradPlan, ShapeError> {
        g.check("avg_pool_grad", &[])?;
        if g.is_empty() {
            return Ok(AvgPoolGradPlan { geometry: *g, way: GradWay::Empty });
        }
        let (rows, cols) = (g.spans(0), g.spans(1));
        let shares = shares(g, count_include_pad, &rows, &cols);
        let way = if g.is_global(&rows, &cols) {
            GradWay::Global(shares[0])
        } else {
            let layout = Box::new(Layout::new(g, &rows, &cols));
            let taps = layout.back_taps(g.kernel[1], false);
            GradWay::Windows { layout, taps, shares }
        };
        Ok(AvgPoolGradPlan { geometry: *g, way })
    }

    /// The gradient; dx is overwritten.
    ///
    /// # Errors
    /// If a size is wrong.
    pub fn run(&self, dy: Elements<'_>, dx: &mut Output<'_>) -> Result<Counts, ShapeError> {
        let g = &self.geometry;
        g.check("avg_pool_grad", &[("dy", dy.len(), false), ("dx", dx.len(), true)])?;
        Ok(match &self.way {
            GradWay::Empty => dx.fill(1, |_, dx| dx.fill(0.0)),
            GradWay::Global(share) => {
                let area = g.input();
                g.fill(area, dx, |first, dx| {
                    with_scratch(dx.len() / area, |scratch| {
                        let dy = dy.read(first, dx.len() / area, scratch);
                        // A sum begins at +0, as that of several windows does.
                        dx.chunks_exact_mut(area).zip(dy).for_each(|(dx, dy)| dx.fill(0.0 + dy * share));
                    });
                })
            }
            GradWay::Windows { layout, taps, shares } => {
                let spread = |_: usize, dy: &[f32], windowed: &mut [f32]| spread_shares(layout, dy, shares, windowed);
                g.fill(g.input(), dx, |first, dx| {
                    pool_back(layout, Beside { len: 0, fill: 0.0 }, dy, first, dx, spread, |dy, phase, dx| {
                        back_sums(dy, &taps[phase], dx)
                    });
                })
            }
        })
    }
}
