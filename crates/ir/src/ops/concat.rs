//! Tensors side by side.

use super::{Operator, Precision, Sample, Slice, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Form, Numbers, Planes, Run, elements_after};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Dim, Shape, TensorType};

operator! {
    /// One or more tensors one after the other along a dimension (ONNX Concat).
    pub struct Concat {
        /// The dimension.
        axis: usize,
    }
}

impl Operator for Concat {
    const NAME: &'static str = "concat";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        check::one_type(operands)?;
        let first = operands.first().ok_or_else(|| Reason::new("needs at least one operand"))?;
        let mut size = 0usize;
        for x in operands {
            let agrees = |(axis, (a, b)): (usize, (&Dim, &Dim))| axis == self.axis || a == b;
            let same = x.shape.rank() == first.shape.rank()
                && x.shape.0.iter().zip(&first.shape.0).enumerate().all(agrees);
            match x.shape.get(self.axis).and_then(Dim::as_fixed) {
                Some(part) if same => size = size.saturating_add(part),
                _ => {
                    return Err(Reason::new(format!(
                        "{} and {} cannot stand side by side along dimension {}",
                        first.shape, x.shape, self.axis
                    )));
                }
            }
        }
        let mut shape = first.shape.clone();
        shape.0[self.axis] = size.into();
        Ok(first.with_shape(shape))
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let mut gradients = Vec::new();
        let mut start = 0;
        for part in graph.operands(node).to_vec() {
            let shape: Shape = graph.ty(part).shape.clone();
            let mut begin = vec![0; shape.rank()];
            begin[self.axis] = start;
            start += shape.0[self.axis].factor();
            let step = vec![1; shape.rank()];
            gradients.push(Some(graph.add(Slice { begin, step, shape }, &[dy])?));
        }
        Ok(gradients)
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, operands: &[&Shape], result: &Shape) -> Facts {
        let run = |(operand, x): (usize, &&Shape)| {
            let count = x.get(1)?.as_fixed()?;
            Some(Run { operand, of: count, first: 0, count })
        };
        let channels = || {
            let runs = operands.iter().enumerate().map(run).collect::<Option<Vec<Run>>>()?;
            (self.axis == 1).then_some(Form::Planes(Planes { elements: elements_after(result, 2)?, runs }))
        };
        Facts::moving(channels().unwrap_or(Form::Move)).with_numbers(Numbers::OfEvery)
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        Array::from_fn(shape, |i| {
            let mut i = i.to_vec();
            for part in operands {
                if i[self.axis] < part.shape[self.axis] {
                    return part.at(&i);
                }
                i[self.axis] -= part.shape[self.axis];
            }
            F::nan()
        })
    }

    fn samples() -> Vec<Sample> {
        [
            Sample::of(Concat { axis: 1 }, &[&[2, 3, 2], &[2, 1, 2], &[2, 2, 2]]),
            Sample::of(Concat { axis: 2 }, &[&[2, 3, 2], &[2, 3, 1]]),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
