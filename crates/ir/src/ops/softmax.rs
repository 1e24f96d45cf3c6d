//! Softmax.

use super::{Operator, Precision, Sample, SoftmaxGrad, Work, check};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Form, Read, Reads};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// `exp(x) / sum(exp(x))` over the last dimension; its gradient comes from the output (ONNX Softmax).
    pub struct Softmax {}
}

/// Each row (the last dimension) through a function.
pub(super) fn by_row<F: Float>(x: &Array<F>, shape: &[usize], f: impl Fn(&[F]) -> Vec<F>) -> Array<F> {
    let columns = shape.last().copied().unwrap_or(1).max(1);
    Array::new(shape, x.data.chunks(columns).flat_map(f).collect())
}

/// The largest element of a row.
pub(super) fn largest<F: Float>(row: &[F]) -> F {
    row.iter().copied().fold(F::neg_infinity(), F::max)
}

impl Operator for Softmax {
    const NAME: &'static str = "softmax";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x] = check::floats(operands)?;
        if x.shape.rank() == 0 {
            return Err(Reason::new("needs at least one dimension"));
        }
        Ok(x.clone())
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Ok(vec![Some(graph.add(SoftmaxGrad {}, &[dy, node])?)])
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
        by_row(operands[0], shape, |row| {
            let max = largest(row);
            let sum: F = row.iter().map(|&x| (x - max).exp()).sum();
            row.iter().map(|&x| (x - max).exp() / sum).collect()
        })
    }

    fn samples() -> Vec<Sample> {
        [Sample::of(Softmax {}, &[&[3, 4]]), Sample::of(Softmax {}, &[&[2, 2, 3]])].into_iter().flatten().collect()
    }
}
