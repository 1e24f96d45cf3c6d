//! The gradient of clipping.

use super::{Operator, Precision, Sample, Work, check, elementwise_work, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::{number, x};
use crate::facts::{Facts, Numbers, Read};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

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

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        let (min, max) = (number(self.min.0), number(self.max.0));
        let below = max.at_most(x(1), number(0.0), x(0));
        let expression = x(1).at_most(min, number(0.0), below);
        Facts::map(expression, &[Read::Each; 2]).with_numbers(Numbers::Of(0)).cheap()
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        Sample::of(ClipGrad { min: Real(-0.5), max: Real(0.5) }, &[&[2, 7], &[2, 7]]).into_iter().collect()
    }
}
