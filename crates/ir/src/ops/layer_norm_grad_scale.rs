//! The gradient of a normalisation of rows with respect to its scale.

use super::layer_normalization::{normalised, row};
use super::{Operator, Precision, Sample, Work, check, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use crate::facts::Facts;
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// The sum over the rows of `dy` times the normalised input, on dy, x: shaped like a row.
    pub struct LayerNormGradScale {
        /// The first dimension of a row.
        axis: usize,
        /// Added to the variance.
        epsilon: Real,
    }
}

impl Operator for LayerNormGradScale {
    const NAME: &'static str = "layer_norm_grad_scale";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [dy, x] = check::floats(operands)?;
        check::same("`dy` and `x`", dy, x)?;
        Ok(TensorType::f32(row(x, self.axis)?))
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::Full
    }

    fn facts(&self, operands: &[&Shape], _: &Shape) -> Facts {
        Facts::reduction((self.axis..operands.first().map_or(0, |dy| dy.rank())).collect())
    }

    fn work(&self, operands: &[&TensorType], _: &TensorType, batch: usize) -> Work {
        Work { flops: operands.first().map_or(0, |dy| 8 * dy.shape.elements(batch) as u64) }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let (dy, x) = (operands[0], operands[1]);
        let mut sums: Array<F> = Array::zeros(shape);
        let columns = sums.data.len().max(1);
        for (dy, x) in dy.data.chunks(columns).zip(x.data.chunks(columns)) {
            let (z, _) = normalised(x, self.epsilon);
            sums.data.iter_mut().zip(dy).zip(z).for_each(|((sum, &d), z)| *sum = *sum + d * z);
        }
        sums
    }

    fn samples() -> Vec<Sample> {
        let of = |axis, shapes: &[&[usize]]| Sample::of(LayerNormGradScale { axis, epsilon: Real(1e-2) }, shapes);
        [of(1, &[&[3, 7], &[3, 7]]), of(2, &[&[2, 3, 4, 2], &[2, 3, 4, 2]])].into_iter().flatten().collect()
    }
}
