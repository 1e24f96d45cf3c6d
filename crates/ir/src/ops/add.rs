//! Addition.

use super::{Operator, Precision, Sample, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::{x};
use crate::facts::Facts;
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// `a + b`, broadcast (ONNX Add).
    pub struct Add {}
}

impl Operator for Add {
    const NAME: &'static str = "add";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [a, b] = check::floats(operands)?;
        Ok(TensorType::f32(check::broadcast(&a.shape, &b.shape)?))
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Ok(vec![Some(dy), Some(dy)])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, operands: &[&Shape], result: &Shape) -> Facts {
        Facts::binary(x(0) + x(1), operands, result).cheap()
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        let shapes: [[&[usize]; 2]; 3] = [[&[2, 3, 4], &[2, 3, 4]], [&[2, 3, 4], &[3, 1]], [&[], &[2, 3]]];
        shapes.iter().flat_map(|s| Sample::of(Add {}, s)).collect()
    }
}
