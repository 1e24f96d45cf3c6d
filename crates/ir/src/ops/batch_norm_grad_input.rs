//! The gradient of batch normalisation with respect to its input.

use super::batch_mean::per_channel;
use super::{Operator, Precision, Sample, Work, check, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use crate::graph::{Graph, NodeId};
use crate::types::TensorType;

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

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        Work { flops: 5 * result.shape.elements(batch) as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let count = per_channel::<F>(shape);
        let epsilon = F::of(self.epsilon.0);
        Array::from_fn(shape, |i| {
            let [mean, variance, scale, dscale, dbias] = [2, 3, 4, 5, 6].map(|k| operands[k].data[i[1]]);
            let deviation = (variance + epsilon).sqrt();
            let normalised = (operands[1].at(i) - mean) / deviation;
            scale / deviation * (operands[0].at(i) - dbias / count - normalised * dscale / count)
        })
    }

    fn samples() -> Vec<Sample> {
        let op = BatchNormGradInput { epsilon: Real(1e-5) };
        let shapes: [&[usize]; 7] = [&[3, 2, 2, 3], &[3, 2, 2, 3], &[2], &[2], &[2], &[2], &[2]];
        Sample::of(op, &shapes).map(|s| s.within(0.1, 2.0)).into_iter().collect()
    }
}
