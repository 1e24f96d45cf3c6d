//! The gradient of the leaky rectifier.

use super::{Operator, Precision, Sample, Work, check, elementwise_work, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use crate::graph::{Graph, NodeId};
use crate::types::TensorType;

operator! {
    /// `dy` where the input is positive, `alpha * dy` elsewhere; on dy, x.
    pub struct LeakyReluGrad {
        /// The slope below zero.
        alpha: Real,
    }
}

impl Operator for LeakyReluGrad {
    const NAME: &'static str = "leaky_relu_grad";

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
        let alpha = F::of(self.alpha.0);
        operands[0].zip(operands[1], |dy, x| if x <= F::zero() { alpha * dy } else { dy })
    }

    fn samples() -> Vec<Sample> {
        Sample::of(LeakyReluGrad { alpha: Real(0.1) }, &[&[2, 7], &[2, 7]]).into_iter().collect()
    }
}
