//! Sliding windows of convolution and pooling over two spatial dimensions.

use crate::error::Reason;
use crate::types::{Dim, Shape, TensorType};

/// The largest padded area and stride, since kernels may copy a padded channel.
const MAX_AREA: usize = 1 << 30;

/// A sliding window over height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Height and width of the window, in taps.
    pub kernel: [usize; 2],
    /// Steps between windows.
    pub strides: [usize; 2],
    /// Padding above and to the left.
    pub pads_begin: [usize; 2],
    /// Padding below and to the right.
    pub pads_end: [usize; 2],
    /// Distance between taps.
    pub dilations: [usize; 2],
    /// Whether a last, incomplete window counts.
    pub ceil: bool,
}

impl Window {
    /// Height and width of the result over an input of the given height and width.
    ///
    /// With `ceil`, a window that would start in the padding at the end is left out (ONNX, PyTorch).
    ///
    /// # Errors
    /// If a size is zero or the window does not fit into the padded input.
    pub fn output(&self, input: [usize; 2]) -> Result<[usize; 2], Reason> {
        let (mut out, mut area) = ([0; 2], 1usize);
        for d in 0..2 {
            let (k, s, dilation) = (self.kernel[d], self.strides[d], self.dilations[d]);
            if k == 0 || s == 0 || dilation == 0 {
                return Err(Reason::new("kernel sizes, strides and dilations must be at least 1"));
            }
            let too_large = || Reason::new("the window or the padded input is too large");
            let extent = (k - 1).checked_mul(dilation).and_then(|e| e.checked_add(1)).ok_or_else(too_large)?;
            let padded = input[d].checked_add(self.pads_begin[d]).and_then(|p| p.checked_add(self.pads_end[d]));
            let padded = padded.ok_or_else(too_large)?;
            area = area.checked_mul(padded).filter(|&a| a.max(s) <= MAX_AREA).ok_or_else(too_large)?;
            let Some(room) = padded.checked_sub(extent) else {
                return Err(Reason::new(format!(
                    "the window spans {extent} elements, the padded input only {padded}; pad more or use a larger input"
                )));
            };
            out[d] = room / s + 1;
            if self.ceil && room % s != 0 && out[d] * s < input[d] + self.pads_begin[d] {
                out[d] += 1;
            }
        }
        Ok(out)
    }

    /// The result's shape over `x`, with `channels` channels.
    pub(crate) fn infer(&self, x: &TensorType, channels: Dim) -> Result<Shape, Reason> {
        let [height, width] = spatial(x)?;
        let [out_height, out_width] = self.output([height, width])?;
        Ok(Shape(vec![x.shape.0[0], channels, out_height.into(), out_width.into()]))
    }

    /// The input position of tap `k` of window `o` in dimension `d`, unless it lies in the padding.
    pub(crate) fn position(&self, d: usize, o: usize, k: usize, size: usize) -> Option<usize> {
        (o * self.strides[d] + k * self.dilations[d]).checked_sub(self.pads_begin[d]).filter(|&i| i < size)
    }

    /// Calls `f` with input row, input column and tap (row-major) for each tap of a window that is inside the input.
    pub(crate) fn taps(&self, o: [usize; 2], input: [usize; 2], mut f: impl FnMut(usize, usize, usize)) {
        for kh in 0..self.kernel[0] {
            for kw in 0..self.kernel[1] {
                let row = self.position(0, o[0], kh, input[0]);
                let column = self.position(1, o[1], kw, input[1]);
                if let (Some(row), Some(column)) = (row, column) {
                    f(row, column, kh * self.kernel[1] + kw);
                }
            }
        }
    }
}

/// Height and width of a `[N, C, H, W]` tensor.
pub(crate) fn spatial(x: &TensorType) -> Result<[usize; 2], Reason> {
    let fixed = |axis| x.shape.get(axis).and_then(Dim::as_fixed);
    match (x.shape.rank(), fixed(1), fixed(2), fixed(3)) {
        (4, Some(_), Some(height), Some(width)) => Ok([height, width]),
        _ => Err(Reason::new(format!("needs an operand of shape [N, C, H, W], has {}", x.shape))),
    }
}
