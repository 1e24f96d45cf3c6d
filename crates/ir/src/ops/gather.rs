//! Slices of a tensor by index.

use super::{GatherGrad, Operator, Precision, Sample, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Form};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{DType, Shape, TensorType};

operator! {
    /// The slices of the first operand along an axis that the indices of the second name (ONNX Gather): the indices' dimensions stand
    /// in the place of the axis. Negative indices count from the end.
    pub struct Gather {
        /// The axis of the first operand.
        axis: usize = 0,
    }
}

/// The shape of slices of `x` along an axis, one for each of the indices.
pub(super) fn gathered(x: &TensorType, indices: &TensorType, axis: usize) -> Result<Shape, Reason> {
    check::is_of("the indices", indices, DType::I32)?;
    let whole = |at: usize| x.shape.get(at).is_some_and(|dim| !dim.is_batch());
    if !whole(axis) {
        return Err(Reason::new(format!("{} has no dimension {axis} of fixed size to index", x.shape)));
    }
    let shape = Shape([&x.shape.0[..axis], &indices.shape.0, &x.shape.0[axis + 1..]].concat());
    match shape.symbolic_elements() {
        (_, 0 | 1) => Ok(shape),
        _ => Err(Reason::new(format!("the batch would occur twice in the result, {shape}"))),
    }
}

/// The slice that an index names in a dimension of some size.
pub(super) fn resolved<F: Float>(index: F, size: usize) -> usize {
    let index = index.f64();
    (if index < 0.0 { index + size as f64 } else { index }) as usize
}

impl Operator for Gather {
    const NAME: &'static str = "gather";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x, indices] = check::count(operands)?;
        check::one_type(&[x])?;
        Ok(x.with_shape(gathered(x, indices, self.axis)?))
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let (x, indices) = (graph.operand(node, 0)?, graph.operand(node, 1)?);
        let shape = graph.ty(x).shape.clone();
        Ok(vec![Some(graph.add(GatherGrad { axis: self.axis, shape }, &[dy, indices])?), None])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::moving(Form::Move)
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let (x, indices) = (operands[0], operands[1]);
        let rank = indices.shape.len();
        Array::from_fn(shape, |i| {
            let index = resolved(indices.at(&i[self.axis..self.axis + rank]), x.shape[self.axis]);
            x.at(&[&i[..self.axis], &[index], &i[self.axis + rank..]].concat())
        })
    }

    fn samples() -> Vec<Sample> {
        let sample = |axis, x: &[usize], indices: &[usize]| {
            Sample::typed(Gather { axis }, &[TensorType::f32(Shape::fixed(x)), TensorType::i32(Shape::fixed(indices))])
        };
        [sample(0, &[5, 3], &[2, 4]), sample(1, &[2, 4, 3], &[5]), sample(2, &[2, 3, 4], &[])]
            .into_iter()
            .flatten()
            .collect()
    }
}
