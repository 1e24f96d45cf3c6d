//! Where the largest element is.

use super::{Operator, Precision, Sample, Work, check};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::Facts;
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// The index of the first largest element of each row along the last axis (ONNX ArgMax), which has one element in the result.
    pub struct ArgMax {
        /// Whether the last one of equal elements counts.
        last: bool = false,
    }
}

impl Operator for ArgMax {
    const NAME: &'static str = "arg_max";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x] = check::floats(operands)?;
        match x.shape.0.split_last() {
            Some((columns, rows)) if !columns.is_batch() => Ok(TensorType::i32([rows, &[1.into()]].concat())),
            _ => Err(Reason::new(format!("needs rows of fixed length, has {x}"))),
        }
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Ok(vec![None; graph.operands(node).len()])
    }

    fn precision(&self) -> Precision {
        Precision::Full
    }

    fn facts(&self, _: &[&Shape], result: &Shape) -> Facts {
        Facts::reduction((0..result.rank().saturating_sub(1)).collect())
    }

    fn work(&self, operands: &[&TensorType], _: &TensorType, batch: usize) -> Work {
        Work { flops: operands.first().map_or(0, |x| x.shape.elements(batch) as u64) }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let columns = operands[0].shape.last().copied().unwrap_or(1).max(1);
        let best = |row: &[F]| {
            let beats = |a: F, b: F| a > b || self.last && a == b;
            (1..row.len()).fold(0, |best, i| if beats(row[i], row[best]) { i } else { best })
        };
        Array::new(shape, operands[0].data.chunks(columns).map(|row| F::of(best(row) as f64)).collect())
    }

    fn samples() -> Vec<Sample> {
        [false, true].into_iter().filter_map(|last| Sample::of(ArgMax { last }, &[&[2, 3, 5]])).collect()
    }
}
