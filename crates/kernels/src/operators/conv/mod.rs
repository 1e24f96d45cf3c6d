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
mod stage;
mod weights;

use bitbudget_formats::{Counts, Format};

use crate::error::{ShapeError, check};
use crate::tensors::elements::{Elements, Output};
use dense::Dense;
use depthwise::Depthwise;
use depthwise_grad_weight::DepthwiseGradWeight;
pub use geometry::Conv2d;
use grad_weight::GradWeight;

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

impl Conv2d {
    /// FP32 elements of shared memory that a pass needs, for operands of these formats in the order of its arguments.
    /// The same on every machine; 0 for a geometry that has no outputs.
    pub fn workspace(&self, pass: Pass, a: Format, b: Format) -> usize {
        match pass {
            _ if !self.is_computable() => 0,
            Pass::GradWeight if self.is_depthwise() => DepthwiseGradWeight::new(self).workspace(),
            _ if self.is_depthwise() => 0,
            Pass::Forward => Dense::forward(self, a, b).workspace,
            Pass::GradInput => Dense::grad_input(self, a, b).workspace,
            Pass::GradWeight => GradWeight::new(self, a, b).workspace(),
        }
    }

    /// FP32 elements of scratch memory that every thread takes in a pass at most, beyond the shared memory.
    pub fn scratch(&self, pass: Pass, a: Format, b: Format) -> usize {
        match pass {
            _ if !self.is_computable() => 0,
            Pass::GradWeight if self.is_depthwise() => DepthwiseGradWeight::new(self).scratch(),
            Pass::Forward if self.is_depthwise() => Depthwise::forward(self).scratch(),
            Pass::GradInput if self.is_depthwise() => Depthwise::grad_input(self).scratch(),
            Pass::Forward => Dense::forward(self, a, b).scratch(),
            Pass::GradInput => Dense::grad_input(self, a, b).scratch(),
            Pass::GradWeight => GradWeight::new(self, a, b).scratch(),
        }
    }

    /// The shared memory that a pass needs, of what the caller lends.
    fn shared<'s>(
        &self,
        kernel: &'static str,
        pass: Pass,
        a: Elements,
        b: Elements,
        shared: &'s mut [f32],
    ) -> Result<&'s mut [f32], ShapeError> {
        let (found, expected) = (shared.len(), self.workspace(pass, a.format(), b.format()));
        let too_short = ShapeError::Length { kernel, argument: "shared", expected, found };
        shared.get_mut(..expected).ok_or(too_short)
    }
}

/// Convolution: `y[n, o] = bias[o] + sum over c, i, j of w[o, c, i, j] x[n, c, ...]`; `bias` is `[out_channels]`. What y
/// could not hold is counted.
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
    g.check("conv2d", x.len(), w.len(), y.len())?;
    check("conv2d", &[("bias", bias.map_or(g.out_channels, Elements::len), g.out_channels)])?;
    let shared = g.shared("conv2d", Pass::Forward, x, w, shared)?;
    if y.is_empty() {
        return Ok(Counts::default());
    }
    Ok(if g.in_channels == 0 {
        let plane = g.out_plane();
        y.fill(plane, |start, y| {
            for (i, y) in y.chunks_mut(plane).enumerate() {
                let mut value = [0.0];
                if let Some(bias) = bias {
                    bias.unpack((start / plane + i) % g.out_channels, &mut value);
                }
                y.fill(value[0]);
            }
        })
    } else if g.is_depthwise() {
        Depthwise::forward(g).run(x, w, bias, y)
    } else {
        Dense::forward(g, x.format(), w.format()).run(x, w, bias, y, shared)
    })
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
    g.check("conv2d_grad_input", dx.len(), w.len(), dy.len())?;
    let shared = g.shared("conv2d_grad_input", Pass::GradInput, dy, w, shared)?;
    Ok(if dx.is_empty() || dy.is_empty() {
        dx.fill(1, |_, dx| dx.fill(0.0))
    } else if g.is_depthwise() {
        Depthwise::grad_input(g).run(dy, w, None, dx)
    } else {
        Dense::grad_input(g, dy.format(), w.format()).run(dy, w, None, dx, shared)
    })
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
    g.check("conv2d_grad_weight", x.len(), dw.len(), dy.len())?;
    let shared = g.shared("conv2d_grad_weight", Pass::GradWeight, x, dy, shared)?;
    Ok(if dw.is_empty() || dy.is_empty() {
        dw.fill(1, |_, dw| dw.fill(0.0))
    } else if g.is_depthwise() {
        DepthwiseGradWeight::new(g).run(x, dy, dw, shared)
    } else {
        GradWeight::new(g, x.format(), dy.format()).run(x, dy, dw, shared)
    })
}
