//! Clipping to a range.

use super::{ClipGrad, Operator, Precision, Sample, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use crate::graph::{Graph, NodeId};
use crate::types::TensorType;

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

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], _: &[usize]) -> Array<F> {
        let (min, max) = (F::of(self.min.0), F::of(self.max.0));
        // A NaN passes, so that it stays visible.
        operands[0].map(|x| if x < min { min } else if x > max { max } else { x })
    }

    fn samples() -> Vec<Sample> {
        Sample::of(Clip { min: Real(-0.5), max: Real(0.5) }, &[&[2, 7]]).into_iter().collect()
    }
}
