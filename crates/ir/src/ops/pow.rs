//! Powers with a tensor of exponents.

use super::broadcast;
use super::{Operator, PowGradBase, PowGradExponent, Precision, Sample, Work, check};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::x;
use crate::facts::{Facts, Read};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// `base^exponent`, broadcast (ONNX Pow).
    pub struct Pow {}
}

impl Operator for Pow {
    const NAME: &'static str = "pow";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [base, exponent] = check::floats(operands)?;
        Ok(TensorType::f32(check::broadcast(&base.shape, &exponent.shape)?))
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let base = broadcast::like(graph, node, 0)?;
        let exponent = match graph.operand(node, 1)? {
            exponent if graph.ty(exponent).shape.rank() == 0 => exponent,
            _ => broadcast::like(graph, node, 1)?,
        };
        let of_base = graph.add(PowGradBase {}, &[dy, base, exponent])?;
        let of_exponent = graph.add(PowGradExponent {}, &[dy, base, exponent])?;
        Ok(vec![Some(of_base), Some(of_exponent)])
    }

    fn precision(&self) -> Precision {
        Precision::High
    }

    fn facts(&self, operands: &[&Shape], result: &Shape) -> Facts {
        match operands {
            [base, exponent] if exponent.rank() == 0 && *base == result => {
                Facts::map(x(0).pow(x(1)), &[Read::Each, Read::Scalar])
            }
            _ => Facts::binary(x(0).pow(x(1)), operands, result),
        }
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        Work { flops: 20 * result.shape.elements(batch) as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        let shapes: [[&[usize]; 2]; 4] = [[&[2, 5], &[2, 5]], [&[2, 5], &[]], [&[2, 3, 4], &[3, 1]], [&[], &[2, 3]]];
        shapes.iter().flat_map(|s| Sample::of(Pow {}, s)).map(|s| s.within(0.3, 2.0)).collect()
    }
}
