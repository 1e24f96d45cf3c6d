//! Max pooling with windows of more than 256 elements, as several with smaller ones.
//!
//! The maximum of the maxima of a window's parts is that of the window. Parts come in the window's order, row by row, and the first maximum
//! wins in each, so that the gradient goes to the same element as with one window.

use bitbudget_ir::ops::MaxPool;

/// The most elements of a window: their positions are stored in a byte.
const MOST: usize = 256;

/// Poolings that give together what one gives on an input of height and width `size`, in order.
///
/// # Errors
/// If the window is longer in one dimension than can be put together.
pub(super) fn parts(op: &MaxPool, size: [usize; 2]) -> Result<Vec<MaxPool>, String> {
    if op.kernel[0].saturating_mul(op.kernel[1]) <= MOST {
        return Ok(vec![op.clone()]);
    }
    let window = op.window();
    let output = window.output(size).map_err(|reason| reason.to_string())?;
    let mut parts = Vec::new();
    // Columns first: the first row with the maximum, and in it the first column.
    for d in [1, 0].into_iter().filter(|&d| op.kernel[d] > 1 || op.strides[d] > 1) {
        // A last, incomplete window is one over more padding.
        let last = (output[d] - 1) * op.strides[d] + (op.kernel[d] - 1) * op.dilations[d] + 1;
        let line = Line {
            kernel: op.kernel[d],
            stride: op.strides[d],
            pads: [op.pads_begin[d], op.pads_end[d].max(last.saturating_sub(size[d] + op.pads_begin[d]))],
            dilation: op.dilations[d],
        };
        parts.extend(line.parts(size[d], output[d])?.into_iter().map(|line| line.along(d)));
    }
    Ok(parts)
}

/// A window in one dimension.
#[derive(Clone, Copy)]
struct Line {
    kernel: usize,
    stride: usize,
    pads: [usize; 2],
    dilation: usize,
}

impl Line {
    fn along(self, d: usize) -> MaxPool {
        let only = |value: usize, other: usize| if d == 0 { [value, other] } else { [other, value] };
        MaxPool {
            kernel: only(self.kernel, 1),
            strides: only(self.stride, 1),
            pads_begin: only(self.pads[0], 0),
            pads_end: only(self.pads[1], 0),
            dilations: only(self.dilation, 1),
            ceil: false,
        }
    }

    /// Windows over pieces of this one, then a window over the pieces.
    fn parts(self, size: usize, output: usize) -> Result<Vec<Line>, String> {
        let Line { kernel, stride, pads, dilation } = self;
        if kernel <= MOST {
            return Ok(vec![self]);
        }
        // The fewest pieces, as long as they can be: `count` of them, `apart` taps from one to the next.
        let pieces = (kernel.div_ceil(MOST)..=MOST).find_map(|count| {
            let fits =
                |&piece: &usize| (kernel - piece).is_multiple_of(count - 1) && (kernel - piece) / (count - 1) <= piece;
            let piece = (1..=MOST).rev().find(fits)?;
            Some((count, piece, (kernel - piece) / (count - 1)))
        });
        let (count, piece, apart) = pieces.ok_or_else(|| {
            format!("a max pooling window of {kernel} elements in one dimension is too long; pool in two steps")
        })?;
        // Pieces start where any window has one.
        let step = if output == 1 { apart * dilation } else { common(stride, apart * dilation) };
        let first = Line { kernel: piece, stride: step, ..self };
        let room = (size + pads[0] + pads[1]).saturating_sub((piece - 1) * dilation + 1);
        let stride = if output == 1 { room / step + 1 } else { stride / step };
        Ok(vec![first, Line { kernel: count, stride, pads: [0; 2], dilation: apart * dilation / step }])
    }
}

/// The greatest common divisor of two numbers that are not 0.
fn common(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common(b, a % b) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]
mod tests {
    use super::{MOST, parts};
    use bitbudget_ir::ops::{MaxPool, MaxPoolGrad, MaxPoolIndices};
    use bitbudget_ir::{Array, DType, Op, Shape, TensorType};

    fn evaluate(op: impl Into<Op>, operands: &[&Array<f64>], indices: bool) -> Array<f64> {
        let op = op.into();
        let ty = |(at, x): (usize, &&Array<f64>)| match at {
            1 if indices => TensorType { dtype: DType::Index8, shape: Shape::fixed(&x.shape) },
            _ => TensorType::f32(Shape::fixed(&x.shape)),
        };
        let types: Vec<TensorType> = operands.iter().enumerate().map(ty).collect();
        let inferred = op.infer(&types.iter().collect::<Vec<_>>()).unwrap_or_else(|e| panic!("{op:?}: {e:?}"));
        op.evaluate(operands, &inferred.shape.at(1))
    }

