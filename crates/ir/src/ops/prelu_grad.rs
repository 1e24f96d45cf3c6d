//! The gradient of the parametric rectifier.

use super::prelu::{check_slope, slope_read};
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
    /// `dy` where x is positive, `slope * dy` elsewhere; on dy, x, slope.
    pub struct PreluGrad {}
}

impl Operator for PreluGrad {
    const NAME: &'static str = "prelu_grad";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [dy, x, slope] = check::floats(operands)?;
        check::same("`dy` and `x`", dy, x)?;
        check_slope(x, slope)?;
        Ok(dy.clone())
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, operands: &[&Shape], result: &Shape) -> Facts {
        let reads: &[Read] = match slope_read(operands.get(2), result) {
            Read::Channel => &[Read::Each, Read::Each, Read::Channel],
            Read::Scalar => &[Read::Each, Read::Each, Read::Scalar],
            _ => &[Read::Each; 3],
        };
        Facts::map(x(1).at_most(number(0.0), x(2) * x(0), x(0)), reads).cheap()
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        let shapes: [[&[usize]; 3]; 3] =
            [[&[2, 3, 5], &[2, 3, 5], &[3, 1]], [&[2, 7], &[2, 7], &[]], [&[2, 7], &[2, 7], &[2, 7]]];
        shapes.iter().filter_map(|s| Sample::of(PreluGrad {}, s)).collect()
    }
}
