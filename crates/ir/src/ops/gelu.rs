//! Gaussian error linear unit.

use super::{GeluGrad, Operator, Precision, Sample, Work, check};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::{Expression, number, x};
use crate::facts::{Facts, Read};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

operator! {
    /// `x / 2 * (1 + erf(x / sqrt 2))`, or `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))` (ONNX Gelu).
    pub struct Gelu {
        /// Whether it is the form with the hyperbolic tangent.
        tanh: bool = false,
    }
}

/// The factor of `x^3` in the form with the hyperbolic tangent, and what the whole argument is multiplied by.
pub(super) const CUBIC: f64 = 0.044_715;
pub(super) const FACTOR: f64 = FRAC_1_SQRT_2 * FRAC_2_SQRT_PI;

/// `sqrt(2 / pi) * (x + 0.044715 x^3)`, of an operand.
pub(super) fn tanh_argument(operand: usize) -> Expression {
    let x = || x(operand);
    number(FACTOR) * (number(CUBIC) * (x() * x())).mul_add(x(), x())
}

impl Operator for Gelu {
    const NAME: &'static str = "gelu";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x] = check::floats(operands)?;
        Ok(x.clone())
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let x = graph.operand(node, 0)?;
        Ok(vec![Some(graph.add(GeluGrad { tanh: self.tanh }, &[dy, x])?)])
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        let sigmoidal = match self.tanh {
            true => tanh_argument(0).tanh(),
            false => (x(0) * number(FRAC_1_SQRT_2)).erf(),
        };
        Facts::map(number(0.5) * x(0) * (number(1.0) + sigmoidal), &[Read::Each])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        Work { flops: 20 * result.shape.elements(batch) as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        let sample = |tanh| Sample::of(Gelu { tanh }, &[&[3, 7]]).map(|s| s.within(-3.0, 3.0));
        [false, true].into_iter().filter_map(sample).collect()
    }
}
