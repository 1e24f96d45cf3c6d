//! The gradient of the Gaussian error linear unit.

use super::gelu::{CUBIC, FACTOR, tanh_argument};
use super::{Operator, Precision, Sample, Work, check, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::{number, x};
use crate::facts::{Facts, Read};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

operator! {
    /// `dy` times the derivative of Gelu at x, on dy, x.
    pub struct GeluGrad {
        /// Whether it is the form with the hyperbolic tangent.
        tanh: bool = false,
    }
}

impl Operator for GeluGrad {
    const NAME: &'static str = "gelu_grad";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [dy, x] = check::floats(operands)?;
        check::same("`dy` and `x`", dy, x)?;
        Ok(x.clone())
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        let square = || x(1) * x(1);
        let derivative = match self.tanh {
            true => {
                let tanh = || tanh_argument(1).tanh();
                let slope = number(3.0 * CUBIC * FACTOR).mul_add(square(), number(FACTOR));
                number(0.5) * ((number(1.0) + tanh()) + x(1) * slope * (number(1.0) - tanh() * tanh()))
            }
            false => {
                let density = number(0.5 * FRAC_1_SQRT_2 * FRAC_2_SQRT_PI) * (number(-0.5) * square()).exp();
                let distribution = number(0.5) * (number(1.0) + (x(1) * number(FRAC_1_SQRT_2)).erf());
                x(1).mul_add(density, distribution)
            }
        };
        Facts::map(x(0) * derivative, &[Read::Each; 2])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        Work { flops: 40 * result.shape.elements(batch) as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        let sample = |tanh| Sample::of(GeluGrad { tanh }, &[&[3, 7], &[3, 7]]).map(|s| s.within(-3.0, 3.0));
        [false, true].into_iter().filter_map(sample).collect()
    }
}
