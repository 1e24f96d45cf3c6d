//! The operand in its own storage format.

use super::{Operator, Precision, Sample, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::{x};
use crate::facts::{Facts, Numbers, Read};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// The operand, stored in the format of this node: where a value is rounded without being computed.
    pub struct Cast {}
}

impl Operator for Cast {
    const NAME: &'static str = "cast";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x] = check::floats(operands)?;
        Ok(x.clone())
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Ok(vec![Some(dy)])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::map(x(0), &[Read::Each]).with_numbers(Numbers::Of(0))
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        Sample::of(Cast {}, &[&[2, 5]]).into_iter().collect()
    }
}
