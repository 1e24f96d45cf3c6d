//! Multiplication by a number.

use super::{Operator, Precision, Sample, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::{number, x};
use crate::facts::{Facts, Read};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

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

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::map(number(self.by.0) * x(0), &[Read::Each]).cheap()
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        Sample::of(Scale { by: Real(-1.5) }, &[&[2, 5]]).into_iter().collect()
    }
}
