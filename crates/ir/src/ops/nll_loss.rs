//! Negative log-likelihood.

use super::{NllLossGrad, Operator, Precision, Sample, Work, check};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::Facts;
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{DType, Dim, Shape, TensorType};

operator! {
    /// The mean over the rows of minus the log-probability `[N, K]` at the label `[N]`: a scalar. Rows with a negative label do not
    /// count; it is 0 if none do.
    pub struct NllLoss {}
}

/// Checks labels against `[N, K]`.
pub(super) fn check_labels(classes: &TensorType, labels: &TensorType) -> Result<(), Reason> {
    let rows: Option<Dim> = (classes.shape.rank() == 2).then(|| classes.shape.0[0]);
    if labels.dtype == DType::I32 && rows.is_some_and(|n| labels.shape.0 == [n]) {
        return Ok(());
    }
    Err(Reason::new(format!("needs [N, classes] and labels [N], has {classes} and {labels}")))
}

impl Operator for NllLoss {
    const NAME: &'static str = "nll_loss";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [log_probabilities, labels] = check::count(operands)?;
        check::all_floats(&[log_probabilities])?;
        check_labels(log_probabilities, labels)?;
        Ok(TensorType::scalar())
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let operands = graph.operands(node);
        let shape = graph.ty(operands[0]).shape.clone();
        Ok(vec![Some(graph.add(NllLossGrad { shape }, &[dy, operands[1]])?), None])
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
        let (scores, labels) = (operands[0], operands[1]);
        let picked = |n: usize| Some(scores.at(&[n, labels.data[n].to_usize()?]));
        let picked: Vec<F> = (0..scores.shape[0]).filter_map(picked).collect();
        let rows = picked.len().max(1);
        Array::new(shape, vec![-picked.into_iter().sum::<F>() / F::of(rows as f64)])
    }

    fn samples() -> Vec<Sample> {
        let labels = TensorType::i32([Dim::fixed(3)]);
        let scores = TensorType::f32([Dim::fixed(3), Dim::fixed(4)]);
        Sample::typed(NllLoss {}, &[scores, labels]).into_iter().collect()
    }
}
