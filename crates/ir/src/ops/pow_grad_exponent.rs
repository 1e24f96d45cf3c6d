//! The gradient of powers by the exponent.

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

operator! {
    /// `dy * base^exponent * log(base)`, on dy, base, exponent; 0 where the base is 0 and the exponent is not negative.
    pub struct PowGradExponent {}
}

impl Operator for PowGradExponent {
    const NAME: &'static str = "pow_grad_exponent";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [dy, base, exponent] = check::floats(operands)?;
        check::same("`dy` and the base", dy, base)?;
        check::same_or_scalar("base and exponent", base, exponent)?;
        Ok(base.clone())
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::High
    }

    fn facts(&self, operands: &[&Shape], result: &Shape) -> Facts {
        let reads: &[Read] = match operands.get(2) {
            Some(exponent) if *exponent != result => &[Read::Each, Read::Each, Read::Scalar],
            _ => &[Read::Each; 3],
        };
        let slope = || x(1).pow(x(2)) * x(1).log();
        let at_zero = number(0.0).at_most(x(2), number(0.0), slope());
        let not_positive = x(1).less(number(0.0), slope(), at_zero);
        Facts::map(x(0) * x(1).at_most(number(0.0), not_positive, slope()), reads)
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        Work { flops: 40 * result.shape.elements(batch) as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        let shapes: [[&[usize]; 3]; 2] = [[&[2, 5], &[2, 5], &[2, 5]], [&[2, 5], &[2, 5], &[]]];
        shapes.iter().flat_map(|s| Sample::of(PowGradExponent {}, s)).map(|s| s.within(0.3, 2.0)).collect()
    }
}
