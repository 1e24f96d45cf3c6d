//! Logistic function.

use super::{Mul, Operator, Precision, Sample, Sub, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::{number, x};
use crate::facts::{Facts, Read};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// `1 / (1 + exp(-x))`; its gradient comes from the output.
    pub struct Sigmoid {}
}

impl Operator for Sigmoid {
    const NAME: &'static str = "sigmoid";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x] = check::floats(operands)?;
        Ok(x.clone())
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let product = graph.add(Mul {}, &[dy, node])?;
        let square = graph.add(Mul {}, &[product, node])?;
        Ok(vec![Some(graph.add(Sub {}, &[product, square])?)])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        // The exponential of what is not above zero does not overflow.
        let e = x(0).less(number(0.0), x(0), -x(0)).exp();
        let above = x(0).less(number(0.0), e.clone(), number(1.0));
        Facts::map(above / (number(1.0) + e), &[Read::Each])
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        Sample::of(Sigmoid {}, &[&[2, 5]]).map(|s| s.within(-4.0, 4.0)).into_iter().collect()
    }
}
