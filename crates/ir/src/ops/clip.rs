//! Clipping to a range.

use super::{ClipGrad, Operator, Precision, Sample, Work, check, elementwise_work};
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
    /// `min(max(x, min), max)` (ONNX Clip, relu6).
    pub struct Clip {
        /// The lower bound; may be minus infinity.
        min: Real,
        /// The upper bound; may be infinity.
        max: Real,
    }
}

impl Operator for Clip {
    const NAME: &'static str = "clip";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x] = check::floats(operands)?;
        Ok(x.clone())
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let x = graph.operand(node, 0)?;
        Ok(vec![Some(graph.add(ClipGrad { min: self.min, max: self.max }, &[dy, x])?)])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        let [min, max] = [self.min.0, self.max.0].map(number);
        let above = max.clone().less(x(0), max, x(0));
        let clipped = x(0).less(min.clone(), min, above);
        Facts::map(clipped, &[Read::Each]).with_numbers(Numbers::Clamped(self.min.0, self.max.0)).cheap()
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        Sample::of(Clip { min: Real(-0.5), max: Real(0.5) }, &[&[2, 7]]).into_iter().collect()
    }
}
