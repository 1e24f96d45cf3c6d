//! Average pooling.

use super::{AveragePoolGrad, Operator, Precision, Sample, Window, Work, check};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Form, Read, Reads};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// The mean of each window of `[N, C, H, W]` (ONNX AveragePool).
    pub struct AveragePool {
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
        /// Whether padding counts as elements.
        count_include_pad: bool = false,
    }
}

impl AveragePool {
    /// The sliding window.
    pub fn window(&self) -> Window {
        let AveragePool { kernel, strides, pads_begin, pads_end, dilations, ceil, .. } = *self;
        Window { kernel, strides, pads_begin, pads_end, dilations, ceil }
    }
}

/// The number by which a window's sum is divided: its taps inside the input, or also those in the padding (but never
/// those that hang over the padded input's end).
pub(super) fn divisor(window: &Window, count_include_pad: bool, o: [usize; 2], input: [usize; 2]) -> usize {
    let count = |d: usize| {
        let inside = |k: &usize| match count_include_pad {
            true => o[d] * window.strides[d] + k * window.dilations[d] < window.pads_begin[d] + input[d] + window.pads_end[d],
            false => window.position(d, o[d], *k, input[d]).is_some(),
        };
        (0..window.kernel[d]).filter(inside).count()
    };
    (count(0) * count(1)).max(1)
}

impl Operator for AveragePool {
    const NAME: &'static str = "average_pool";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x] = check::floats(operands)?;
        Ok(TensorType::f32(self.window().infer(x, check::channels(x)?)?))
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let x = graph.operand(node, 0)?;
        let AveragePool { kernel, strides, pads_begin, pads_end, dilations, ceil, count_include_pad } = *self;
        let input = graph.ty(x).shape.clone();
        let dx =
            AveragePoolGrad { kernel, strides, pads_begin, pads_end, dilations, ceil, count_include_pad, input };
        Ok(vec![Some(graph.add(dx, &[dy])?)])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::new(Form::Window, Reads::All(Read::Whole))
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        Work { flops: (self.kernel[0] * self.kernel[1] * result.shape.elements(batch)) as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let (x, window) = (operands[0], self.window());
        let input = [x.shape[2], x.shape[3]];
        Array::from_fn(shape, |i| {
            let mut sum = F::zero();
            window.taps([i[2], i[3]], input, |row, column, _| sum = sum + x.at(&[i[0], i[1], row, column]));
            sum / F::of(divisor(&window, self.count_include_pad, [i[2], i[3]], input) as f64)
        })
    }

    fn samples() -> Vec<Sample> {
        let op = |kernel, stride: usize, pad: usize, ceil| AveragePool {
            kernel: [kernel; 2],
            strides: [stride; 2],
            pads_begin: [pad; 2],
            pads_end: [pad; 2],
            dilations: [1; 2],
            ceil,
            count_include_pad: pad > 0,
        };
        [
            Sample::of(op(4, 4, 0, false), &[&[2, 3, 4, 4]]),
            Sample::of(op(3, 2, 1, false), &[&[2, 2, 5, 5]]),
            Sample::of(op(3, 2, 1, true), &[&[2, 2, 4, 4]]),
            Sample::of(AveragePool { count_include_pad: false, ..op(3, 2, 1, true) }, &[&[1, 2, 4, 6]]),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
