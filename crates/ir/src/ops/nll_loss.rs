//! Negative log-likelihood.

use super::{NllLossGrad, Operator, Precision, Sample, Work, check};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use crate::facts::Facts;
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{DType, Dim, Shape, TensorType};

operator! {
    /// The mean over the rows of minus the log-probability `[N, K]` at the label `[N]`: a scalar. Rows with a negative label do not
    /// count; it is 0 if none do. With a third operand, weights `[K]` of the classes, rows weigh as their labels do.
    pub struct NllLoss {
        /// The share of each row's target that is spread over all classes, by their weights.
        smoothing: Real = Real(0.0),
    }
}

/// Checks labels, and weights of classes where there are any, against `[N, K]`.
pub(super) fn check_labels(classes: &TensorType, labels: &TensorType, weights: Option<&TensorType>) -> Result<(), Reason> {
    let size = |axis| (classes.shape.rank() == 2).then(|| classes.shape.0[axis]);
    if labels.dtype != DType::I32 || size(0).is_none_or(|n| labels.shape.0 != [n]) {
        return Err(Reason::new(format!("needs [N, classes] and labels [N], has {classes} and {labels}")));
    }
    match weights {
        Some(weights) if weights.dtype != DType::F32 || size(1).is_none_or(|k| weights.shape.0 != [k]) => {
            Err(Reason::new(format!("needs a weight for each class of {classes}, has {weights}")))
        }
        _ => Ok(()),
    }
}

/// The weight of each row: that of its label's class, 0 where it is negative.
pub(super) fn row_weights<F: Float>(labels: &Array<F>, weights: Option<&Array<F>>) -> Vec<F> {
    let weight = |label: &F| label.to_usize().map_or(F::zero(), |class| weights.map_or(F::of(1.0), |w| w.data[class]));
    labels.data.iter().map(weight).collect()
}

/// Part of a row's target at each class: what is left of one at the label, and the same share everywhere, by the weights.
pub(super) fn targets<F: Float>(smoothing: f64, classes: usize, label: usize, weights: Option<&Array<F>>) -> Vec<F> {
    let weight = |class: usize| weights.map_or(F::of(1.0), |weights| weights.data[class]);
    let part = |class| F::of(smoothing / classes as f64 + if class == label { 1.0 - smoothing } else { 0.0 });
    (0..classes).map(|class| part(class) * weight(class)).collect()
}

impl Operator for NllLoss {
    const NAME: &'static str = "nll_loss";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let (log_probabilities, labels, weights) = match *operands {
            [log_probabilities, labels] => (log_probabilities, labels, None),
            [log_probabilities, labels, weights] => (log_probabilities, labels, Some(weights)),
            _ => return Err(Reason::new(format!("takes 2 or 3 operands, got {}", operands.len()))),
        };
        check::all_floats(&[log_probabilities])?;
        check_labels(log_probabilities, labels, weights)?;
        Ok(TensorType::scalar())
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let operands = graph.operands(node).to_vec();
        let op = NllLossGrad { shape: graph.ty(operands[0]).shape.clone(), smoothing: self.smoothing };
        let gradient = graph.add(op, &[&[dy], &operands[1..]].concat())?;
        Ok([vec![Some(gradient)], vec![None; operands.len() - 1]].concat())
    }

    fn precision(&self) -> Precision {
        Precision::High
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::reduction(Vec::new())
    }

    fn work(&self, operands: &[&TensorType], _: &TensorType, batch: usize) -> Work {
        Work { flops: operands.get(1).map_or(0, |labels| labels.shape.elements(batch) as u64) }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let (scores, labels, weights) = (operands[0], operands[1], operands.get(2).copied());
        let classes = scores.shape[1];
        let row = |n: usize| {
            let targets = targets(self.smoothing.0, classes, labels.data[n].to_usize()?, weights);
            Some((0..classes).map(|class| targets[class] * scores.at(&[n, class])).sum::<F>())
        };
        let total: F = row_weights(labels, weights).into_iter().sum();
        let sum: F = (0..scores.shape[0]).filter_map(row).sum();
        Array::new(shape, vec![if total > F::zero() { -sum / total } else { F::zero() }])
    }

    fn samples() -> Vec<Sample> {
        let labels = TensorType::i32([Dim::fixed(3)]);
        let scores = TensorType::f32([Dim::fixed(3), Dim::fixed(4)]);
        let types = [scores, labels];
        let op = |smoothing| NllLoss { smoothing: Real(smoothing) };
        let plain = [0.0, 0.25].map(|smoothing| Sample::typed(op(smoothing), &types));
        let weighted = [0.0, 0.25].map(|smoothing| Sample::with_constant(op(smoothing), &types, TensorType::f32([Dim::fixed(4)])));
        [plain, weighted].into_iter().flatten().flatten().map(|sample| sample.within(0.25, 2.0)).collect()
    }
}
