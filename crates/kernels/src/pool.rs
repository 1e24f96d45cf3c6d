//! Max and average pooling and their gradients.

use crate::error::{ShapeError, check, elements, geometry};
use crate::parallel::{fill_rows, rows_per_task};

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

/// What one window covers along one axis.
#[derive(Clone, Copy)]
struct Span {
    /// Taps inside the input.
    taps: (usize, usize),
    /// Input index of the first of them.
    first: usize,
    /// Taps inside the input or its padding.
    padded: usize,
}

impl Pool2d {
    fn check(&self, kernel: &'static str, slices: &[(&'static str, usize, bool)]) -> Result<(), ShapeError> {
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

    fn check_area(&self, kernel: &'static str) -> Result<(), ShapeError> {
        if elements(&self.kernel) > 256 {
            let [h, w] = self.kernel;
            return Err(geometry(kernel, format!("a window of {h}x{w} has more than the 256 positions of an index")));
        }
        Ok(())
    }

    fn spans(&self, axis: usize) -> Vec<Span> {
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
                Span { taps: (lo, hi), first: (origin + lo * dilation).saturating_sub(pad), padded }
            })
            .collect()
    }

    /// Runs `f(input plane, output plane)` for every plane of the output, in parallel.
    fn planes<T: Send>(&self, len: usize, y: &mut [T], f: impl Fn(usize, &mut [T]) + Sync + Send) {
        let planes = rows_per_task(self.in_height * self.in_width);
        fill_rows(y, planes * len, |start, y| {
            y.chunks_mut(len.max(1)).enumerate().for_each(|(i, y)| f(start / len.max(1) + i, y));
        });
    }

    /// Calls `f(output index, position in the window, input index)` for the elements inside each window of a plane.
    #[inline(always)]
    fn windows(&self, rows: &[Span], cols: &[Span], mut f: impl FnMut(usize, usize, usize)) {
        for (oy, row) in rows.iter().enumerate() {
            for (ox, col) in cols.iter().enumerate() {
                for ky in row.taps.0..row.taps.1 {
                    let line = (row.first + (ky - row.taps.0) * self.dilation[0]) * self.in_width + col.first;
                    for kx in col.taps.0..col.taps.1 {
                        let at = line + (kx - col.taps.0) * self.dilation[1];
                        f(oy * self.out_width + ox, ky * self.kernel[1] + kx, at);
                    }
                }
            }
        }
    }

    fn max(&self, x: &[f32], rows: &[Span], cols: &[Span], mut found: impl FnMut(usize, usize, f32)) {
        let (mut output, mut best, mut position, mut any) = (0, f32::NEG_INFINITY, 0, false);
        self.windows(rows, cols, |o, tap, at| {
            if o != output {
                found(output, position, best);
                (output, best, position, any) = (o, f32::NEG_INFINITY, 0, false);
            }
            let value = x[at];
            if !any || value > best || (value.is_nan() && !best.is_nan()) {
                (best, position, any) = (value, tap, true);
            }
        });
        if any {
            found(output, position, best);
        }
    }
}

/// Max pooling; a window that holds a NaN gives NaN, and one that holds no element minus infinity.
pub fn max_pool(g: &Pool2d, x: &[f32], y: &mut [f32]) -> Result<(), ShapeError> {
    g.check("max_pool", &[("x", x.len(), true), ("y", y.len(), false)])?;
    let (rows, cols, plane) = (g.spans(0), g.spans(1), g.in_height * g.in_width);
    g.planes(g.out_height * g.out_width, y, |i, y| {
        y.fill(f32::NEG_INFINITY);
        g.max(&x[i * plane..][..plane], &rows, &cols, |o, _, value| y[o] = value);
    });
    Ok(())
}

