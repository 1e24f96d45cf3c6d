//! The mean per channel over batch and space.

use super::{Operator, Precision, Sample, Work, check, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Pass};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// The mean of each channel of `[N, C, …]` over all other dimensions: `[C]`.
    ///
    /// Its part in the gradient of batch normalisation is in [`super::BatchNormGradInput`].
    pub struct BatchMean {}
}

/// Sums `f(offset)` over all elements of each channel of a `[N, C, …]` array.
pub(super) fn channel_sums<F: Float>(shape: &[usize], f: impl Fn(usize, usize) -> F) -> Vec<F> {
    let inner: usize = shape[2..].iter().product();
    (0..shape[1])
        .map(|c| {
            let rows = (0..shape[0]).map(|n| (n * shape[1] + c) * inner);
            rows.map(|start| (start..start + inner).map(|i| f(c, i)).sum::<F>()).sum()
        })
        .collect()
}

/// The number of elements per channel of a `[N, C, …]` array.
pub(super) fn per_channel<F: Float>(shape: &[usize]) -> F {
    F::of((shape[0] * shape[2..].iter().product::<usize>()) as f64)
}

impl Operator for BatchMean {
    const NAME: &'static str = "batch_mean";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x] = check::floats(operands)?;
        Ok(TensorType::f32([check::channels(x)?]))
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::Full
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::reduction(vec![1]).in_pass(Pass::Mean)
    }

    fn work(&self, operands: &[&TensorType], _: &TensorType, batch: usize) -> Work {
        Work { flops: operands.first().map_or(0, |x| x.shape.elements(batch) as u64) }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let x = operands[0];
        let count = per_channel::<F>(&x.shape);
        Array::new(shape, channel_sums(&x.shape, |_, i| x.data[i]).into_iter().map(|s| s / count).collect())
    }

    fn samples() -> Vec<Sample> {
        [Sample::of(BatchMean {}, &[&[3, 2, 2, 3]]), Sample::of(BatchMean {}, &[&[4, 3]])].into_iter().flatten().collect()
    }
}
