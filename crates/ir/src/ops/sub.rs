//! Subtraction.

use super::{Operator, Precision, Sample, Scale, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::{x};
use crate::facts::Facts;
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// `a - b`, broadcast (ONNX Sub).
    pub struct Sub {}
}

impl Operator for Sub {
    const NAME: &'static str = "sub";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [a, b] = check::floats(operands)?;
        Ok(TensorType::f32(check::broadcast(&a.shape, &b.shape)?))
    }

    fn gradient(&self, graph: &mut Graph, _: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let negative = graph.add(Scale { by: Real(-1.0) }, &[dy])?;
        Ok(vec![Some(dy), Some(negative)])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, operands: &[&Shape], result: &Shape) -> Facts {
        Facts::binary(x(0) - x(1), operands, result).cheap()
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        let shapes: [[&[usize]; 2]; 3] = [[&[2, 3, 4], &[2, 3, 4]], [&[2, 3, 4], &[3, 1]], [&[], &[2, 3]]];
        shapes.iter().flat_map(|s| Sample::of(Sub {}, s)).collect()
    }
}
