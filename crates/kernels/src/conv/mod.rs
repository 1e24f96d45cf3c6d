//! Two-dimensional convolution, its gradients, and its geometry.
//!
//! Memory beyond the arguments: about 1 MB for each thread that runs; a second copy of the weights in the input gradient
//! of a dense convolution of stride 1 (not of 1x1 ones); up to 4 MB of partial sums in the weight gradient.

mod depthwise;
mod forward;
mod grad;
mod plane;

use crate::error::{ShapeError, check, elements, geometry};

/// Geometry of a two-dimensional convolution (ONNX `Conv`): x `[batch, in_channels, in_height, in_width]`, w
/// `[out_channels, in_channels / groups, kernel[0], kernel[1]]`, y `[batch, out_channels, out_height, out_width]`.
/// Pairs are (height, width).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Conv2d {
    pub batch: usize,
    pub in_channels: usize,
    pub in_height: usize,
    pub in_width: usize,
    pub out_channels: usize,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    pub pad_begin: [usize; 2],
    pub pad_end: [usize; 2],
    pub groups: usize,
}

impl Conv2d {
    /// Height of the output; 0 where the kernel is larger than the padded input.
    pub fn out_height(&self) -> usize {
        self.out_size(0)
    }

    /// Width of the output; 0 where the kernel is larger than the padded input.
    pub fn out_width(&self) -> usize {
        self.out_size(1)
    }

    /// Multiply-adds of any one pass, times two.
    pub fn flops(&self) -> usize {
        elements(&[2, self.batch, self.out_channels, self.out_height(), self.out_width(), self.depth()])
    }

    fn out_size(&self, axis: usize) -> usize {
        let size = [self.in_height, self.in_width][axis];
        let padded = size.saturating_add(self.pad_begin[axis]).saturating_add(self.pad_end[axis]);
        let extent = self.extent(axis).saturating_add(1);
        if padded < extent || self.kernel[axis] == 0 || size == 0 {
            0
        } else {
            (padded - extent) / self.stride[axis].max(1) + 1
        }
    }

    /// The distance from a window's first to its last element.
    fn extent(&self, axis: usize) -> usize {
        self.dilation[axis].saturating_mul(self.kernel[axis].saturating_sub(1))
    }

    fn out_plane(&self) -> usize {
        self.out_height() * self.out_width()
    }

    fn in_plane(&self) -> usize {
        self.in_height * self.in_width
    }

    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Products that one element of the output sums.
    fn depth(&self) -> usize {
        self.group_in() * self.taps()
    }

    fn group_in(&self) -> usize {
        self.in_channels / self.groups.max(1)
    }

    fn group_out(&self) -> usize {
        self.out_channels / self.groups.max(1)
    }

    fn is_depthwise(&self) -> bool {
        self.groups == self.in_channels && self.groups > 1
    }

    /// Whether columns are the input itself.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.pad_begin == [0, 0] && self.pad_end == [0, 0]
    }

    fn check(&self, kernel: &'static str, x: usize, w: usize, y: usize) -> Result<(), ShapeError> {
        if self.groups == 0
            || !self.in_channels.is_multiple_of(self.groups)
            || !self.out_channels.is_multiple_of(self.groups)
        {
            let (c, o, g) = (self.in_channels, self.out_channels, self.groups);
            return Err(geometry(kernel, format!("{g} groups do not divide {c} input and {o} output channels")));
        }
        for (what, pair) in [("kernel", self.kernel), ("stride", self.stride), ("dilation", self.dilation)] {
            if pair.contains(&0) {
                return Err(geometry(kernel, format!("{what} is {pair:?} but has to be at least 1")));
            }
        }
        for axis in 0..2 {
            let size = [self.in_height, self.in_width][axis];
            let padded = elements(&[8, self.pad_begin[axis].saturating_add(self.pad_end[axis]).saturating_add(size)]);
            if padded.max(self.extent(axis)) >= 1 << 32 || self.stride[axis] >= 1 << 32 {
                return Err(geometry(kernel, format!("sizes of axis {axis} are beyond 2^32: {self:?}")));
            }
        }
        check(
            kernel,
            &[
                ("x", x, elements(&[self.batch, self.in_channels, self.in_height, self.in_width])),
                ("w", w, elements(&[self.out_channels, self.group_in(), self.kernel[0], self.kernel[1]])),
                ("y", y, elements(&[self.batch, self.out_channels, self.out_height(), self.out_width()])),
            ],
        )
    }
}

/// Convolution: `y[n, o] = bias[o] + sum over c, i, j of w[o, c, i, j] x[n, c, ...]`; `bias` is `[out_channels]`.
pub fn conv2d(g: &Conv2d, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32]) -> Result<(), ShapeError> {
    g.check("conv2d", x.len(), w.len(), y.len())?;
    check("conv2d", &[("bias", bias.map_or(g.out_channels, <[f32]>::len), g.out_channels)])?;
    if y.is_empty() {
        return Ok(());
    }
    if g.in_channels == 0 {
        y.fill(0.0);
    } else if g.is_depthwise() {
        depthwise::forward(g, x, w, y);
    } else {
        forward::convolve(g, x, &forward::Weights::plain(g, w), y);
    }
    if let Some(bias) = bias {
        let plane = g.out_plane();
        let rows = crate::parallel::rows_per_task(plane);
        crate::parallel::fill_rows(y, rows * plane, |start, y| {
            for (i, y) in y.chunks_mut(plane).enumerate() {
                let bias = bias[(start / plane + i) % bias.len()];
                y.iter_mut().for_each(|y| *y += bias);
            }
        });
    }
    Ok(())
}

/// Gradient of [`conv2d`] by its input: dy is shaped as y, dx as x and overwritten.
pub fn conv2d_grad_input(g: &Conv2d, dy: &[f32], w: &[f32], dx: &mut [f32]) -> Result<(), ShapeError> {
    g.check("conv2d_grad_input", dx.len(), w.len(), dy.len())?;
    if dx.is_empty() {
        return Ok(());
    }
    if dy.is_empty() {
        dx.fill(0.0);
    } else if g.is_depthwise() {
        depthwise::grad_input(g, dy, w, dx);
    } else if g.is_pointwise() {
        forward::convolve(&grad::mirrored(g), dy, &forward::Weights::transposed(g, w), dx);
    } else if g.stride == [1, 1] && (0..2).all(|a| g.pad_begin[a].max(g.pad_end[a]) <= g.extent(a)) {
        let flipped = grad::flipped(g, w);
        let g = grad::mirrored(g);
        forward::convolve(&g, dy, &forward::Weights::plain(&g, &flipped), dx);
    } else {
        grad::grad_input(g, dy, w, dx);
    }
    Ok(())
}

/// Gradient of [`conv2d`] by its weights: dy is shaped as y, dw as w and overwritten.
pub fn conv2d_grad_weight(g: &Conv2d, x: &[f32], dy: &[f32], dw: &mut [f32]) -> Result<(), ShapeError> {
    g.check("conv2d_grad_weight", x.len(), dw.len(), dy.len())?;
    if dw.is_empty() {
        return Ok(());
    }
    if dy.is_empty() {
        dw.fill(0.0);
    } else if g.is_depthwise() {
        depthwise::grad_weight(g, x, dy, dw);
    } else {
        grad::grad_weight(g, x, dy, dw);
    }
    Ok(())
}
