//! Multiplication by a number.

use super::{Operator, Precision, Sample, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use crate::graph::{Graph, NodeId};
use crate::types::TensorType;

operator! {
    /// `by * x`.
    pub struct Scale {
        /// The factor.
        by: Real,
    }
}

impl Operator for Scale {
    const NAME: &'static str = "scale";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x] = check::floats(operands)?;
        Ok(x.clone())
    }

    fn gradient(&self, graph: &mut Graph, _: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Ok(vec![Some(graph.add(self.clone(), &[dy])?)])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], _: &[usize]) -> Array<F> {
        operands[0].map(|x| x * F::of(self.by.0))
    }

    fn samples() -> Vec<Sample> {
        Sample::of(Scale { by: Real(-1.5) }, &[&[2, 5]]).into_iter().collect()
    }
}
