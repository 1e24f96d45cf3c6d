//! Leaky rectifier.

use super::{LeakyReluGrad, Operator, Precision, Sample, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use crate::graph::{Graph, NodeId};
use crate::types::TensorType;

operator! {
    /// `x` where positive, `alpha * x` elsewhere.
    pub struct LeakyRelu {
        /// The slope below zero.
        alpha: Real,
    }
}

impl Operator for LeakyRelu {
    const NAME: &'static str = "leaky_relu";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x] = check::floats(operands)?;
        Ok(x.clone())
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let x = graph.operand(node, 0)?;
        Ok(vec![Some(graph.add(LeakyReluGrad { alpha: self.alpha }, &[dy, x])?)])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], _: &[usize]) -> Array<F> {
        let alpha = F::of(self.alpha.0);
        operands[0].map(|x| if x < F::zero() { alpha * x } else { x })
    }

    fn samples() -> Vec<Sample> {
        Sample::of(LeakyRelu { alpha: Real(0.1) }, &[&[2, 7]]).into_iter().collect()
    }
}
