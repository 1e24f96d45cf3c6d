//! Two-dimensional convolution, its gradients, and its geometry.
//!
//! Dense and grouped convolutions are products of small blocks in registers, which read staged planes at an offset for
//! every tap: there are no columns. Operands are unpacked as they are staged, results rounded and packed tile by tile.

mod dense;
mod depthwise;
mod depthwise_grad_weight;
mod geometry;
mod grad_weight;
mod layout;
mod plan;
mod stage;
mod weights;

use bitbudget_formats::Counts;

use crate::error::ShapeError;
use crate::tensors::elements::{Elements, Output};
pub use geometry::Conv2d;
pub use plan::ConvPlan;

/// One of the three products that a convolution takes in a training step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// [`conv2d`], of x and w.
    Forward,
    /// [`conv2d_grad_input`], of dy and w.
    GradInput,
    /// [`conv2d_grad_weight`], of x and dy.
    GradWeight,
}

/// Convolution: `y[n, o] = bias[o] + sum over c, i, j of w[o, c, i, j] x[n, c, ...]`; `bias` is `[out_channels]`. What y
/// could not hold is counted. [`Conv2d::plan`] makes it ready once for many calls.
///
/// `shared` has at least the elements of [`Conv2d::workspace`], with any contents. Where BF16 holds all numbers of both
/// operands' formats and the processor has fast BF16 dot products, these compute dense convolutions, with sums in FP32;
/// denormal numbers count as zero there.
///
/// # Errors
/// If the geometry contradicts itself, or a length is not that of its shape.
pub fn conv2d(
    g: &Conv2d,
    x: Elements,
    w: Elements,
    bias: Option<Elements>,
    y: &mut Output,
    shared: &mut [f32],
) -> Result<Counts, ShapeError> {
    g.plan(Pass::Forward, x.format(), w.format()).run([x, w], bias, y, shared)
}

/// Gradient of [`conv2d`] by its input: dy is shaped as y, dx as x and overwritten.
///
/// # Errors
/// As for [`conv2d`].
pub fn conv2d_grad_input(
    g: &Conv2d,
    dy: Elements,
    w: Elements,
    dx: &mut Output,
    shared: &mut [f32],
) -> Result<Counts, ShapeError> {
    g.plan(Pass::GradInput, dy.format(), w.format()).run([dy, w], None, dx, shared)
}

/// Gradient of [`conv2d`] by its weights: dy is shaped as y, dw as w and overwritten.
///
/// # Errors
/// As for [`conv2d`].
pub fn conv2d_grad_weight(
    g: &Conv2d,
    x: Elements,
    dy: Elements,
    dw: &mut Output,
    shared: &mut [f32],
) -> Result<Counts, ShapeError> {
    g.plan(Pass::GradWeight, x.format(), dy.format()).run([x, dy], None, dw, shared)
}
