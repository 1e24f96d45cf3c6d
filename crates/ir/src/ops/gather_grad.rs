//! The gradient of slices by index.

use super::{Operator, Precision, Sample, Work, check, elementwise_work, gather};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Form, Read, Reads};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// The sum of the first operand's slices of each index, the gradient of [`super::Gather`]: slices add up where an index occurs
    /// several times, and are zero where it does not.
    pub struct GatherGrad {
        /// The axis of the result that the second operand's indices name slices of.
        axis: usize = 0,
        /// The number of leading dimensions that result and indices have.
        batch_dims: usize = 0,
        /// The shape of the result.
        shape: Shape,
    }
}

impl Operator for GatherGrad {
    const NAME: &'static str = "gather_grad";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [dy, indices] = check::count(operands)?;
        check::all_floats(&[dy])?;
        let dx = TensorType::f32(self.shape.clone());
        let slices = TensorType::f32(gather::gathered(&dx, indices, self.axis, self.batch_dims)?);
        check::same("the gradient and the slices", dy, &slices)?;
        Ok(dx)
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let indices = graph.operand(node, 1)?;
        Ok(vec![Some(graph.add(super::Gather { axis: self.axis, batch_dims: self.batch_dims }, &[dy, indices])?), None])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::new(Form::Product, Reads::All(Read::Whole))
    }

    fn work(&self, operands: &[&TensorType], _: &TensorType, batch: usize) -> Work {
        operands.first().map_or(Work::default(), |dy| elementwise_work(dy, batch))
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let (dy, indices) = (operands[0], operands[1]);
        let mut dx = Array::zeros(shape);
        Array::from_fn(&dy.shape, |i| {
            let at = dx.offset(&gather::origin(i, indices, [self.axis, self.batch_dims], shape));
            dx.data[at] = dx.data[at] + dy.at(i);
            F::zero()
        });
        dx
    }

    fn samples() -> Vec<Sample> {
        let sample = |axis, batch_dims, shape: &[usize], dy: &[usize], indices: &[usize]| {
            let op = GatherGrad { axis, batch_dims, shape: Shape::fixed(shape) };
            Sample::typed(op, &[TensorType::f32(Shape::fixed(dy)), TensorType::i32(Shape::fixed(indices))])
        };
        let samples = [
            sample(0, 0, &[5, 3], &[2, 4, 3], &[2, 4]),
            sample(1, 0, &[2, 4, 3], &[2, 5, 3], &[5]),
            sample(0, 0, &[4], &[6], &[6]),
            sample(1, 1, &[3, 4, 2], &[3, 5, 2], &[3, 5]),
            sample(2, 1, &[2, 3, 4, 2], &[2, 3, 2, 3, 2], &[2, 2, 3]),
            sample(2, 2, &[2, 3, 5], &[2, 3, 7], &[2, 3, 7]),
        ];
        samples.into_iter().flatten().collect()
    }
}
