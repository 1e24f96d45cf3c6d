//! The gradient of the negative log-likelihood.

use super::{Operator, Precision, Sample, Work, check, elementwise_work, nll_loss::check_labels, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Form, Read, Reads};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Dim, Shape, TensorType};

operator! {
    /// `-dloss / rows` at the label of each row that counts, 0 elsewhere; on dloss (a scalar), labels.
    pub struct NllLossGrad {
        /// The shape of the log-probabilities.
        shape: Shape,
    }
}

impl Operator for NllLossGrad {
    const NAME: &'static str = "nll_loss_grad";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [dloss, labels] = check::count(operands)?;
        check::all_floats(&[dloss])?;
        check::scalar("the loss's gradient", dloss)?;
        let scores = TensorType::f32(self.shape.clone());
        check_labels(&scores, labels)?;
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
        let (dloss, labels) = (operands[0].scalar(), operands[1]);
        let rows = labels.data.iter().filter(|label| **label >= F::zero()).count().max(1);
        let value = -dloss / F::of(rows as f64);
        Array::from_fn(shape, |i| if labels.data[i[0]] == F::of(i[1] as f64) { value } else { F::zero() })
    }

    fn samples() -> Vec<Sample> {
        let labels = TensorType::i32([Dim::fixed(3)]);
        let op = NllLossGrad { shape: Shape::fixed(&[3, 4]) };
        Sample::typed(op, &[TensorType::scalar(), labels]).into_iter().collect()
    }
}
