//! Division.

use super::{Mul, Operator, Precision, Sample, Scale, Work, check, elementwise_work};
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
    /// `a / b`, broadcast (ONNX Div).
    pub struct Div {}
}

impl Operator for Div {
    const NAME: &'static str = "div";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [a, b] = check::floats(operands)?;
        Ok(TensorType::f32(check::broadcast(&a.shape, &b.shape)?))
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let b = graph.operand(node, 1)?;
        let da = graph.add(Div {}, &[dy, b])?;
        let product = graph.add(Mul {}, &[da, node])?;
        Ok(vec![Some(da), Some(graph.add(Scale { by: Real(-1.0) }, &[product])?)])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, operands: &[&Shape], result: &Shape) -> Facts {
        Facts::binary(x(0) / x(1), operands, result)
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        let shapes: [[&[usize]; 2]; 3] = [[&[2, 3, 4], &[2, 3, 4]], [&[2, 3, 4], &[3, 1]], [&[], &[2, 3]]];
        shapes.iter().flat_map(|s| Sample::of(Div {}, s)).map(|s| s.within(0.5, 2.0)).collect()
    }
}
