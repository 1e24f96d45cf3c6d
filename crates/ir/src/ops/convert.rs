//! Elements as another type.

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
    /// The same elements as another type (ONNX Cast): whole numbers are truncated towards zero, and what is not zero is true.
    pub struct Convert {
        /// The operand's type.
        from: DType,
        /// The result's type.
        to: DType,
    }
}

impl Operator for Convert {
    const NAME: &'static str = "convert";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let x = check::moved(operands)?;
        check::is_of("the operand", x, self.from)?;
        match self.to {
            DType::Index8 => Err(Reason::new("nothing becomes an index of pooling")),
            to => Ok(TensorType { dtype: to, shape: x.shape.clone() }),
        }
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Ok(vec![None])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        let is_zero = |then, otherwise| x(0).at_most(number(0.0), (-x(0)).at_most(number(0.0), then, otherwise), number(1.0));
        let is_kept = |facts: Facts| facts.with_numbers(Numbers::Of(0)).cheap();
        match (self.from, self.to) {
            (DType::F32 | DType::I32, DType::Bool) => Facts::map(is_zero(number(0.0), number(1.0)), &[Read::Each]).cheap(),
            (DType::F32, DType::I32) => {
                let down = || -(-x(0)).floor();
                Facts::map(x(0).less(number(0.0), down(), x(0).floor()), &[Read::Each]).cheap()
            }
            _ => is_kept(Facts::map(x(0), &[Read::Each])),
        }
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        let sample = |from, to| {
            let sample = Sample::typed(Convert { from, to }, &[TensorType { dtype: from, shape: Shape::fixed(&[2, 5]) }]);
            sample.map(|sample| sample.within(-3.0, 3.0))
        };
        let (float, whole, truth) = (DType::F32, DType::I32, DType::Bool);
        let pairs = [(float, whole), (float, truth), (whole, float), (whole, truth), (truth, float), (truth, whole)];
        pairs.into_iter().filter_map(|(from, to)| sample(from, to)).collect()
    }
}
