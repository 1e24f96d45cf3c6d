//! The largest or smallest element over dimensions.

use super::reduce_sum::{kept, reduced};
use super::{Operator, Precision, ReduceExtremumGrad, Sample, Work, check};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Numbers};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// The largest element over dimensions (ONNX ReduceMax), or the smallest (ReduceMin); a NaN always wins.
    pub struct ReduceExtremum {
        /// The dimensions, ascending.
        axes: Vec<usize>,
        /// Whether they stay, with size one.
        keep: bool = false,
        /// Whether the smallest element is taken.
        least: bool = false,
    }
}

/// The extremum over `axes` for each index of the other dimensions.
pub(super) fn extrema<F: Float>(x: &Array<F>, axes: &[usize], least: bool) -> Array<F> {
    let rest = rest(axes);
    let mut out: Array<F> = Array::filled(&rest(&x.shape), if least { F::infinity() } else { F::neg_infinity() });
    Array::from_fn(&x.shape, |i| {
        let (at, x) = (out.offset(&rest(i)), x.at(i));
        let is_better = if least { x < out.data[at] } else { x > out.data[at] };
        if is_better || x.is_nan() {
            out.data[at] = x;
        }
        F::zero()
    });
    out
}

/// The entries of a list with one per dimension that do not belong to `axes`.
pub(super) fn rest(axes: &[usize]) -> impl Fn(&[usize]) -> Vec<usize> {
    move |list: &[usize]| list.iter().enumerate().filter(|(a, _)| !axes.contains(a)).map(|(_, &i)| i).collect()
}

impl Operator for ReduceExtremum {
    const NAME: &'static str = "reduce_extremum";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x] = check::floats(operands)?;
        check::axes(&self.axes, x)?;
        Ok(TensorType::f32(reduced(&x.shape, &self.axes, self.keep)))
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let x = graph.operand(node, 0)?;
        let op = ReduceExtremumGrad { axes: self.axes.clone(), least: self.least };
        Ok(vec![Some(graph.add(op, &[dy, x])?)])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, operands: &[&Shape], _: &Shape) -> Facts {
        Facts::reduction(kept(&self.axes, operands)).with_numbers(Numbers::SomeOf(0))
    }

    fn work(&self, operands: &[&TensorType], _: &TensorType, batch: usize) -> Work {
        Work { flops: operands.first().map_or(0, |x| x.shape.elements(batch) as u64) }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        Array::new(shape, extrema(operands[0], &self.axes, self.least).data)
    }

    fn samples() -> Vec<Sample> {
        let op = |axes: &[usize], keep, least| ReduceExtremum { axes: axes.to_vec(), keep, least };
        let samples = [
            Sample::of(op(&[0, 2], false, false), &[&[2, 3, 4]]),
            Sample::of(op(&[1], true, true), &[&[2, 3, 4]]),
            Sample::of(op(&[2, 3], true, false), &[&[2, 3, 4, 5]]),
            Sample::of(op(&[0, 1], false, true), &[&[3, 5]]),
        ];
        samples.into_iter().flatten().collect()
    }
}
