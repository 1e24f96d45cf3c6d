//! The larger or smaller of two elements.

use super::broadcast;
use super::{ExtremumGrad, Operator, Precision, Sample, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::x;
use crate::facts::{Facts, Numbers};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// The larger of two elements (ONNX Max), or the smaller (Min), broadcast; a NaN in the first operand stays.
    pub struct Extremum {
        /// Whether the smaller one is taken.
        least: bool = false,
    }
}

impl Operator for Extremum {
    const NAME: &'static str = "extremum";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [a, b] = check::floats(operands)?;
        Ok(TensorType::f32(check::broadcast(&a.shape, &b.shape)?))
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let (a, b) = (broadcast::like(graph, node, 0)?, broadcast::like(graph, node, 1)?);
        let op = ExtremumGrad { least: self.least };
        Ok(vec![Some(graph.add(op.clone(), &[dy, a, b])?), Some(graph.add(op, &[dy, b, a])?)])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, operands: &[&Shape], result: &Shape) -> Facts {
        let expression = match self.least {
            true => x(1).less(x(0), x(1), x(0)),
            false => x(0).less(x(1), x(1), x(0)),
        };
        Facts::binary(expression, operands, result).with_numbers(Numbers::OfEvery).cheap()
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        let shapes: [[&[usize]; 2]; 3] = [[&[2, 7], &[2, 7]], [&[2, 3, 4], &[3, 1]], [&[], &[2, 3]]];
        let sample = |least| shapes.iter().filter_map(move |s| Sample::of(Extremum { least }, s));
        [false, true].into_iter().flat_map(sample).collect()
    }
}
