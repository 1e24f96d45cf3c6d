//! The gradient of convolution with respect to its input.

use super::conv::{conv_work, kernel, products};
use super::{Conv, ConvGradWeight, Operator, Precision, Sample, Work, check};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Form, Read, Reads};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// The gradient of a convolution with respect to its input, from `dy` and the weight (ONNX ConvTranspose).
    pub struct ConvGradInput {
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
        /// The shape of the convolution's input.
        input: Shape,
    }
}

impl ConvGradInput {
    /// The convolution whose gradient this is.
    pub fn forward(&self) -> Conv {
        let ConvGradInput { strides, pads_begin, pads_end, dilations, groups, .. } = *self;
        Conv { strides, pads_begin, pads_end, dilations, groups }
    }
}

impl Operator for ConvGradInput {
    const NAME: &'static str = "conv_grad_input";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [dy, w] = check::floats(operands)?;
        kernel(w)?;
        let x = TensorType::f32(self.input.clone());
        check::same("`dy` and the convolution's result", dy, &self.forward().infer(&[&x, w])?)?;
        Ok(x)
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let (x, w) = (graph.operand(node, 0)?, graph.operand(node, 1)?);
        let Conv { strides, pads_begin, pads_end, dilations, groups } = self.forward();
        let weight = ConvGradWeight { strides, pads_begin, pads_end, dilations, groups, weight: graph.ty(w).shape.clone() };
        Ok(vec![Some(graph.add(self.forward(), &[dy, w])?), Some(graph.add(weight, &[dy, x])?)])
    }

    fn precision(&self) -> Precision {
        Precision::Gemm
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::new(Form::Product, Reads::All(Read::Whole))
    }

    fn work(&self, operands: &[&TensorType], _: &TensorType, batch: usize) -> Work {
        match operands {
            [dy, w] => conv_work(w, dy, batch),
            _ => Work::default(),
        }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let (dy, w) = (operands[0], operands[1]);
        let mut dx = Array::zeros(shape);
        products(&self.forward(), shape, &w.shape, &dy.shape, |i, j, k| {
            dx.data[i] = dx.data[i] + dy.data[k] * w.data[j];
        });
        dx
    }

    fn samples() -> Vec<Sample> {
        let op = |stride: usize, groups: usize, input: &[usize]| ConvGradInput {
            strides: [stride; 2],
            pads_begin: [1, 0],
            pads_end: [1, 1],
            dilations: [1, 1],
            groups,
            input: Shape::fixed(input),
        };
        [
            Sample::of(op(1, 1, &[2, 3, 4, 4]), &[&[2, 5, 4, 3], &[5, 3, 3, 3]]),
            Sample::of(op(2, 3, &[2, 3, 5, 5]), &[&[2, 3, 3, 2], &[3, 1, 3, 3]]),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
