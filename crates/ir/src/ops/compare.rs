//! Comparisons.

use super::elementwise::elementwise;
use super::{Operator, Precision, Sample, Work, check, elementwise_work, same_or_scalar_reads};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::expression::{Expression, number, x};
use crate::facts::{Facts};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{DType, Shape, TensorType};

operator! {
    /// Whether elements are less than others, equal to them, or either (ONNX Less, Equal, LessOrEqual); a NaN is neither. The second
    /// operand has the first one's shape or is a scalar.
    pub struct Compare {
        /// Whether a lesser element gives true.
        less: bool = false,
        /// Whether an equal element gives true.
        equal: bool = false,
    }
}

impl Operator for Compare {
    const NAME: &'static str = "compare";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [a, b] = check::floats(operands)?;
        check::same_or_scalar("the operands", a, b)?;
        Ok(TensorType { dtype: DType::Bool, shape: a.shape.clone() })
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Ok(vec![None, None])
    }

    fn precision(&self) -> Precision {
        Precision::Full
    }

    fn facts(&self, operands: &[&Shape], result: &Shape) -> Facts {
        let (yes, no) = (|| number(1.0), || number(0.0));
        let at_most = |a: Expression, b: Expression, otherwise: Expression| a.at_most(b, otherwise, no());
        let expression = match (self.less, self.equal) {
            (true, true) => at_most(x(0), x(1), yes()),
            (true, false) => x(0).less(x(1), yes(), no()),
            (false, true) => at_most(x(0), x(1), at_most(x(1), x(0), yes())),
            (false, false) => no(),
        };
        Facts::map(expression, same_or_scalar_reads(operands, result)).cheap()
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        let shapes: [[&[usize]; 2]; 2] = [[&[2, 7], &[2, 7]], [&[2, 7], &[]]];
        let sample = |(less, equal)| shapes.iter().filter_map(move |s| Sample::of(Compare { less, equal }, s));
        [(true, false), (false, true), (true, true)].into_iter().flat_map(sample).collect()
    }
}
