//! The gradient of the rectifier.

use super::{Operator, Precision, Sample, Work, check, elementwise_work, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::graph::{Graph, NodeId};
use crate::types::TensorType;

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

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], _: &[usize]) -> Array<F> {
        operands[0].zip(operands[1], |dy, y| if y <= F::zero() { F::zero() } else { dy })
    }

    fn samples() -> Vec<Sample> {
        Sample::of(ReluGrad {}, &[&[2, 7], &[2, 7]]).into_iter().collect()
    }
}
