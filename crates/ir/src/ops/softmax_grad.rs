//! The gradient of softmax.

use super::{Operator, Precision, Sample, Work, check, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Form, Read, Reads};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// `y * (dy - sum(y * dy))` over the last dimension, on dy, y.
    pub struct SoftmaxGrad {}
}

impl Operator for SoftmaxGrad {
    const NAME: &'static str = "softmax_grad";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [dy, y] = check::floats(operands)?;
        check::same("`dy` and `y`", dy, y)?;
        Ok(dy.clone())
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::High
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::new(Form::Rows { axes: 1 }, Reads::All(Read::Whole))
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        Work { flops: 4 * result.shape.elements(batch) as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let columns = shape.last().copied().unwrap_or(1).max(1);
        let rows = operands[0].data.chunks(columns).zip(operands[1].data.chunks(columns));
        let dx = rows.flat_map(|(dy, y)| {
            let sum: F = dy.iter().zip(y).map(|(&d, &y)| d * y).sum();
            dy.iter().zip(y).map(|(&d, &y)| y * (d - sum)).collect::<Vec<F>>()
        });
        Array::new(shape, dx.collect())
    }

    fn samples() -> Vec<Sample> {
        Sample::of(SoftmaxGrad {}, &[&[3, 4], &[3, 4]]).into_iter().collect()
    }
}
