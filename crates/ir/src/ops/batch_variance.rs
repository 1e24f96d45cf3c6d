//! The variance per channel over batch and space.

use super::batch_mean::{channel_sums, per_channel};
use super::{Operator, Precision, Sample, Work, check, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Pass};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// The biased variance of each channel of `[N, C, …]`, given the means `[C]`: `[C]`.
    ///
    /// Its part in the gradient of batch normalisation is in [`super::BatchNormGradInput`].
    pub struct BatchVariance {}
}

impl Operator for BatchVariance {
    const NAME: &'static str = "batch_variance";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x, mean] = check::floats(operands)?;
        check::per_channel("the mean", mean, x)?;
        Ok(mean.clone())
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::Full
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::reduction(vec![1]).in_pass(Pass::Variance)
    }

    fn work(&self, operands: &[&TensorType], _: &TensorType, batch: usize) -> Work {
        Work { flops: operands.first().map_or(0, |x| 3 * x.shape.elements(batch) as u64) }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let (x, mean) = (operands[0], operands[1]);
        let count = per_channel::<F>(&x.shape);
        let squares = channel_sums(&x.shape, |c, i| (x.data[i] - mean.data[c]).powi(2));
        Array::new(shape, squares.into_iter().map(|s| s / count).collect())
    }

    fn samples() -> Vec<Sample> {
        let of = |shapes: &[&[usize]]| Sample::of(BatchVariance {}, shapes);
        [of(&[&[3, 2, 2, 3], &[2]]), of(&[&[4, 3], &[3]])].into_iter().flatten().collect()
    }
}
