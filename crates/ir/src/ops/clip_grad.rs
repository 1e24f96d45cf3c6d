//! The gradient of clipping.

use super::{Operator, Precision, Sample, Work, check, elementwise_work, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use crate::graph::{Graph, NodeId};
use crate::types::TensorType;

operator! {
    /// `dy` where the input lies between the bounds, 0 at them and beyond; on dy, x.
    ///
    /// So the output may stand for the input where its format holds the bounds, as for the rectifier.
    pub struct ClipGrad {
        /// The lower bound.
        min: Real,
        /// The upper bound.
        max: Real,
    }
}

impl Operator for ClipGrad {
    const NAME: &'static str = "clip_grad";

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
        let (min, max) = (F::of(self.min.0), F::of(self.max.0));
        operands[0].zip(operands[1], |dy, x| if x <= min || x >= max { F::zero() } else { dy })
    }

    fn samples() -> Vec<Sample> {
        Sample::of(ClipGrad { min: Real(-0.5), max: Real(0.5) }, &[&[2, 7], &[2, 7]]).into_iter().collect()
    }
}
