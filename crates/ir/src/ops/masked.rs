//! The gradient of a choice between tensors.

use super::elementwise::elementwise;
use super::{Operator, Precision, Sample, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::expression::{number, x};
use crate::facts::{Facts, Numbers, Read};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{DType, Shape, TensorType};

operator! {
    /// The first operand's element where the second is `kept`, else 0.
    pub struct Masked {
        /// The truth value at which elements stay.
        kept: bool = true,
    }
}

impl Operator for Masked {
    const NAME: &'static str = "masked";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x, condition] = check::count(operands)?;
        check::all_floats(&[x])?;
        check::is_of("the condition", condition, DType::Bool)?;
        check::same("the operands", x, condition)?;
        Ok(x.clone())
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let condition = graph.operand(node, 1)?;
        Ok(vec![Some(graph.add(self.clone(), &[dy, condition])?), None])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        let (falsely, truly) = if self.kept { (number(0.0), x(0)) } else { (x(0), number(0.0)) };
        Facts::map(x(1).at_most(number(0.5), falsely, truly), &[Read::Each; 2]).with_numbers(Numbers::Of(0)).cheap()
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        let shape = || Shape::fixed(&[2, 7]);
        let sample = |kept| Sample::typed(Masked { kept }, &[TensorType::f32(shape()), TensorType::bool(shape())]);
        [false, true].into_iter().filter_map(sample).collect()
    }
}
