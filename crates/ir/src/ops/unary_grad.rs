//! The gradient of a function of every element.

use super::unary::{FLOPS, samples};
use super::{Operator, Precision, Sample, Work, check, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::x;
use crate::facts::{Facts, Read};
use crate::unary_function::UnaryFunction;
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// `dy` times the function's derivative at x, on dy, x.
    pub struct UnaryGrad {
        /// Which function.
        function: UnaryFunction,
        /// The function's parameter.
        alpha: Real = Real(1.0),
        /// The factor of the function's result.
        gamma: Real = Real(1.0),
    }
}

impl Operator for UnaryGrad {
    const NAME: &'static str = "unary_grad";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [dy, x] = check::floats(operands)?;
        check::same("`dy` and `x`", dy, x)?;
        Ok(x.clone())
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        let facts = Facts::map(x(0) * self.function.slope(1, self.alpha.0, self.gamma.0), &[Read::Each; 2]);
        if self.function.is_cheap() { facts.cheap() } else { facts }
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        Work { flops: FLOPS * result.shape.elements(batch) as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        samples(|function, alpha, gamma| Sample::of(UnaryGrad { function, alpha, gamma }, &[&[3, 7], &[3, 7]]))
    }
}
