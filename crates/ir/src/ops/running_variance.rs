//! The running average of the unbiased variance.

use super::{Operator, Precision, Sample, Work, check, elementwise_work, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::{Expression, number, x};
use crate::facts::{Facts, Read};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// `(1 - momentum) * running + momentum * variance * M / (M - 1)`, on running, biased variance and the `[N, C, …]`
    /// tensor that it is of, which is asked only for M, its elements per channel (with M = 1 the factor is 1).
    pub struct RunningVariance {
        /// The weight of the new value (PyTorch's sense; one minus ONNX's).
        momentum: Real,
    }
}

impl RunningVariance {
    /// `M / (M - 1)`, or 1 for M = 1.
    pub fn correction(elements: f64) -> f64 {
        if elements > 1.0 { elements / (elements - 1.0) } else { 1.0 }
    }
}

impl Operator for RunningVariance {
    const NAME: &'static str = "running_variance";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [running, variance, x] = check::floats(operands)?;
        check::same("average and variance", running, variance)?;
        check::per_channel("the variance", variance, x)?;
        Ok(running.clone())
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::Full
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        let (momentum, count) = (|| number(self.momentum.0), || Expression::PerChannel(2));
        let correction = count().at_most(number(1.0), number(1.0), count() / (count() - number(1.0)));
        let expression = (number(1.0) - momentum()) * x(0) + momentum() * correction * x(1);
        Facts::map(expression, &[Read::Each, Read::Each, Read::Shape])
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        Sample::of(RunningVariance { momentum: Real(0.1) }, &[&[3], &[3], &[2, 3, 2, 2]]).into_iter().collect()
    }
}
