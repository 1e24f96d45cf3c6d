//! The positions of the maxima of max pooling.

use super::{Operator, Precision, Sample, Window, Work, check, max_pool::winner, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Form, Pass, Read, Reads};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{DType, Shape, TensorType};

operator! {
    /// Where in each window of `[N, C, H, W]` the first maximum is: the tap, row by row.
    pub struct MaxPoolIndices {
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

impl MaxPoolIndices {
    /// The sliding window.
    pub fn window(&self) -> Window {
        let MaxPoolIndices { kernel, strides, pads_begin, pads_end, dilations, ceil, .. } = *self;
        Window { kernel, strides, pads_begin, pads_end, dilations, ceil }
    }
}

impl Operator for MaxPoolIndices {
    const NAME: &'static str = "max_pool_indices";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x] = check::floats(operands)?;
        if self.kernel[0].saturating_mul(self.kernel[1]) > 256 {
            return Err(Reason::new("max pooling windows of more than 256 elements cannot be trained; use smaller windows"));
        }
        Ok(TensorType { dtype: DType::Index8, shape: self.window().infer(x, check::channels(x)?)? })
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::Full
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::new(Form::Window, Reads::All(Read::Whole)).in_pass(Pass::MaximumIndex(self.window()))
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        Work { flops: (self.kernel[0] * self.kernel[1] * result.shape.elements(batch)) as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let x = operands[0];
        Array::from_fn(shape, |i| F::of(winner(&self.window(), x, i).map_or(0, |(_, tap)| tap) as f64))
    }

    fn samples() -> Vec<Sample> {
        let op = |kernel, stride: usize, pad: usize, ceil| MaxPoolIndices {
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
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
