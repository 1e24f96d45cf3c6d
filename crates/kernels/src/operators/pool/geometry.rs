//! The geometry of a pooling.

use bitbudget_formats::Counts;

use crate::error::{ShapeError, check, elements, geometry};
use crate::tensors::elements::{Output, TILE};
use crate::tensors::parallel::CHUNK;

/// Geometry of a two-dimensional pooling (ONNX `MaxPool`, `AveragePool`): x `[batch, channels, in_height, in_width]`,
/// y `[batch, channels, out_height, out_width]`. Pairs are (height, width).
///
/// The size of the output is given, since rounding it up (`ceil_mode`) lets the last windows hang over the padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Pool2d {
    pub batch: usize,
    pub channels: usize,
    pub in_height: usize,
    pub in_width: usize,
    pub out_height: usize,
    pub out_width: usize,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    pub pad_begin: [usize; 2],
    pub pad_end: [usize; 2],
}

/// The positions that one window covers along one axis.
#[derive(Clone, Copy)]
pub(super) struct Span {
    /// Taps inside the input.
    pub(super) taps: (usize, usize),
    /// Taps inside the input or its padding.
    pub(super) padded: usize,
}

impl Pool2d {
    pub(super) fn check(&self, kernel: &'static str, slices: &[(&'static str, usize, bool)]) -> Result<(), ShapeError> {
        for (what, pair) in [("kernel", self.kernel), ("stride", self.stride), ("dilation", self.dilation)] {
            if pair.contains(&0) {
                return Err(geometry(kernel, format!("{what} is {pair:?} but has to be at least 1")));
            }
        }
        let numbers = [self.kernel, self.stride, self.dilation, self.pad_begin, self.pad_end];
        let sizes = [[self.in_height, self.in_width], [self.out_height, self.out_width]];
        if numbers.iter().chain(&sizes).flatten().any(|&n| n >= 1 << 30) {
            return Err(geometry(kernel, format!("a size is beyond 2^30: {self:?}")));
        }
        let planes = elements(&[self.batch, self.channels]);
        let input = elements(&[planes, self.in_height, self.in_width]);
        let output = elements(&[planes, self.out_height, self.out_width]);
        for &(argument, found, is_input) in slices {
            check(kernel, &[(argument, found, if is_input { input } else { output })])?;
        }
        Ok(())
    }

    pub(super) fn check_area(&self, kernel: &'static str) -> Result<(), ShapeError> {
        if elements(&self.kernel) > 256 {
            let [h, w] = self.kernel;
            return Err(geometry(kernel, format!("a window of {h}x{w} has more than the 256 positions of an index")));
        }
        Ok(())
    }

    pub(super) fn spans(&self, axis: usize) -> Vec<Span> {
        let size = [self.in_height, self.in_width][axis];
        let outputs = [self.out_height, self.out_width][axis];
        let (kernel, dilation, pad) = (self.kernel[axis], self.dilation[axis], self.pad_begin[axis]);
        let end = size + pad + self.pad_end[axis];
        (0..outputs)
            .map(|o| {
                let origin = o * self.stride[axis];
                let lo = pad.saturating_sub(origin).div_ceil(dilation).min(kernel);
                let hi = (size + pad).saturating_sub(origin).div_ceil(dilation).min(kernel).max(lo);
                let padded = end.saturating_sub(origin).div_ceil(dilation).min(kernel);
                Span { taps: (lo, hi), padded }
            })
            .collect()
    }

    pub(super) fn input(&self) -> usize {
        self.in_height * self.in_width
    }

    pub(super) fn output(&self) -> usize {
        self.out_height * self.out_width
    }

    /// Whether there is no window.
    pub(super) fn is_empty(&self) -> bool {
        elements(&[self.batch, self.channels, self.output()]) == 0
    }

    /// Planes that are unpacked, pooled and packed at a time, and planes of a task.
    pub(super) fn tiles(&self) -> (usize, usize) {
        let plane = self.input().max(self.output()).max(1);
        let tile = (TILE / plane).max(1);
        (tile, (CHUNK / plane / tile).max(1) * tile)
    }

    /// Runs `f(first plane, planes of the result)` over whole planes of `len` elements, in parallel.
    pub(super) fn fill(&self, len: usize, y: &mut Output<'_>, f: impl Fn(usize, &mut [f32]) + Sync + Send) -> Counts {
        let (tile, task) = self.tiles();
        y.fill_tiles(tile * len, task * len, |start, y| f(start / len, y))
    }

    /// Whether one window covers the whole plane.
    pub(super) fn is_global(&self, rows: &[Span], cols: &[Span]) -> bool {
        let whole = |spans: &[Span], size| matches!(spans, [span] if size > 0 && span.taps.1 - span.taps.0 == size);
        self.dilation == [1, 1] && whole(rows, self.in_height) && whole(cols, self.in_width)
    }
}
