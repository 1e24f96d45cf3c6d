//! Square root.

use super::{Div, Operator, Precision, Sample, Scale, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::{x};
use crate::facts::{Facts, Read};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// `sqrt(x)`; its gradient comes from the output.
    pub struct Sqrt {}
}

impl Operator for Sqrt {
    const NAME: &'static str = "sqrt";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x] = check::floats(operands)?;
        Ok(x.clone())
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let half = graph.add(Scale { by: Real(0.5) }, &[dy])?;
        Ok(vec![Some(graph.add(Div {}, &[half, node])?)])
    }

    fn precision(&self) -> Precision {
        Precision::High
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::map(x(0).sqrt(), &[Read::Each])
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        Sample::of(Sqrt {}, &[&[2, 5]]).map(|s| s.within(0.5, 3.0)).into_iter().collect()
    }
}
