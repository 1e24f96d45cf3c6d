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
        /// The number of leading dimensions that both operands have: each of their indices has a list of slices of its own.
        batch_dims: usize = 0,
    }
}

/// The shape of slices of `x` along an axis, one for each of the indices.
pub(super) fn gathered(x: &TensorType, indices: &TensorType, axis: usize, batch_dims: usize) -> Result<Shape, Reason> {
    check::is_of("the indices", indices, DType::I32)?;
    let whole = |at: usize| x.shape.get(at).is_some_and(|dim| !dim.is_batch());
    if !whole(axis) {
        return Err(Reason::new(format!("{} has no dimension {axis} of fixed size to index", x.shape)));
    }
    let own = indices.shape.0.get(batch_dims..).filter(|_| batch_dims <= axis);
    let own = own.filter(|_| x.shape.0[..batch_dims] == indices.shape.0[..batch_dims]).ok_or_else(|| {
        Reason::new(format!("{} and the indices {} do not share {batch_dims} dimensions", x.shape, indices.shape))
    })?;
    let shape = Shape([&x.shape.0[..axis], own, &x.shape.0[axis + 1..]].concat());
    match shape.symbolic_elements() {
        (_, 0 | 1) => Ok(shape),
        _ => Err(Reason::new(format!("the batch would occur twice in the result, {shape}"))),
    }
}

/// Where the element of an index of the gathered slices comes from: the index in the tensor of the given shape.
pub(super) fn origin<F: Float>(
    i: &[usize],
    indices: &Array<F>,
    [axis, batch_dims]: [usize; 2],
    shape: &[usize],
) -> Vec<usize> {
    let own = indices.shape.len() - batch_dims;
    let index = indices.at(&[&i[..batch_dims], &i[axis..axis + own]].concat()).f64();
    let index = (if index < 0.0 { index + shape[axis] as f64 } else { index }) as usize;
    [&i[..axis], &[index], &i[axis + own..]].concat()
}

impl Operator for Gather {
    const NAME: &'static str = "gather";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x, indices] = check::count(operands)?;
        check::one_type(&[x])?;
        Ok(x.with_shape(gathered(x, indices, self.axis, self.batch_dims)?))
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let (x, indices) = (graph.operand(node, 0)?, graph.operand(node, 1)?);
        let shape = graph.ty(x).shape.clone();
        Ok(vec![Some(graph.add(GatherGrad { axis: self.axis, batch_dims: self.batch_dims, shape }, &[dy, indices])?), None])
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
        Array::from_fn(shape, |i| x.at(&origin(i, indices, [self.axis, self.batch_dims], &x.shape)))
    }

    fn samples() -> Vec<Sample> {
        let sample = |axis, batch_dims, x: &[usize], indices: &[usize]| {
            let types = [TensorType::f32(Shape::fixed(x)), TensorType::i32(Shape::fixed(indices))];
            Sample::typed(Gather { axis, batch_dims }, &types)
        };
        let samples = [
            sample(0, 0, &[5, 3], &[2, 4]),
            sample(1, 0, &[2, 4, 3], &[5]),
            sample(2, 0, &[2, 3, 4], &[]),
            sample(1, 1, &[3, 4, 2], &[3, 5]),
            sample(2, 1, &[2, 3, 4, 2], &[2, 2, 3]),
            sample(2, 2, &[2, 3, 5], &[2, 3, 4]),
        ];
        samples.into_iter().flatten().collect()
    }
}
