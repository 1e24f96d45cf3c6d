//! The gradient of the largest or smallest element over dimensions.

use super::reduce_extremum::{extrema, rest};
use super::reduce_sum::reduced;
use super::{Operator, Precision, Sample, Work, check, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Form, Read, Reads};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// `dy` where x is the extremum, shared equally among elements that are (PyTorch's `amax`), 0 elsewhere; on dy and x.
    ///
    /// The extremum is found in x again, since the rounded result may equal no element.
    pub struct ReduceExtremumGrad {
        /// The dimensions, ascending.
        axes: Vec<usize>,
        /// Whether the smallest element was taken.
        least: bool = false,
    }
}

impl Operator for ReduceExtremumGrad {
    const NAME: &'static str = "reduce_extremum_grad";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [dy, x] = check::floats(operands)?;
        check::axes(&self.axes, x)?;
        match [true, false].iter().any(|&keep| reduced(&x.shape, &self.axes, keep) == dy.shape) {
            true => Ok(x.clone()),
            false => Err(Reason::new(format!("`dy` is {}, not {} without {:?}", dy.shape, x.shape, self.axes))),
        }
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::new(Form::Window, Reads::All(Read::Whole))
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        Work { flops: 3 * result.shape.elements(batch) as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let (dy, x) = (operands[0], operands[1]);
        let (extrema, rest) = (extrema(x, &self.axes, self.least), rest(&self.axes));
        let mut counts: Array<F> = Array::zeros(&extrema.shape);
        Array::from_fn(shape, |i| {
            let at = extrema.offset(&rest(i));
            if x.at(i) == extrema.data[at] {
                counts.data[at] = counts.data[at] + F::one();
            }
            F::zero()
        });
        Array::from_fn(shape, |i| {
            let at = extrema.offset(&rest(i));
            if x.at(i) == extrema.data[at] { dy.data[at] / counts.data[at] } else { F::zero() }
        })
    }

    fn samples() -> Vec<Sample> {
        let op = |axes: &[usize], least| ReduceExtremumGrad { axes: axes.to_vec(), least };
        let samples = [
            Sample::of(op(&[0, 2], false), &[&[3], &[2, 3, 4]]),
            Sample::of(op(&[1], true), &[&[2, 1, 4], &[2, 3, 4]]),
            Sample::of(op(&[2, 3], false), &[&[2, 3], &[2, 3, 4, 5]]),
            Sample::of(op(&[0, 1], true), &[&[], &[3, 5]]),
        ];
        samples.into_iter().flatten().collect()
    }
}
