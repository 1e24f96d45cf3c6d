//! The gradient of batch normalisation with respect to its input.

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
    /// `scale / sqrt(variance + epsilon) * (dy - dbias / M - normalised x * dscale / M)` with M elements per channel, on
    /// dy, x, mean, variance, scale, dscale, dbias: the whole derivative, through the statistics too.
    pub struct BatchNormGradInput {
        /// Added to the variance.
        epsilon: Real,
    }
}

impl Operator for BatchNormGradInput {
    const NAME: &'static str = "batch_norm_grad_input";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [dy, x, vectors @ ..]: [&TensorType; 7] = check::floats(operands)?;
        check::same("`dy` and `x`", dy, x)?;
        for (what, vector) in ["mean", "variance", "scale", "dscale", "dbias"].iter().zip(vectors) {
            check::per_channel(what, vector, x)?;
        }
        Ok(x.clone())
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        const READS: [Read; 7] = {
            let [each, channel] = [Read::Each, Read::Channel];
            [each, each, channel, channel, channel, channel, channel]
        };
        let [dy, x, mean, variance, scale, dscale, dbias] = [0, 1, 2, 3, 4, 5, 6].map(Expression::Operand);
        let deviation = (variance + number(self.epsilon.0)).sqrt();
        let count = Expression::PerChannel(1);
        let normalised = (x - mean) / deviation.clone();
        let through_statistics = (dbias + normalised * dscale) / count;
        Facts::map(scale / deviation * (dy - through_statistics), &READS)
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        Work { flops: 5 * result.shape.elements(batch) as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        let op = BatchNormGradInput { epsilon: Real(1e-5) };
        let shapes: [&[usize]; 7] = [&[3, 2, 2, 3], &[3, 2, 2, 3], &[2], &[2], &[2], &[2], &[2]];
        Sample::of(op, &shapes).map(|s| s.within(0.1, 2.0)).into_iter().collect()
    }
}
