//! Leaky rectifier.

use super::{LeakyReluGrad, Operator, Precision, Sample, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::{number, x};
use crate::facts::{Facts, Numbers, Read};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

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

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::map(x(0).less(number(0.0), number(self.alpha.0) * x(0), x(0)), &[Read::Each]).with_numbers(Numbers::SomeOf(0)).cheap()
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        Sample::of(LeakyRelu { alpha: Real(0.1) }, &[&[2, 7]]).into_iter().collect()
    }
}
