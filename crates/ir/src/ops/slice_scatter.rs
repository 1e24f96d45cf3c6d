//! A tensor laid into zeros.

use super::slice::{check_region, whole_index};
use super::{Operator, Precision, Sample, Slice, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Form};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// Zeros of `shape` with the operand at `begin + i * step`: the gradient of a slice, and padding with zeros.
    pub struct SliceScatter {
        /// The first index per dimension.
        begin: Vec<usize>,
        /// The step per dimension, negative for backwards.
        step: Vec<i64> = vec![1; begin.len()],
        /// The result's shape.
        shape: Shape,
    }
}

impl Operator for SliceScatter {
    const NAME: &'static str = "slice_scatter";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let part = check::moved(operands)?;
        check_region(&self.shape, &self.begin, &self.step, &part.shape)?;
        Ok(part.with_shape(self.shape.clone()))
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let part = graph.operand(node, 0)?;
        let shape = graph.ty(part).shape.clone();
        let slice = Slice { begin: self.begin.clone(), step: self.step.clone(), shape };
        Ok(vec![Some(graph.add(slice, &[dy])?)])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::moving(Form::Move)
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let part = operands[0];
        let mut whole = Array::zeros(shape);
        Array::from_fn(&part.shape, |i| {
            let at = whole.offset(&whole_index(&self.begin, &self.step, i));
            whole.data[at] = part.at(i);
            F::zero()
        });
        whole
    }

    fn samples() -> Vec<Sample> {
        let op = |begin: &[usize], step: &[i64], shape: &[usize]| SliceScatter {
            begin: begin.to_vec(),
            step: step.to_vec(),
            shape: Shape::fixed(shape),
        };
        [
            Sample::of(op(&[0, 1, 2], &[1, 1, 1], &[2, 4, 6]), &[&[2, 2, 3]]),
            Sample::of(op(&[0, 3, 0], &[1, -2, 2], &[2, 4, 6]), &[&[2, 2, 3]]),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
