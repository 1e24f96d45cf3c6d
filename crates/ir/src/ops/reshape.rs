//! A new shape for the same elements.

use super::{Operator, Precision, Sample, Work, check};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Form};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// The same elements in the same order under another shape.
    pub struct Reshape {
        /// The new shape.
        shape: Shape,
    }
}

impl Operator for Reshape {
    const NAME: &'static str = "reshape";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let x = check::moved(operands)?;
        if x.shape.symbolic_elements() != self.shape.symbolic_elements() {
            return Err(Reason::new(format!("{} and {} differ in their number of elements", x.shape, self.shape)));
        }
        Ok(x.with_shape(self.shape.clone()))
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let x = graph.operand(node, 0)?;
        let shape = graph.ty(x).shape.clone();
        Ok(vec![Some(graph.add(Reshape { shape }, &[dy])?)])
    }

    fn precision(&self) -> Precision {
        Precision::Relabel
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::moving(Form::Alias)
    }

    fn work(&self, _: &[&TensorType], _: &TensorType, _: usize) -> Work {
        Work::default()
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        Array::new(shape, operands[0].data.clone())
    }

    fn samples() -> Vec<Sample> {
        Sample::of(Reshape { shape: Shape::fixed(&[2, 6]) }, &[&[2, 3, 2]]).into_iter().collect()
    }
}
