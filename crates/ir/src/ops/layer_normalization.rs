//! Normalisation of each row.

use super::{LayerNormGradInput, LayerNormGradScale, Operator, Precision, Sample, Work, check};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use crate::facts::{Facts, Form, Read, Reads};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// `(x - mean) / sqrt(variance + epsilon) * scale + bias`, on x, scale and an optional bias (ONNX LayerNormalization).
    ///
    /// Each row has its own mean and biased variance. A row is everything from dimension `axis` on, and scale and bias are
    /// shaped like one.
    pub struct LayerNormalization {
        /// The first dimension of a row.
        axis: usize,
        /// Added to the variance.
        epsilon: Real,
    }
}

/// The shape of a row of `x`: its dimensions from `axis` on.
pub(super) fn row(x: &TensorType, axis: usize) -> Result<Shape, Reason> {
    match x.shape.0.get(axis..) {
        Some(dims) if !dims.is_empty() => Ok(Shape(dims.to_vec())),
        _ => Err(Reason::new(format!("axis {axis} is not a dimension of {}", x.shape))),
    }
}

/// Checks that a tensor is shaped like a row of `x`.
pub(super) fn check_row(what: &str, vector: &TensorType, x: &TensorType, axis: usize) -> Result<(), Reason> {
    let row = row(x, axis)?;
    match vector.shape == row {
        true => Ok(()),
        false => Err(Reason::new(format!("the {what} must have the shape {row}, but is {}", vector.shape))),
    }
}

/// The facts of an operator that computes rows from dimension `axis` on.
pub(super) fn row_facts(axis: usize, result: &Shape) -> Facts {
    Facts::new(Form::Rows { axes: result.rank().saturating_sub(axis) }, Reads::All(Read::Whole))
}

/// A row without its mean, divided by the deviation, and the reciprocal of that deviation.
pub(super) fn normalised<F: Float>(row: &[F], epsilon: Real) -> (Vec<F>, F) {
    let count = F::of(row.len() as f64);
    let mean = row.iter().copied().sum::<F>() / count;
    let variance = row.iter().map(|&x| (x - mean).powi(2)).sum::<F>() / count;
    let reciprocal = F::one() / (variance + F::of(epsilon.0)).sqrt();
    (row.iter().map(|&x| (x - mean) * reciprocal).collect(), reciprocal)
}

impl Operator for LayerNormalization {
    const NAME: &'static str = "layer_normalization";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        check::all_floats(operands)?;
        let (x, scale, bias) = match *operands {
            [x, scale] => (x, scale, None),
            [x, scale, bias] => (x, scale, Some(bias)),
            _ => return Err(Reason::new(format!("needs 2 or 3 operands, has {}", operands.len()))),
        };
        check_row("scale", scale, x, self.axis)?;
        bias.map_or(Ok(()), |bias| check_row("bias", bias, x, self.axis))?;
        Ok(x.clone())
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let LayerNormalization { axis, epsilon } = *self;
        let (x, scale) = (graph.operand(node, 0)?, graph.operand(node, 1)?);
        let dx = graph.add(LayerNormGradInput { axis, epsilon }, &[dy, x, scale])?;
        let dscale = graph.add(LayerNormGradScale { axis, epsilon }, &[dy, x])?;
        let has_bias = graph.operands(node).len() > 2;
        // A bias is broadcast, so that its gradient is the result's.
        Ok([Some(dx), Some(dscale)].into_iter().chain(has_bias.then_some(Some(dy))).collect())
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], result: &Shape) -> Facts {
        row_facts(self.axis, result)
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        Work { flops: 8 * result.shape.elements(batch) as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let (x, scale, bias) = (operands[0], operands[1], operands.get(2));
        let bias = |i: usize| bias.map_or(F::zero(), |bias| bias.data[i]);
        let rows = x.data.chunks(scale.data.len().max(1)).flat_map(|row| {
            let (row, _) = normalised(row, self.epsilon);
            row.into_iter().zip(&scale.data).enumerate().map(|(i, (x, &s))| x * s + bias(i)).collect::<Vec<F>>()
        });
        Array::new(shape, rows.collect())
    }

    fn samples() -> Vec<Sample> {
        let of = |axis, epsilon, shapes: &[&[usize]]| {
            Sample::of(LayerNormalization { axis, epsilon: Real(epsilon) }, shapes)
        };
        let samples = [
            of(1, 1e-5, &[&[3, 7], &[7], &[7]]),
            of(2, 1e-5, &[&[2, 3, 5], &[5]]),
            of(1, 0.1, &[&[2, 3, 4, 2], &[3, 4, 2], &[3, 4, 2]]),
        ];
        samples.into_iter().flatten().collect()
    }
}
