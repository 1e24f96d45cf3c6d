//! Powers with a tensor of exponents.

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
    /// `base^exponent` (ONNX Pow), on a base and an exponent of its shape or of one element.
    pub struct Pow {}
}

impl Operator for Pow {
    const NAME: &'static str = "pow";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [base, exponent] = check::floats(operands)?;
        check::same_or_scalar("base and exponent", base, exponent)?;
        Ok(base.clone())
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let (base, exponent) = (graph.operand(node, 0)?, graph.operand(node, 1)?);
        let of_base = graph.add(PowGradBase {}, &[dy, base, exponent])?;
        let of_exponent = graph.add(PowGradExponent {}, &[dy, base, exponent])?;
        Ok(vec![Some(of_base), Some(of_exponent)])
    }

    fn precision(&self) -> Precision {
        Precision::High
    }

    fn facts(&self, operands: &[&Shape], result: &Shape) -> Facts {
        Facts::map(x(0).pow(x(1)), reads(operands.get(1), result))
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        Work { flops: 20 * result.shape.elements(batch) as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        let shapes: [[&[usize]; 2]; 2] = [[&[2, 5], &[2, 5]], [&[2, 5], &[]]];
        shapes.iter().flat_map(|s| Sample::of(Pow {}, s)).map(|s| s.within(0.3, 2.0)).collect()
    }
}

/// How a base and an exponent of this shape are read.
fn reads(exponent: Option<&&Shape>, result: &Shape) -> &'static [Read] {
    match exponent {
        Some(exponent) if *exponent != result => &[Read::Each, Read::Scalar],
        _ => &[Read::Each, Read::Each],
    }
}
