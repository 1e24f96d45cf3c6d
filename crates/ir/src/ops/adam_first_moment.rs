//! The first moment of Adam.

use super::{Operator, Precision, Sample, Work, check, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::{number, x};
use crate::facts::{Facts, Read};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// `beta * moment + (1 - beta) * gradient * inverse_scale`.
    ///
    /// On moment, gradient, inverse scale, finite; where `finite` is 0 the result is the moment as it was.
    pub struct AdamFirstMoment {
        /// The weight of the old moment.
        beta: Real,
    }
}

impl Operator for AdamFirstMoment {
    const NAME: &'static str = "adam_first_moment";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [moment, gradient, inverse_scale, finite] = check::floats(operands)?;
        check::same("moment and gradient", moment, gradient)?;
        check::scalar("inverse scale", inverse_scale)?;
        check::scalar("finite", finite)?;
        Ok(moment.clone())
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::Full
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        let beta = || number(self.beta.0);
        let expression = beta().mul_add(x(0), (number(1.0) - beta()) * (x(1) * x(2))).if_finite(3);
        Facts::map(expression, &[Read::Each, Read::Each, Read::Scalar, Read::Scalar])
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        Work { flops: 4 * result.shape.elements(batch) as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        Sample::of(AdamFirstMoment { beta: Real(0.9) }, &[&[5], &[5], &[], &[]]).map(|s| s.within(0.1, 1.0)).into_iter().collect()
    }
}
