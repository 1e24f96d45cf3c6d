//! Sum over dimensions.

use super::{Broadcast, Operator, Precision, Reshape, Sample, Work, check};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Pass};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Dim, Shape, TensorType};

operator! {
    /// The sum over dimensions (ONNX ReduceSum).
    pub struct ReduceSum {
        /// The dimensions, ascending.
        axes: Vec<usize>,
        /// Whether they stay, with size one.
        keep: bool = false,
    }
}

/// The shape of `x` with `axes` reduced.
pub(super) fn reduced(x: &Shape, axes: &[usize], keep: bool) -> Shape {
    let dims = x.0.iter().enumerate().filter_map(|(axis, &dim)| match (axes.contains(&axis), keep) {
        (false, _) => Some(dim),
        (true, true) => Some(Dim::fixed(1)),
        (true, false) => None,
    });
    Shape(dims.collect())
}

/// The axes of the first operand that a reduction over `axes` leaves.
pub(super) fn kept(axes: &[usize], operands: &[&Shape]) -> Vec<usize> {
    let rank = operands.first().map_or(0, |x| x.rank());
    (0..rank).filter(|axis| !axes.contains(axis)).collect()
}

/// Sums over `axes`.
pub(super) fn sums<F: Float>(x: &Array<F>, axes: &[usize], shape: &[usize]) -> Array<F> {
    let kept = |i: &[usize]| i.iter().enumerate().filter(|(a, _)| !axes.contains(a)).map(|(_, &i)| i).collect::<Vec<_>>();
    let mut out: Array<F> = Array::zeros(&kept(&x.shape));
    Array::from_fn(&x.shape, |i| {
        let at = out.offset(&kept(i));
        out.data[at] = out.data[at] + x.at(i);
        F::zero()
    });
    Array::new(shape, out.data)
}

/// Repeats the gradient of a reduction over what was reduced.
pub(super) fn spread(graph: &mut Graph, x: NodeId, axes: &[usize], dy: NodeId) -> Result<NodeId, Reason> {
    let shape = graph.ty(x).shape.clone();
    let dy = graph.add(Reshape { shape: reduced(&shape, axes, true) }, &[dy])?;
    Ok(graph.add(Broadcast { shape }, &[dy])?)
}

impl Operator for ReduceSum {
    const NAME: &'static str = "reduce_sum";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x] = check::floats(operands)?;
        check::axes(&self.axes, x)?;
        Ok(TensorType::f32(reduced(&x.shape, &self.axes, self.keep)))
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let x = graph.operand(node, 0)?;
        Ok(vec![Some(spread(graph, x, &self.axes, dy)?)])
    }

    fn precision(&self) -> Precision {
        Precision::High
    }

    fn facts(&self, operands: &[&Shape], _: &Shape) -> Facts {
        let facts = Facts::reduction(kept(&self.axes, operands));
        match facts.is_over_channels() && !self.keep {
            true => facts.in_pass(Pass::ChannelSum),
            false => facts,
        }
    }

    fn work(&self, operands: &[&TensorType], _: &TensorType, batch: usize) -> Work {
        Work { flops: operands.first().map_or(0, |x| x.shape.elements(batch) as u64) }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        sums(operands[0], &self.axes, shape)
    }

    fn samples() -> Vec<Sample> {
        let op = |axes: &[usize], keep| ReduceSum { axes: axes.to_vec(), keep };
        [Sample::of(op(&[0, 2], false), &[&[2, 3, 4]]), Sample::of(op(&[1], true), &[&[2, 3, 4]])]
            .into_iter()
            .flatten()
            .collect()
    }
}
