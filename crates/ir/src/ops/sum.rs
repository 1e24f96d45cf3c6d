//! The sum of any number of tensors.

use super::{Operator, Precision, Sample, Work, check};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::{x};
use crate::facts::{Facts, Form, Read, Reads};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// The sum of one or more tensors of one shape, added in order: where gradients are accumulated.
    pub struct Sum {}
}

impl Operator for Sum {
    const NAME: &'static str = "sum";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        check::all_floats(operands)?;
        let (first, rest) = operands.split_first().ok_or_else(|| Reason::new("needs at least one operand"))?;
        rest.iter().try_for_each(|other| check::same("the operands", first, other))?;
        Ok((*first).clone())
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Ok(vec![Some(dy); graph.operands(node).len()])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, operands: &[&Shape], _: &Shape) -> Facts {
        let sum = (1..operands.len()).fold(x(0), |sum, position| sum + x(position));
        Facts::new(Form::Map(sum), Reads::All(Read::Each)).cheap()
    }

    fn work(&self, operands: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        Work { flops: (operands.len().max(1) - 1) as u64 * result.shape.elements(batch) as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        Sample::of(Sum {}, &[&[2, 3], &[2, 3], &[2, 3]]).into_iter().collect()
    }
}
