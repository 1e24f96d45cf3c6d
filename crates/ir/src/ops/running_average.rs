//! The running average of a statistic.

use super::{Operator, Precision, Sample, Work, check, elementwise_work, no_derivative};
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
    /// `(1 - momentum) * running + momentum * statistic`, on running, statistic.
    pub struct RunningAverage {
        /// The weight of the new value (PyTorch's sense; one minus ONNX's).
        momentum: Real,
    }
}

impl Operator for RunningAverage {
    const NAME: &'static str = "running_average";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [running, statistic] = check::floats(operands)?;
        check::same("average and statistic", running, statistic)?;
        Ok(running.clone())
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::Full
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        let momentum = || number(self.momentum.0);
        Facts::map((number(1.0) - momentum()) * x(0) + momentum() * x(1), &[Read::Each; 2])
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        Sample::of(RunningAverage { momentum: Real(0.1) }, &[&[3], &[3]]).into_iter().collect()
    }
}
