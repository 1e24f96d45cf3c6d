//! Elements of one tensor or of another.

use super::elementwise::elementwise;
use super::{Masked, Operator, Precision, Sample, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::expression::{number, x};
use crate::facts::{Facts, Read};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{DType, Shape, TensorType};

operator! {
    /// The second operand's element where the first is true, else the third's (ONNX Where); both have the first one's shape or are
    /// scalars.
    pub struct Where {}
}

impl Operator for Where {
    const NAME: &'static str = "where";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [condition, a, b] = check::count(operands)?;
        check::is_of("the condition", condition, DType::Bool)?;
        check::all_floats(&[a, b])?;
        check::same_or_scalar("the condition and the second operand", condition, a)?;
        check::same_or_scalar("the condition and the third operand", condition, b)?;
        Ok(TensorType::f32(condition.shape.clone()))
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let condition = graph.operand(node, 0)?;
        let mut part = |kept| graph.add(Masked { kept }, &[dy, condition]);
        Ok(vec![None, Some(part(true)?), Some(part(false)?)])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, operands: &[&Shape], result: &Shape) -> Facts {
        let is_scalar = |position: usize| operands.get(position).is_some_and(|shape| shape.rank() == 0 && result.rank() > 0);
        let reads: &[Read] = match (is_scalar(1), is_scalar(2)) {
            (false, false) => &[Read::Each; 3],
            (true, false) => &[Read::Each, Read::Scalar, Read::Each],
            (false, true) => &[Read::Each, Read::Each, Read::Scalar],
            (true, true) => &[Read::Each, Read::Scalar, Read::Scalar],
        };
        Facts::map(x(0).at_most(number(0.5), x(2), x(1)), reads).cheap()
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        let of = |shape: &[usize]| TensorType::f32(Shape::fixed(shape));
        let sample = |a: &[usize], b: &[usize]| {
            Sample::typed(Where {}, &[TensorType::bool(Shape::fixed(&[2, 7])), of(a), of(b)])
        };
        [sample(&[2, 7], &[2, 7]), sample(&[], &[2, 7]), sample(&[2, 7], &[]), sample(&[], &[])]
            .into_iter()
            .flatten()
            .collect()
    }
}
