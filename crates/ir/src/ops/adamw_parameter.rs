//! The step of AdamW.

use super::{Operator, Precision, Sample, Work, check, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::{Expression, number};
use crate::facts::{Facts, Read};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// `parameter * (1 - learning_rate * weight_decay) - learning_rate * (m / first_bias) / (sqrt(v / second_bias) + epsilon)`.
    ///
    /// On parameter, first moment, second moment, learning rate, first bias, second bias, finite; where `finite` is 0 the result is the parameter as it was.
    pub struct AdamwParameter {
        /// The decoupled weight decay.
        weight_decay: Real,
        /// Added to the denominator.
        epsilon: Real,
    }
}

impl Operator for AdamwParameter {
    const NAME: &'static str = "adamw_parameter";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [parameter, first_moment, second_moment, learning_rate, first_bias, second_bias, finite] = check::floats(operands)?;
        check::same("parameter and first_moment", parameter, first_moment)?;
        check::same("parameter and second_moment", parameter, second_moment)?;
        check::scalar("learning rate", learning_rate)?;
        check::scalar("first bias", first_bias)?;
        check::scalar("second bias", second_bias)?;
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
        const READS: [Read; 7] = {
            let [each, scalar] = [Read::Each, Read::Scalar];
            [each, each, each, scalar, scalar, scalar, scalar]
        };
        let [parameter, first, second, rate, first_bias, second_bias] = [0, 1, 2, 3, 4, 5].map(Expression::Operand);
        let step = rate.clone() * (first / first_bias) / ((second / second_bias).sqrt() + number(self.epsilon.0));
        let kept = (-rate).mul_add(number(self.weight_decay.0), number(1.0));
        Facts::map(parameter.mul_add(kept, -step).if_finite(6), &READS)
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        Work { flops: 10 * result.shape.elements(batch) as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        Sample::of(AdamwParameter { weight_decay: Real(0.01), epsilon: Real(1e-8) }, &[&[5], &[5], &[5], &[], &[], &[], &[]]).map(|s| s.within(0.1, 1.0)).into_iter().collect()
    }
}
