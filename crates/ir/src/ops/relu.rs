//! Rectifier.

use super::{Operator, Precision, ReluGrad, Sample, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::{number, x};
use crate::facts::{Facts, Numbers, Read};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// `max(x, 0)`.
    pub struct Relu {}
}

impl Operator for Relu {
    const NAME: &'static str = "relu";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x] = check::floats(operands)?;
        Ok(x.clone())
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        // From the input: an output that its format rounds to zero would hide that its input was positive.
        let x = graph.operand(node, 0)?;
        Ok(vec![Some(graph.add(ReluGrad {}, &[dy, x])?)])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::map(x(0).at_most(number(0.0), number(0.0), x(0)), &[Read::Each]).with_numbers(Numbers::Of(0)).cheap()
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        Sample::of(Relu {}, &[&[2, 3, 4]]).into_iter().collect()
    }
}
