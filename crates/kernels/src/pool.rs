//! Max and average pooling and their gradients.

use std::ops::Range;

use crate::error::{ShapeError, check, elements, geometry};
use crate::parallel::{fill_rows, rows_per_task};
use crate::simd::multiversion;

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

    /// Calls `f(position in the window, outputs, first input index)` for each output row and each tap that some of its
    /// windows have inside the plane; the inputs of successive outputs lie `stride[1]` apart.
    #[inline(always)]
    fn taps(&self, rows: &[Span], cols: &[Outputs], mut f: impl FnMut(usize, Range<usize>, usize)) {
        for (oy, row) in rows.iter().enumerate() {
            for ky in row.taps.0..row.taps.1 {
                let line = (row.first + (ky - row.taps.0) * self.dilation[0]) * self.in_width;
                for (kx, col) in cols.iter().enumerate() {
                    if !col.range.is_empty() {
                        let outputs = oy * self.out_width + col.range.start..oy * self.out_width + col.range.end;
                        f(ky * self.kernel[1] + kx, outputs, line + col.first);
                    }
                }
            }
        }
    }

    /// Which outputs of a row have each tap of the window inside the input.
    fn outputs(&self, spans: &[Span]) -> Vec<Outputs> {
        (0..self.kernel[1])
            .map(|k| {
                let has = |s: &Span| s.taps.0 <= k && k < s.taps.1;
                let start = spans.iter().position(has).unwrap_or(0);
                let end = spans.iter().rposition(has).map_or(start, |last| last + 1);
                let first = spans.get(start).map_or(0, |s| s.first + k.saturating_sub(s.taps.0) * self.dilation[1]);
                Outputs { range: start..end, first }
            })
            .collect()
    }
}

/// The outputs of a row whose windows have a tap inside the input, and the input index of the first of them.
struct Outputs {
    range: Range<usize>,
    first: usize,
}

/// Runs `f(output, input)` over outputs and the inputs `stride` apart that belong to them.
#[inline(always)]
fn pairs<Y, X>(y: &mut [Y], x: &[X], stride: usize, mut f: impl FnMut(&mut Y, &X)) {
    match stride {
        1 => y.iter_mut().zip(x).for_each(|(y, x)| f(y, x)),
        2 => {
            // The last pair may lack its second half.
            let (last, y) = match y.split_last_mut() {
                Some(split) => split,
                None => return,
            };
            f(last, &x[2 * y.len()]);
            y.iter_mut().zip(x.as_chunks::<2>().0).for_each(|(y, x)| f(y, &x[0]));
        }
        _ => y.iter_mut().zip(x.iter().step_by(stride)).for_each(|(y, x)| f(y, x)),
    }
}

/// Whether `x` replaces the maximum so far: larger, or the first NaN.
#[inline(always)]
fn replaces(x: f32, best: f32) -> bool {
    x > best || (x.is_nan() && !best.is_nan())
}

multiversion! {
    fn max_plane(g: &Pool2d, rows: &[Span], cols: &[Outputs], x: &[f32], y: &mut [f32]) {
        y.fill(f32::NEG_INFINITY);
        g.taps(rows, cols, |_, outputs, from| {
            pairs(&mut y[outputs], &x[from..], g.stride[1], |y, x| {
                *y = if replaces(*x, *y) { *x } else { *y };
            });
        });
    }
}

multiversion! {
    fn max_indices_plane(g: &Pool2d, rows: &[Span], cols: &[Outputs], x: &[f32], best: &mut [(f32, u32)]) {
        g.taps(rows, cols, |position, outputs, from| {
            pairs(&mut best[outputs], &x[from..], g.stride[1], |best, x| {
                *best = if replaces(*x, best.0) { (*x, position as u32) } else { *best };
            });
        });
    }
}

multiversion! {
    fn average_plane(g: &Pool2d, rows: &[Span], cols: &[Outputs], x: &[f32], shares: &[f32], y: &mut [f32]) {
        y.fill(0.0);
        g.taps(rows, cols, |_, outputs, from| pairs(&mut y[outputs], &x[from..], g.stride[1], |y, x| *y += x));
        y.iter_mut().zip(shares).for_each(|(y, share)| *y *= share);
    }
}

multiversion! {
    fn average_grad_plane(
        g: &Pool2d, rows: &[Span], cols: &[Outputs], dy: &[f32], shares: &[f32], dx: &mut [f32],
    ) {
        dx.fill(0.0);
        g.taps(rows, cols, |_, outputs, to| {
            let (dy, shares) = (&dy[outputs.clone()], &shares[outputs]);
            let inputs = dx[to..].iter_mut().step_by(g.stride[1]);
            inputs.zip(dy).zip(shares).for_each(|((dx, dy), share)| *dx += dy * share);
        });
    }
}

/// Max pooling; a window that holds a NaN gives NaN, and one that holds no element minus infinity.
pub fn max_pool(g: &Pool2d, x: &[f32], y: &mut [f32]) -> Result<(), ShapeError> {
    g.check("max_pool", &[("x", x.len(), true), ("y", y.len(), false)])?;
    let (rows, cols, plane) = (g.spans(0), g.outputs(&g.spans(1)), g.in_height * g.in_width);
    g.planes(g.out_height * g.out_width, y, |i, y| max_plane(g, &rows, &cols, &x[i * plane..][..plane], y));
    Ok(())
}

/// The position of each window's first maximum (or first NaN), row-major inside the window; `idx` is shaped as y.
///
/// A window of more than 256 positions is an error.
pub fn max_pool_indices(g: &Pool2d, x: &[f32], idx: &mut [u8]) -> Result<(), ShapeError> {
    g.check("max_pool_indices", &[("x", x.len(), true), ("idx", idx.len(), false)])?;
    g.check_area("max_pool_indices")?;
    let (rows, cols, plane) = (g.spans(0), g.spans(1), g.in_height * g.in_width);
    let taps = g.outputs(&cols);
    // Where nothing exceeds minus infinity, the first element inside the window is the maximum.
    let first = |row: &Span, col: &Span| (f32::NEG_INFINITY, (row.taps.0 * g.kernel[1] + col.taps.0) as u32);
    let none: Vec<_> = rows.iter().flat_map(|row| cols.iter().map(move |col| first(row, col))).collect();
    g.planes(g.out_height * g.out_width, idx, |i, idx| {
        let mut best = none.clone();
        max_indices_plane(g, &rows, &taps, &x[i * plane..][..plane], &mut best);
        idx.iter_mut().zip(&best).for_each(|(idx, best)| *idx = best.1 as u8);
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
    let cols = g.outputs(&cols);
    g.planes(g.out_height * g.out_width, y, |i, y| {
        average_plane(g, &rows, &cols, &x[i * plane..][..plane], &shares, y);
    });
    Ok(())
}

/// Gradient of [`avg_pool`]; dx is overwritten.
pub fn avg_pool_grad(g: &Pool2d, count_include_pad: bool, dy: &[f32], dx: &mut [f32]) -> Result<(), ShapeError> {
    g.check("avg_pool_grad", &[("dy", dy.len(), false), ("dx", dx.len(), true)])?;
    let (rows, cols, outputs) = (g.spans(0), g.spans(1), g.out_height * g.out_width);
    let shares = shares(g, count_include_pad, &rows, &cols);
    let cols = g.outputs(&cols);
    g.planes(g.in_height * g.in_width, dx, |i, dx| {
        average_grad_plane(g, &rows, &cols, &dy[i * outputs..][..outputs], &shares, dx);
    });
    Ok(())
}