    /// The first maximum of each window, as an offset in `x`, by the definition (PyTorch's `max_pool2d` with `return_indices`).
    fn winners(op: &MaxPool, x: &Array<f64>) -> (Vec<usize>, Vec<usize>) {
        let [height, width] = [x.shape[2], x.shape[3]];
        let out = op.window().output([height, width]).unwrap();
        let mut winners = Vec::new();
        for (i, j) in (0..out[0]).flat_map(|i| (0..out[1]).map(move |j| (i, j))) {
            let inside = |d: usize, o: usize, k: usize, size: usize| {
                (o * op.strides[d] + k * op.dilations[d]).checked_sub(op.pads_begin[d]).filter(|&at| at < size)
            };
            let rows = (0..op.kernel[0]).filter_map(|k| inside(0, i, k, height));
            let offsets = rows.flat_map(|row| {
                (0..op.kernel[1]).filter_map(move |k| inside(1, j, k, width)).map(move |column| row * width + column)
            });
            winners.push(offsets.reduce(|best, at| if x.data[at] > x.data[best] { at } else { best }).unwrap());
        }
        (winners, vec![1, 1, out[0], out[1]])
    }

    #[test]
    fn parts_give_the_maxima_and_gradients_of_one_window() {
        let op = |kernel, strides, pads_begin: [usize; 2], dilations, ceil| {
            let pads_end = [pads_begin[0], pads_begin[1] / 2];
            MaxPool { kernel, strides, pads_begin, pads_end, dilations, ceil }
        };
        let cases = [
            (op([32, 32], [1, 1], [0, 0], [1, 1], false), [32, 32]),
            (op([17, 16], [3, 2], [2, 3], [1, 1], false), [40, 33]),
            (op([17, 16], [3, 2], [0, 0], [2, 1], true), [41, 32]),
            (op([20, 20], [20, 7], [0, 0], [1, 1], true), [50, 47]),
            (op([1, 997], [1, 1], [0, 0], [1, 1], false), [1, 997]),
            (op([1, 300], [1, 300], [0, 0], [1, 1], false), [1, 500]),
            (op([1, 300], [1, 6], [0, 2], [1, 1], false), [2, 1000]),
            (op([1, 263], [1, 4], [0, 0], [1, 3], false), [1, 1000]),
            (op([511, 2], [1, 1], [0, 0], [1, 1], false), [600, 4]),
            (op([700, 3], [9, 1], [1, 1], [1, 1], true), [1300, 5]),
            (op([2, 2], [2, 2], [0, 0], [1, 1], true), [5, 5]),
        ];
        for (op, size) in cases {
            // Few different numbers, so that maxima are not alone.
            let numbers: Vec<f64> = (0..size[0] * size[1]).map(|i| ((i * 7919 + i / 13 * 31) % 97) as f64).collect();
            let x = Array::new(&[1, 1, size[0], size[1]], numbers);
            let found = parts(&op, size).unwrap();
            assert!(found.iter().all(|part| part.kernel[0] * part.kernel[1] <= MOST), "{found:?}");
            let mut results = vec![x.clone()];
            for part in &found {
                results.push(evaluate(part.clone(), &[results.last().unwrap()], false));
            }
            let (winners, shape) = winners(&op, &x);
            let y = results.last().unwrap();
            assert_eq!(y.shape, shape, "{op:?} as {found:?}");
            assert_eq!(y.data, winners.iter().map(|&at| x.data[at]).collect::<Vec<_>>(), "{op:?}");
            let dy: Vec<f64> = (0..winners.len()).map(|i| (i % 11 + 1) as f64).collect();
            let mut expected = vec![0.0; x.data.len()];
            winners.iter().zip(&dy).for_each(|(&at, dy)| expected[at] += dy);
            let mut dx = Array::new(&shape, dy);
            for (part, x) in found.iter().zip(&results).rev() {
                let MaxPool { kernel, strides, pads_begin, pads_end, dilations, ceil } = part.clone();
                let indices = MaxPoolIndices { kernel, strides, pads_begin, pads_end, dilations, ceil };
                let indices = evaluate(indices, &[x], false);
                let input = Shape::fixed(&x.shape);
                let grad = MaxPoolGrad { kernel, strides, pads_begin, pads_end, dilations, ceil, input };
                dx = evaluate(grad, &[&dx, &indices], true);
            }
            assert_eq!(dx.data, expected, "gradient of {op:?}");
        }
    }

    #[test]
    fn windows_that_are_too_long_are_refused() {
        let op = MaxPool {
            kernel: [1, 70_000],
            strides: [1; 2],
            pads_begin: [0; 2],
            pads_end: [0; 2],
            dilations: [1; 2],
            ceil: false,
        };
        let message = parts(&op, [1, 80_000]).unwrap_err();
        assert!(message.contains("a max pooling window of 70000 elements in one dimension is too long"), "{message}");
    }
}
