//! The larger or smaller of two elements.

use super::{ExtremumGrad, Operator, Precision, Sample, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::x;
use crate::facts::{Facts, Numbers, Read};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// The larger of two elements (ONNX Max), or the smaller (Min); a NaN in the first operand stays.
    pub struct Extremum {
        /// Whether the smaller one is taken.
        least: bool = false,
    }
}

impl Operator for Extremum {
    const NAME: &'static str = "extremum";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [a, b] = check::floats(operands)?;
        check::same("the operands", a, b)?;
        Ok(a.clone())
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let (a, b) = (graph.operand(node, 0)?, graph.operand(node, 1)?);
        let op = ExtremumGrad { least: self.least };
        Ok(vec![Some(graph.add(op.clone(), &[dy, a, b])?), Some(graph.add(op, &[dy, b, a])?)])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        let expression = match self.least {
            true => x(1).less(x(0), x(1), x(0)),
            false => x(0).less(x(1), x(1), x(0)),
        };
        Facts::map(expression, &[Read::Each; 2]).with_numbers(Numbers::OfEvery).cheap()
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        [false, true].into_iter().filter_map(|least| Sample::of(Extremum { least }, &[&[2, 7], &[2, 7]])).collect()
    }
}
