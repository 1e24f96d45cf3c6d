//! Repetition along dimensions of size one.

use super::{Operator, Precision, Sample, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Form};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// The operand repeated to `shape` (ONNX Expand, with the shape already resolved).
    pub struct Broadcast {
        /// The result's shape.
        shape: Shape,
    }
}

impl Operator for Broadcast {
    const NAME: &'static str = "broadcast";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let x = check::moved(operands)?;
        if check::broadcast(&x.shape, &self.shape)? != self.shape {
            return Err(Reason::new(format!("{} does not broadcast to {}", x.shape, self.shape)));
        }
        Ok(x.with_shape(self.shape.clone()))
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Ok(vec![Some(dy)])
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
        Array::from_fn(shape, |i| operands[0].broadcast_at(i))
    }

    fn samples() -> Vec<Sample> {
        Sample::of(Broadcast { shape: Shape::fixed(&[2, 3, 4]) }, &[&[3, 1]]).into_iter().collect()
    }
}

/// An operand of a node, broadcast to the shape of its result.
pub(super) fn like(graph: &mut Graph, node: NodeId, position: usize) -> Result<NodeId, Reason> {
    let operand = graph.operand(node, position)?;
    let shape = graph.ty(node).shape.clone();
    match graph.ty(operand).shape == shape {
        true => Ok(operand),
        false => Ok(graph.add(Broadcast { shape }, &[operand])?),
    }
}
