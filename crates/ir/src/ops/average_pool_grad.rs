//! The gradient of average pooling.

use super::{Operator, Precision, Sample, Window, Work, average_pool::divisor, check, elementwise_work, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Form, Read, Reads};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// The gradient of average pooling: each element of `dy` is shared among its window; on dy.
    pub struct AveragePoolGrad {
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
        /// The shape of the pooled tensor.
        input: Shape,
    }
}

impl AveragePoolGrad {
    /// The sliding window.
    pub fn window(&self) -> Window {
        let AveragePoolGrad { kernel, strides, pads_begin, pads_end, dilations, ceil, .. } = *self;
        Window { kernel, strides, pads_begin, pads_end, dilations, ceil }
    }
}

impl Operator for AveragePoolGrad {
    const NAME: &'static str = "average_pool_grad";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [dy] = check::floats(operands)?;
        let x = TensorType::f32(self.input.clone());
        let y = TensorType::f32(self.window().infer(&x, check::channels(&x)?)?);
        check::same("`dy` and the pooled tensor", dy, &y)?;
        Ok(x)
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::new(Form::Window, Reads::All(Read::Whole))
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let (dy, window) = (operands[0], self.window());
        let input = [shape[2], shape[3]];
        let mut dx = Array::zeros(shape);
        Array::from_fn(&dy.shape, |i| {
            let count = F::of(divisor(&window, self.count_include_pad, [i[2], i[3]], input) as f64);
            window.taps([i[2], i[3]], input, |row, column, _| {
                let at = dx.offset(&[i[0], i[1], row, column]);
                dx.data[at] = dx.data[at] + dy.at(i) / count;
            });
            F::zero()
        });
        dx
    }

    fn samples() -> Vec<Sample> {
        let op = |count_include_pad| AveragePoolGrad {
            kernel: [3; 2],
            strides: [2; 2],
            pads_begin: [1; 2],
            pads_end: [1; 2],
            dilations: [1; 2],
            ceil: true,
            count_include_pad,
            input: Shape::fixed(&[2, 2, 4, 4]),
        };
        [true, false].into_iter().flat_map(|pad| Sample::of(op(pad), &[&[2, 2, 3, 3]])).collect()
    }
}