/// The position of each window's first maximum (or first NaN), row-major inside the window; `idx` is shaped as y.
///
/// A window of more than 256 positions is an error.
pub fn max_pool_indices(g: &Pool2d, x: &[f32], idx: &mut [u8]) -> Result<(), ShapeError> {
    g.check("max_pool_indices", &[("x", x.len(), true), ("idx", idx.len(), false)])?;
    g.check_area("max_pool_indices")?;
    let (rows, cols, plane) = (g.spans(0), g.spans(1), g.in_height * g.in_width);
    g.planes(g.out_height * g.out_width, idx, |i, idx| {
        idx.fill(0);
        g.max(&x[i * plane..][..plane], &rows, &cols, |o, position, _| idx[o] = position as u8);
    });
    Ok(())
}

/// Gradient of [`max_pool`]: each dy is added to dx where [`max_pool_indices`] points; dx is overwritten.
pub fn max_pool_grad(g: &Pool2d, dy: &[f32], idx: &[u8], dx: &mut [f32]) -> Result<(), ShapeError> {
    let slices = [("dy", dy.len(), false), ("idx", idx.len(), false), ("dx", dx.len(), true)];
    g.check("max_pool_grad", &slices)?;
    g.check_area("max_pool_grad")?;
    let (rows, cols, outputs) = (g.spans(0), g.spans(1), g.out_height * g.out_width);
    g.planes(g.in_height * g.in_width, dx, |i, dx| {
        dx.fill(0.0);
        for (oy, row) in rows.iter().enumerate() {
            for (ox, col) in cols.iter().enumerate() {
                let o = i * outputs + oy * g.out_width + ox;
                let (ky, kx) = (usize::from(idx[o]) / g.kernel[1], usize::from(idx[o]) % g.kernel[1]);
                // An index outside the input, which no maximum has, adds nothing.
                if (row.taps.0..row.taps.1).contains(&ky) && (col.taps.0..col.taps.1).contains(&kx) {
                    let y = row.first + (ky - row.taps.0) * g.dilation[0];
                    let x = col.first + (kx - col.taps.0) * g.dilation[1];
                    dx[y * g.in_width + x] += dy[o];
                }
            }
        }
    });
    Ok(())
}

/// One over the number of elements that each window divides by.
fn shares(g: &Pool2d, count_include_pad: bool, rows: &[Span], cols: &[Span]) -> Vec<f32> {
    let count = |s: &Span| if count_include_pad { s.padded } else { s.taps.1 - s.taps.0 };
    let mut shares = Vec::with_capacity(g.out_height * g.out_width);
    for row in rows {
        shares.extend(cols.iter().map(|col| 1.0 / (count(row) * count(col)).max(1) as f32));
    }
    shares
}

/// Average pooling. With `count_include_pad` the divisor counts padding, but not what hangs over beyond `pad_end`
/// (ONNX `AveragePool` 19); a window that holds no element gives 0.
pub fn avg_pool(g: &Pool2d, count_include_pad: bool, x: &[f32], y: &mut [f32]) -> Result<(), ShapeError> {
    g.check("avg_pool", &[("x", x.len(), true), ("y", y.len(), false)])?;
    let (rows, cols, plane) = (g.spans(0), g.spans(1), g.in_height * g.in_width);
    let shares = shares(g, count_include_pad, &rows, &cols);
    g.planes(g.out_height * g.out_width, y, |i, y| {
        let x = &x[i * plane..][..plane];
        y.fill(0.0);
        g.windows(&rows, &cols, |o, _, at| y[o] += x[at]);
        y.iter_mut().zip(&shares).for_each(|(y, share)| *y *= share);
    });
    Ok(())
}

/// Gradient of [`avg_pool`]; dx is overwritten.
pub fn avg_pool_grad(g: &Pool2d, count_include_pad: bool, dy: &[f32], dx: &mut [f32]) -> Result<(), ShapeError> {
    g.check("avg_pool_grad", &[("dy", dy.len(), false), ("dx", dx.len(), true)])?;
    let (rows, cols, outputs) = (g.spans(0), g.spans(1), g.out_height * g.out_width);
    let shares = shares(g, count_include_pad, &rows, &cols);
    g.planes(g.in_height * g.in_width, dx, |i, dx| {
        let dy = dy[i * outputs..].get(..outputs).unwrap_or_default();
        dx.fill(0.0);
        g.windows(&rows, &cols, |o, _, at| dx[at] += dy[o] * shares[o]);
    });
    Ok(())
}
