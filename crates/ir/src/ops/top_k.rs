//! Where the largest elements are.

use super::{Operator, Precision, Sample, Work, check};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::Facts;
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// The indices of the largest elements of each row along the last axis, in descending order (ONNX TopK); of equal ones the first
    /// comes first.
    pub struct TopK {
        /// How many of each row.
        count: usize,
    }
}

impl Operator for TopK {
    const NAME: &'static str = "top_k";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x] = check::floats(operands)?;
        match x.shape.0.split_last() {
            Some((columns, rows)) if columns.as_fixed().is_some_and(|columns| (1..=columns).contains(&self.count)) => {
                Ok(TensorType::i32([rows, &[self.count.into()]].concat()))
            }
            _ => Err(Reason::new(format!("needs rows of a fixed length of {} or more, has {x}", self.count))),
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
        let largest = |row: &[F]| {
            let mut order: Vec<usize> = (0..row.len()).collect();
            order.sort_by(|&a, &b| row[b].partial_cmp(&row[a]).unwrap_or(std::cmp::Ordering::Equal));
            order.into_iter().take(self.count).map(|i| F::of(i as f64)).collect::<Vec<F>>()
        };
        Array::new(shape, operands[0].data.chunks(columns).flat_map(largest).collect())
    }

    fn samples() -> Vec<Sample> {
        [1, 3, 5].into_iter().filter_map(|count| Sample::of(TopK { count }, &[&[2, 3, 5]])).collect()
    }
}
