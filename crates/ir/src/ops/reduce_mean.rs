//! Mean over dimensions.

use super::reduce_sum::{kept, reduced, spread, sums};
use super::{Div, Operator, Precision, Sample, Scalar, ScalarKind, Scale, Work, check};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use crate::facts::Facts;
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Dim, Shape, TensorType};

operator! {
    /// The mean over dimensions (ONNX ReduceMean, GlobalAveragePool).
    pub struct ReduceMean {
        /// The dimensions, ascending.
        axes: Vec<usize>,
        /// Whether they stay, with size one.
        keep: bool = false,
    }
}

impl ReduceMean {
    /// Elements in one mean, for one example where the batch is among the dimensions.
    fn count(&self, x: &TensorType) -> Result<usize, Reason> {
        let mut sizes = self.axes.iter().map(|&a| x.shape.get(a).map(|dim| dim.factor()));
        let count = sizes.try_fold(1usize, |n, size| n.checked_mul(size?));
        count.filter(|&n| n > 0).ok_or_else(|| Reason::new(format!("cannot take the mean of no elements of {}", x.shape)))
    }
}

impl Operator for ReduceMean {
    const NAME: &'static str = "reduce_mean";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x] = check::floats(operands)?;
        check::axes(&self.axes, x)?;
        self.count(x).map(|_| ())?;
        Ok(TensorType::f32(reduced(&x.shape, &self.axes, self.keep)))
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let x = graph.operand(node, 0)?;
        let count = self.count(graph.ty(x))?;
        let mut scaled = graph.add(Scale { by: Real(1.0 / count as f64) }, &[dy])?;
        if self.axes.iter().any(|&axis| graph.ty(x).shape.get(axis).is_some_and(Dim::is_batch)) {
            let examples = graph.source(Scalar { kind: ScalarKind::Examples }, TensorType::scalar());
            scaled = graph.add(Div {}, &[scaled, examples])?;
        }
        Ok(vec![Some(spread(graph, x, &self.axes, scaled)?)])
    }

    fn precision(&self) -> Precision {
        Precision::High
    }

    fn facts(&self, operands: &[&Shape], _: &Shape) -> Facts {
        Facts::reduction(kept(&self.axes, operands))
    }

    fn work(&self, operands: &[&TensorType], _: &TensorType, batch: usize) -> Work {
        Work { flops: operands.first().map_or(0, |x| x.shape.elements(batch) as u64) }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let count: usize = self.axes.iter().map(|&a| operands[0].shape[a]).product();
        sums(operands[0], &self.axes, shape).map(|sum| sum / F::of(count as f64))
    }

    fn samples() -> Vec<Sample> {
        let op = |axes: &[usize], keep| ReduceMean { axes: axes.to_vec(), keep };
        [Sample::of(op(&[0, 2], false), &[&[2, 3, 4]]), Sample::of(op(&[1], true), &[&[2, 3, 4]])]
            .into_iter()
            .flatten()
            .collect()
    }
}
