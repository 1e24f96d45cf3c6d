//! The step of stochastic gradient descent.

use super::{Operator, Precision, Sample, Work, check, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::{x};
use crate::facts::{Facts, Read};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// `parameter - learning_rate * velocity`.
    ///
    /// On parameter, velocity, learning rate, finite; where `finite` is 0 the result is the parameter as it was.
    pub struct SgdParameter {}
}

impl Operator for SgdParameter {
    const NAME: &'static str = "sgd_parameter";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [parameter, velocity, learning_rate, finite] = check::floats(operands)?;
        check::same("parameter and velocity", parameter, velocity)?;
        check::scalar("learning rate", learning_rate)?;
        check::scalar("finite", finite)?;
        Ok(parameter.clone())
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::Full
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        let expression = (-x(2)).mul_add(x(1), x(0)).if_finite(3);
        Facts::map(expression, &[Read::Each, Read::Each, Read::Scalar, Read::Scalar])
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        Work { flops: 2 * result.shape.elements(batch) as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        Sample::of(SgdParameter {}, &[&[5], &[5], &[], &[]]).map(|s| s.within(0.1, 1.0)).into_iter().collect()
    }
}
