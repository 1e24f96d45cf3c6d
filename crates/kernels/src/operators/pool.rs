//! Max and average pooling and their gradients. What the geometry decides is planned once ([`MaxPoolPlan`] and so on).

use crate::error::ShapeError;
use crate::tensors::elements::{Elements, Output};
use bitbudget_formats::Counts;

mod average;
mod geometry;
mod layout;
mod loops;
mod max;
mod planes;
pub use average::{AvgPoolGradPlan, AvgPoolPlan};
pub use geometry::Pool2d;
pub use max::{MaxPoolGradPlan, MaxPoolPlan};

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
