//! The gradient of the larger or smaller of two elements.

use super::{Operator, Precision, Sample, Work, check, elementwise_work, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::{number, x};
use crate::facts::{Facts, Read};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// `dy` where the first operand was taken, half of it where both are equal, else 0; on dy, that operand, the other.
    pub struct ExtremumGrad {
        /// Whether the smaller one is taken.
        least: bool = false,
    }
}

impl Operator for ExtremumGrad {
    const NAME: &'static str = "extremum_grad";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [dy, a, b] = check::floats(operands)?;
        check::same("`dy` and the operand", dy, a)?;
        check::same("the operands", a, b)?;
        Ok(a.clone())
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        let (below, above) = if self.least { (x(0), number(0.0)) } else { (number(0.0), x(0)) };
        let not_below = x(2).less(x(1), above, number(0.5) * x(0));
        Facts::map(x(1).less(x(2), below, not_below), &[Read::Each; 3]).cheap()
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        let sample = |least| Sample::of(ExtremumGrad { least }, &[&[2, 7], &[2, 7], &[2, 7]]);
        [false, true].into_iter().filter_map(sample).collect()
    }
}
