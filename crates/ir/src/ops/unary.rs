//! A function of every element.

use super::{Operator, Precision, Sample, UnaryGrad, Work, check};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::facts::{Facts, Read};
use crate::unary_function::UnaryFunction;
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// A function of every element (ONNX Abs, Elu, Softplus, ...).
    pub struct Unary {
        /// Which function.
        function: UnaryFunction,
        /// The function's parameter.
        alpha: Real = Real(1.0),
        /// The factor of the result, in Selu.
        gamma: Real = Real(1.0),
    }
}

/// Operations per element, by order of magnitude.
pub(super) const FLOPS: u64 = 16;

/// Uses of every function, on operands of one shape.
pub(super) fn samples(use_of: impl Fn(UnaryFunction, Real, Real) -> Option<Sample>) -> Vec<Sample> {
    let sample = |function: UnaryFunction| {
        let (alpha, gamma) = match function {
            UnaryFunction::Elu => (1.5, 1.25),
            UnaryFunction::Celu | UnaryFunction::Swish => (0.7, 1.0),
            UnaryFunction::ThresholdedRelu => (0.21, 1.0),
            UnaryFunction::Power => (-0.75, 1.0),
            _ => (1.0, 1.0),
        };
        let range = if function == UnaryFunction::Power { (0.2, 2.0) } else { (-3.0, 3.1) };
        Some(use_of(function, Real(alpha), Real(gamma))?.within(range.0, range.1))
    };
    UnaryFunction::ALL.into_iter().filter_map(sample).collect()
}

impl Operator for Unary {
    const NAME: &'static str = "unary";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x] = check::floats(operands)?;
        Ok(x.clone())
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        if self.function.is_step() {
            return Ok(vec![None]);
        }
        if self.function == UnaryFunction::RoundThrough {
            return Ok(vec![Some(dy)]);
        }
        let x = graph.operand(node, 0)?;
        let Unary { function, alpha, gamma } = *self;
        Ok(vec![Some(graph.add(UnaryGrad { function, alpha, gamma }, &[dy, x])?)])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        let facts = Facts::map(self.function.value(0, self.alpha.0, self.gamma.0), &[Read::Each]);
        if self.function.is_cheap() { facts.cheap() } else { facts }
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        Work { flops: FLOPS * result.shape.elements(batch) as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        samples(|function, alpha, gamma| Sample::of(Unary { function, alpha, gamma }, &[&[3, 7]]))
    }
}
