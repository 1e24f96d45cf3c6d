//! Whether tensors hold no infinity and no NaN.

use super::{Operator, Precision, Sample, Work, check, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::Facts;
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// 1 if every element of every operand is finite, else 0: what decides whether an update is skipped.
    pub struct AllFinite {}
}

impl Operator for AllFinite {
    const NAME: &'static str = "all_finite";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        check::all_floats(operands)?;
        Ok(TensorType::scalar())
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::Full
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::reduction(Vec::new())
    }

    fn work(&self, operands: &[&TensorType], _: &TensorType, batch: usize) -> Work {
        Work { flops: operands.iter().map(|x| x.shape.elements(batch) as u64).sum() }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let finite = operands.iter().all(|x| x.data.iter().all(|v| v.is_finite()));
        Array::filled(shape, if finite { F::one() } else { F::zero() })
    }

    fn samples() -> Vec<Sample> {
        Sample::of(AllFinite {}, &[&[2, 3], &[4]]).into_iter().collect()
    }
}
