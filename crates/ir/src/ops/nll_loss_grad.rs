//! The gradient of the negative log-likelihood.

use super::{Operator, Precision, Sample, Work, check, elementwise_work, nll_loss::{check_labels, row_weights, targets}, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use crate::facts::{Facts, Form, Read, Reads};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Dim, Shape, TensorType};

operator! {
    /// `-dloss / weight` times the part of each row's target at a class, where weight is that of all rows that count; on dloss (a scalar),
    /// labels, and weights of the classes where there are any.
    pub struct NllLossGrad {
        /// The shape of the log-probabilities.
        shape: Shape,
        /// The share of each row's target that is spread over all classes, by their weights.
        smoothing: Real = Real(0.0),
    }
}

impl Operator for NllLossGrad {
    const NAME: &'static str = "nll_loss_grad";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let (dloss, labels, weights) = match *operands {
            [dloss, labels] => (dloss, labels, None),
            [dloss, labels, weights] => (dloss, labels, Some(weights)),
            _ => return Err(Reason::new(format!("takes 2 or 3 operands, got {}", operands.len()))),
        };
        check::all_floats(&[dloss])?;
        check::scalar("the loss's gradient", dloss)?;
        let scores = TensorType::f32(self.shape.clone());
        check_labels(&scores, labels, weights)?;
        Ok(scores)
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::High
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::new(Form::Rows { axes: 1 }, Reads::All(Read::Whole))
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let (dloss, labels, weights) = (operands[0].scalar(), operands[1], operands.get(2).copied());
        let total: F = row_weights(labels, weights).into_iter().sum();
        let value = if total > F::zero() { -dloss / total } else { F::zero() };
        let row = |label: &F| match label.to_usize() {
            Some(label) => targets(self.smoothing.0, shape[1], label, weights),
            None => vec![F::zero(); shape[1]],
        };
        Array::new(shape, labels.data.iter().flat_map(row).map(|target| value * target).collect())
    }

    fn samples() -> Vec<Sample> {
        let labels = TensorType::i32([Dim::fixed(3)]);
        let weights = TensorType::f32([Dim::fixed(4)]);
        let op = |smoothing| NllLossGrad { shape: Shape::fixed(&[3, 4]), smoothing: Real(smoothing) };
        let plain = |smoothing| Sample::typed(op(smoothing), &[TensorType::scalar(), labels.clone()]);
        let weighted = |smoothing| {
            Sample::with_constant(op(smoothing), &[TensorType::scalar(), labels.clone()], weights.clone())
        };
        let samples = [plain(0.0), plain(0.25), weighted(0.0), weighted(0.25)];
        samples.into_iter().flatten().map(|sample| sample.within(0.25, 2.0)).collect()
    }
}
