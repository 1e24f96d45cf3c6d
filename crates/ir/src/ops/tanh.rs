//! Hyperbolic tangent.

use super::{Mul, Operator, Precision, Sample, Sub, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::{x};
use crate::facts::{Facts, Read};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// `tanh(x)`; its gradient comes from the output.
    pub struct Tanh {}
}

impl Operator for Tanh {
    const NAME: &'static str = "tanh";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x] = check::floats(operands)?;
        Ok(x.clone())
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let square = graph.add(Mul {}, &[node, node])?;
        let product = graph.add(Mul {}, &[dy, square])?;
        Ok(vec![Some(graph.add(Sub {}, &[dy, product])?)])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::map(x(0).tanh(), &[Read::Each])
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        Sample::of(Tanh {}, &[&[2, 5]]).map(|s| s.within(-2.0, 2.0)).into_iter().collect()
    }
}
