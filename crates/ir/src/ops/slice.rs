//! A regular part of a tensor.

use super::{Operator, Precision, Sample, SliceScatter, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Form, Planes, Run, elements_after};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// The elements at `begin + i * step` for all `i` within `shape` (ONNX Slice, with bounds already resolved).
    pub struct Slice {
        /// The first index per dimension.
        begin: Vec<usize>,
        /// The step per dimension, negative for backwards.
        step: Vec<i64> = vec![1; begin.len()],
        /// The result's shape.
        shape: Shape,
    }
}

/// Checks that `begin + i * step` stays inside `whole` for all `i` within `part`; batch dimensions are taken whole.
pub(super) fn check_region(whole: &Shape, begin: &[usize], step: &[i64], part: &Shape) -> Result<(), Reason> {
    let rank = whole.rank();
    if begin.len() != rank || step.len() != rank || part.rank() != rank {
        return Err(Reason::new(format!("begin {begin:?}, step {step:?} and {part} do not fit {whole}")));
    }
    for axis in 0..rank {
        let (size, taken) = (whole.0[axis], part.0[axis]);
        let inside = match (size.as_fixed(), taken.as_fixed()) {
            (Some(size), Some(taken)) => {
                let last = begin[axis] as i128 + (taken as i128 - 1) * i128::from(step[axis]);
                step[axis] != 0 && (taken == 0 || (begin[axis] < size && (0..size as i128).contains(&last)))
            }
            _ => size == taken && begin[axis] == 0 && step[axis] == 1,
        };
        if !inside {
            return Err(Reason::new(format!(
                "dimension {axis} of {whole}: {taken} elements from {} in steps of {} leave it (the batch can only be \
                 taken whole)",
                begin[axis], step[axis]
            )));
        }
    }
    Ok(())
}

/// The index in the whole of an index in the part.
pub(super) fn whole_index(begin: &[usize], step: &[i64], i: &[usize]) -> Vec<usize> {
    i.iter().zip(begin).zip(step).map(|((&i, &b), &s)| (b as i64 + i as i64 * s) as usize).collect()
}

impl Operator for Slice {
    const NAME: &'static str = "slice";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let x = check::moved(operands)?;
        check_region(&x.shape, &self.begin, &self.step, &self.shape)?;
        Ok(x.with_shape(self.shape.clone()))
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let x = graph.operand(node, 0)?;
        let shape = graph.ty(x).shape.clone();
        let dx = SliceScatter { begin: self.begin.clone(), step: self.step.clone(), shape };
        Ok(vec![Some(graph.add(dx, &[dy])?)])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, operands: &[&Shape], result: &Shape) -> Facts {
        let channels = || {
            let [x] = operands else { return None };
            let is_whole = |axis: usize| axis == 1 || x.get(axis) == result.get(axis);
            let of_channels = x.rank() == result.rank() && (0..x.rank()).all(is_whole);
            let run = Run { operand: 0, of: x.get(1)?.as_fixed()?, first: *self.begin.get(1)?, count: result.get(1)?.as_fixed()? };
            let planes = Planes { elements: elements_after(result, 2)?, runs: vec![run] };
            (of_channels && self.step.iter().all(|&step| step == 1)).then_some(Form::Planes(planes))
        };
        Facts::moving(channels().unwrap_or(Form::Move))
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        Array::from_fn(shape, |i| operands[0].at(&whole_index(&self.begin, &self.step, i)))
    }

    fn samples() -> Vec<Sample> {
        let op = |begin: &[usize], step: &[i64], shape: &[usize]| Slice {
            begin: begin.to_vec(),
            step: step.to_vec(),
            shape: Shape::fixed(shape),
        };
        [
            Sample::of(op(&[0, 2, 0], &[1, 1, 1], &[2, 2, 3]), &[&[2, 4, 3]]),
            Sample::of(op(&[0, 3, 1], &[1, -2, 3], &[2, 2, 2]), &[&[2, 4, 5]]),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
