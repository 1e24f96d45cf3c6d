//! The gradient of a normalisation of rows with respect to its input.

use super::layer_normalization::{check_row, normalised, row_facts};
use super::{Operator, Precision, Sample, Work, check, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use crate::facts::Facts;
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// `(g - mean(g) - z * mean(g * z)) / sqrt(variance + epsilon)` in each row, with `g = dy * scale` and the normalised
    /// input `z`, on dy, x, scale: the whole derivative, through the statistics too.
    ///
    /// The statistics are computed again from the row: storing them would cost two tensors and save one pass over a row that
    /// lies in the cache.
    pub struct LayerNormGradInput {
        /// The first dimension of a row.
        axis: usize,
        /// Added to the variance.
        epsilon: Real,
    }
}

impl Operator for LayerNormGradInput {
    const NAME: &'static str = "layer_norm_grad_input";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [dy, x, scale] = check::floats(operands)?;
        check::same("`dy` and `x`", dy, x)?;
        check_row("scale", scale, x, self.axis)?;
        Ok(x.clone())
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], result: &Shape) -> Facts {
        row_facts(self.axis, result)
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        Work { flops: 13 * result.shape.elements(batch) as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let [dy, x, scale] = [0, 1, 2].map(|k| operands[k]);
        let columns = scale.data.len().max(1);
        let rows = dy.data.chunks(columns).zip(x.data.chunks(columns)).flat_map(|(dy, x)| {
            let (z, reciprocal) = normalised(x, self.epsilon);
            let g: Vec<F> = dy.iter().zip(&scale.data).map(|(&d, &s)| d * s).collect();
            let count = F::of(g.len() as f64);
            let mean = g.iter().copied().sum::<F>() / count;
            let product = g.iter().zip(&z).map(|(&g, &z)| g * z).sum::<F>() / count;
            g.iter().zip(&z).map(|(&g, &z)| (g - mean - z * product) * reciprocal).collect::<Vec<F>>()
        });
        Array::new(shape, rows.collect())
    }

    fn samples() -> Vec<Sample> {
        let of = |axis, shapes: &[&[usize]]| Sample::of(LayerNormGradInput { axis, epsilon: Real(1e-2) }, shapes);
        let samples = [of(1, &[&[3, 7], &[3, 7], &[7]]), of(2, &[&[2, 3, 4, 2], &[2, 3, 4, 2], &[4, 2]])];
        samples.into_iter().flatten().collect()
    }
}
