//! The gradient of batch normalisation with respect to its scale.

use super::batch_mean::channel_sums;
use super::{Operator, Precision, Sample, Work, check, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use crate::facts::{Facts, Pass};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// The sum of `dy` times the normalised input per channel, on dy, x, mean, variance: `[C]`.
    pub struct BatchNormGradScale {
        /// Added to the variance.
        epsilon: Real,
    }
}

impl Operator for BatchNormGradScale {
    const NAME: &'static str = "batch_norm_grad_scale";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [dy, x, mean, variance] = check::floats(operands)?;
        check::same("`dy` and `x`", dy, x)?;
        check::per_channel("the mean", mean, x)?;
        check::per_channel("the variance", variance, x)?;
        Ok(mean.clone())
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::Full
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::reduction(vec![1]).in_pass(Pass::ScaleGradient)
    }

    fn work(&self, operands: &[&TensorType], _: &TensorType, batch: usize) -> Work {
        Work { flops: operands.first().map_or(0, |dy| 3 * dy.shape.elements(batch) as u64) }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let [dy, x, mean, variance] = [0, 1, 2, 3].map(|k| operands[k]);
        let epsilon = F::of(self.epsilon.0);
        let sums = channel_sums(&x.shape, |c, i| dy.data[i] * (x.data[i] - mean.data[c]));
        let scaled = sums.iter().zip(&variance.data).map(|(&s, &v)| s / (v + epsilon).sqrt()).collect();
        Array::new(shape, scaled)
    }

    fn samples() -> Vec<Sample> {
        let op = BatchNormGradScale { epsilon: Real(1e-5) };
        let shapes: [&[usize]; 4] = [&[3, 2, 2, 3], &[3, 2, 2, 3], &[2], &[2]];
        Sample::of(op, &shapes).map(|s| s.within(0.1, 2.0)).into_iter().collect()
    }
}
