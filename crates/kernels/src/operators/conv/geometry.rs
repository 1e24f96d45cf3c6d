//! The geometry of a convolution.

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

    /// Whether there is something to compute, and sizes are such that plans can be made.
    pub(super) fn is_computable(&self) -> bool {
        let x = elements(&[self.batch, self.in_channels, self.in_height, self.in_width]);
        let w = elements(&[self.out_channels, self.group_in(), self.kernel[0], self.kernel[1]]);
        let y = elements(&[self.batch, self.out_channels, self.out_height(), self.out_width()]);
        let sizes = [x, w, y];
        self.check("conv2d", x, w, y).is_ok() && sizes.iter().all(|&size| (1..1 << 48).contains(&size))
    }

    /// Multiply-adds of any one pass, times two.
    pub fn flops(&self) -> usize {
        elements(&[2, self.batch, self.out_channels, self.out_height(), self.out_width(), self.depth()])
    }

    pub(super) fn out_size(&self, axis: usize) -> usize {
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
    pub(super) fn extent(&self, axis: usize) -> usize {
        self.dilation[axis].saturating_mul(self.kernel[axis].saturating_sub(1))
    }

    pub(super) fn out_plane(&self) -> usize {
        self.out_height() * self.out_width()
    }

    pub(super) fn in_plane(&self) -> usize {
        self.in_height * self.in_width
    }

    pub(super) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Products that one element of the output sums.
    pub(super) fn depth(&self) -> usize {
        self.group_in() * self.taps()
    }

    pub(super) fn group_in(&self) -> usize {
        self.in_channels / self.groups.max(1)
    }

    pub(super) fn group_out(&self) -> usize {
        self.out_channels / self.groups.max(1)
    }

    pub(super) fn is_depthwise(&self) -> bool {
        self.groups == self.in_channels && self.groups > 1
    }

    /// Whether columns are the input itself.
    pub(super) fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.pad_begin == [0, 0] && self.pad_end == [0, 0]
    }

    pub(super) fn check(&self, kernel: &'static str, x: usize, w: usize, y: usize) -> Result<(), ShapeError> {
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
