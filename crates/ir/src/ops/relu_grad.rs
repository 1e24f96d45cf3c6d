//! The gradient of the rectifier.

use super::{Operator, Precision, Sample, Work, check, elementwise_work, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::{number, x};
use crate::facts::{Facts, Numbers, Read};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// `dy` where the input is positive, 0 elsewhere; on dy, x. At 0 the gradient is 0.
    ///
    /// The output may stand for the input where it is stored in the same format or in FP32.
    pub struct ReluGrad {}
}

impl Operator for ReluGrad {
    const NAME: &'static str = "relu_grad";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [dy, other] = check::floats(operands)?;
        check::same("the operands", dy, other)?;
        Ok(dy.clone())
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::map(x(1).at_most(number(0.0), number(0.0), x(0)), &[Read::Each; 2]).with_numbers(Numbers::Of(0)).cheap()
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        Sample::of(ReluGrad {}, &[&[2, 7], &[2, 7]]).into_iter().collect()
    }
}
