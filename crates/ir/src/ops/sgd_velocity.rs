//! Momentum of stochastic gradient descent.

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
    /// `momentum * velocity + gradient * inverse_scale + weight_decay * parameter` (PyTorch SGD without dampening).
    ///
    /// On velocity, parameter, gradient, inverse scale, finite; where `finite` is 0 the result is the velocity as it was.
    pub struct SgdVelocity {
        /// The factor of the old velocity.
        momentum: Real,
        /// The factor of the parameter.
        weight_decay: Real,
    }
}

impl Operator for SgdVelocity {
    const NAME: &'static str = "sgd_velocity";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [velocity, parameter, gradient, inverse_scale, finite] = check::floats(operands)?;
        check::same("velocity and parameter", velocity, parameter)?;
        check::same("velocity and gradient", velocity, gradient)?;
        check::scalar("inverse scale", inverse_scale)?;
        check::scalar("finite", finite)?;
        Ok(velocity.clone())
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::Full
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        let decayed = x(2).mul_add(x(3), number(self.weight_decay.0) * x(1));
        let expression = number(self.momentum.0).mul_add(x(0), decayed).if_finite(4);
        Facts::map(expression, &[Read::Each, Read::Each, Read::Each, Read::Scalar, Read::Scalar])
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        Work { flops: 5 * result.shape.elements(batch) as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        Sample::of(SgdVelocity { momentum: Real(0.9), weight_decay: Real(5e-4) }, &[&[5], &[5], &[5], &[], &[]]).map(|s| s.within(0.1, 1.0)).into_iter().collect()
    }
}
