//! The gradient of convolution with respect to its weight.

use super::conv::{conv_work, kernel, products};
use super::{Conv, Operator, Precision, Sample, Work, check, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Form, Read, Reads};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// The gradient of a convolution with respect to its weight, from the input and `dy`.
    pub struct ConvGradWeight {
        /// Steps between windows, height and width.
        strides: [usize; 2] = [1, 1],
        /// Padding above and left.
        pads_begin: [usize; 2] = [0, 0],
        /// Padding below and right.
        pads_end: [usize; 2] = [0, 0],
        /// Distances between taps.
        dilations: [usize; 2] = [1, 1],
        /// Groups of channels that do not see each other.
        groups: usize = 1,
        /// The shape of the convolution's weight.
        weight: Shape,
    }
}

impl ConvGradWeight {
    /// The convolution whose gradient this is.
    pub fn forward(&self) -> Conv {
        let ConvGradWeight { strides, pads_begin, pads_end, dilations, groups, .. } = *self;
        Conv { strides, pads_begin, pads_end, dilations, groups }
    }
}

impl Operator for ConvGradWeight {
    const NAME: &'static str = "conv_grad_weight";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x, dy] = check::floats(operands)?;
        let w = TensorType::f32(self.weight.clone());
        kernel(&w)?;
        check::same("`dy` and the convolution's result", dy, &self.forward().infer(&[x, &w])?)?;
        Ok(w)
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::Gemm
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::new(Form::Product, Reads::All(Read::Whole))
    }

    fn work(&self, operands: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        match operands {
            [_, dy] => conv_work(result, dy, batch),
            _ => Work::default(),
        }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let (x, dy) = (operands[0], operands[1]);
        let mut dw = Array::zeros(shape);
        products(&self.forward(), &x.shape, shape, &dy.shape, |i, j, k| {
            dw.data[j] = dw.data[j] + dy.data[k] * x.data[i];
        });
        dw
    }

    fn samples() -> Vec<Sample> {
        let op = |stride: usize, groups: usize, weight: &[usize]| ConvGradWeight {
            strides: [stride; 2],
            pads_begin: [1, 0],
            pads_end: [1, 1],
            dilations: [1, 1],
            groups,
            weight: Shape::fixed(weight),
        };
        [
            Sample::of(op(1, 1, &[5, 3, 3, 3]), &[&[2, 3, 4, 4], &[2, 5, 4, 3]]),
            Sample::of(op(2, 3, &[3, 1, 3, 3]), &[&[2, 3, 5, 5], &[2, 3, 3, 2]]),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
