//! Max pooling.

use super::{MaxPoolGrad, MaxPoolIndices, Operator, Precision, Sample, Window, Work, check};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Form, Numbers, Pass, Read, Reads};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// The maximum of each window of `[N, C, H, W]`; padding never wins, NaN always does (ONNX MaxPool).
    pub struct MaxPool {
        /// Height and width of the window.
        kernel: [usize; 2],
        /// Steps between windows.
        strides: [usize; 2] = [1, 1],
        /// Padding above and left.
        pads_begin: [usize; 2] = [0, 0],
        /// Padding below and right.
        pads_end: [usize; 2] = [0, 0],
        /// Distances between taps.
        dilations: [usize; 2] = [1, 1],
        /// Whether a last, incomplete window counts.
        ceil: bool = false,
    }
}

impl MaxPool {
    /// The sliding window.
    pub fn window(&self) -> Window {
        let MaxPool { kernel, strides, pads_begin, pads_end, dilations, ceil, .. } = *self;
        Window { kernel, strides, pads_begin, pads_end, dilations, ceil }
    }
}

/// The offset and tap of the first maximum of a window; `None` if the window lies in the padding altogether.
pub(super) fn winner<F: Float>(window: &Window, x: &Array<F>, y: &[usize]) -> Option<(usize, usize)> {
    let (height, width) = (x.shape[2], x.shape[3]);
    let plane = (y[0] * x.shape[1] + y[1]) * height * width;
    let mut best: Option<(usize, usize)> = None;
    window.taps([y[2], y[3]], [height, width], |row, column, tap| {
        let offset = plane + row * width + column;
        let better = |old: usize| !x.data[old].is_nan() && (x.data[offset] > x.data[old] || x.data[offset].is_nan());
        if best.is_none_or(|(old, _)| better(old)) {
            best = Some((offset, tap));
        }
    });
    best
}

impl Operator for MaxPool {
    const NAME: &'static str = "max_pool";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x] = check::floats(operands)?;
        let shape = self.window().infer(x, check::channels(x)?)?;
        for d in 0..2 {
            let extent = (self.kernel[d] - 1) * self.dilations[d] + 1;
            if self.pads_begin[d] >= extent || self.pads_end[d] >= extent {
                return Err(Reason::new("a window would lie in the padding altogether; pad less than the window spans"));
            }
        }
        Ok(TensorType::f32(shape))
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let x = graph.operand(node, 0)?;
        let MaxPool { kernel, strides, pads_begin, pads_end, dilations, ceil } = *self;
        let input = graph.ty(x).shape.clone();
        let indices = MaxPoolIndices { kernel, strides, pads_begin, pads_end, dilations, ceil };
        let indices = graph.add(indices, &[x])?;
        let dx = MaxPoolGrad { kernel, strides, pads_begin, pads_end, dilations, ceil, input };
        Ok(vec![Some(graph.add(dx, &[dy, indices])?)])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::new(Form::Window, Reads::All(Read::Whole)).with_numbers(Numbers::Of(0)).in_pass(Pass::Maximum(self.window()))
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        Work { flops: (self.kernel[0] * self.kernel[1] * result.shape.elements(batch)) as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let x = operands[0];
        Array::from_fn(shape, |i| winner(&self.window(), x, i).map_or(F::neg_infinity(), |(at, _)| x.data[at]))
    }

    fn samples() -> Vec<Sample> {
        let op = |kernel, stride: usize, pad: usize, ceil| MaxPool {
            kernel: [kernel; 2],
            strides: [stride; 2],
            pads_begin: [pad; 2],
            pads_end: [pad; 2],
            dilations: [1; 2],
            ceil,
        };
        [
            Sample::of(op(2, 2, 0, false), &[&[2, 3, 4, 4]]),
            Sample::of(op(3, 2, 1, false), &[&[2, 2, 5, 5]]),
            Sample::of(op(2, 2, 0, true), &[&[1, 2, 5, 3]]),
            Sample::of(MaxPool { dilations: [2, 1], ..op(2, 1, 0, false) }, &[&[1, 2, 5, 4]]),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
