//! Logarithm of softmax.

use super::softmax::{by_row, largest};
use super::{Operator, Precision, Sample, LogSoftmaxGrad, Work, check};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Form, Read, Reads};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// `x - log(sum(exp(x)))` over the last dimension; its gradient comes from the output (ONNX LogSoftmax).
    pub struct LogSoftmax {}
}

impl Operator for LogSoftmax {
    const NAME: &'static str = "log_softmax";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x] = check::floats(operands)?;
        if x.shape.rank() == 0 {
            return Err(Reason::new("needs at least one dimension"));
        }
        Ok(x.clone())
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Ok(vec![Some(graph.add(LogSoftmaxGrad {}, &[dy, node])?)])
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
            let log_sum = row.iter().map(|&x| (x - max).exp()).sum::<F>().ln() + max;
            row.iter().map(|&x| x - log_sum).collect()
        })
    }

    fn samples() -> Vec<Sample> {
        [Sample::of(LogSoftmax {}, &[&[3, 4]]), Sample::of(LogSoftmax {}, &[&[2, 2, 3]])].into_iter().flatten().collect()
    }
}
