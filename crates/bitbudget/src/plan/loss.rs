//! The loss in an assignment file.

use super::PlanError;
use super::text::Text;
use bitbudget_ir::Loss;
use serde::{Deserialize, Serialize};

/// A loss by its name, with its numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of the loss's name and numbers")]
pub(super) struct PlannedLoss {
    name: Text<Loss>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label_smoothing: Option<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    class_weights: Vec<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class_axis: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    huber_delta: Option<f64>,
}

impl PlannedLoss {
    /// The loss in a file; nothing for plain cross-entropy.
    pub(super) fn of(loss: &Loss) -> Option<PlannedLoss> {
        let mut planned = PlannedLoss {
            name: Text(loss.clone()),
            label_smoothing: None,
            class_weights: Vec::new(),
            class_axis: None,
            huber_delta: None,
        };
        match loss {
            Loss::CrossEntropy { smoothing, weights, axis } => {
                planned.label_smoothing = Some(*smoothing).filter(|&smoothing| smoothing != 0.0);
                planned.class_weights.clone_from(weights);
                planned.class_axis = *axis;
            }
            Loss::Huber { delta } => planned.huber_delta = Some(*delta),
            Loss::BinaryCrossEntropy | Loss::MeanSquared | Loss::MeanAbsolute | Loss::Output { .. } => {}
        }
        (*loss != Loss::default()).then_some(planned)
    }

    pub(super) fn loss(&self) -> Loss {
        match &self.name.0 {
            Loss::CrossEntropy { .. } => {
                let smoothing = self.label_smoothing.unwrap_or(0.0);
                Loss::CrossEntropy { smoothing, weights: self.class_weights.clone(), axis: self.class_axis }
            }
            Loss::Huber { delta } => Loss::Huber { delta: self.huber_delta.unwrap_or(*delta) },
            other => other.clone(),
        }
    }

    /// Checks its numbers, which are edited by hand.
    ///
    /// # Errors
    /// If one is outside of its range, or of another loss.
    pub(super) fn check(&self) -> Result<(), PlanError> {
        let help = "make the file again with `bitbudget assign`";
        let loss = self.loss();
        loss.check().map_err(|reason| PlanError::field("loss", reason, help))?;
        match PlannedLoss::of(&loss).unwrap_or_else(|| PlannedLoss { label_smoothing: None, ..self.clone() }) {
            used if self.huber_delta.is_some() && used.huber_delta.is_none() => {
                Err(PlanError::field("loss", format!("`huber_delta` is not of the loss {loss}"), help))
            }
            used if self.label_smoothing.is_some_and(|smoothing| smoothing != 0.0)
                && used.label_smoothing.is_none() =>
            {
                Err(PlanError::field("loss", format!("`label_smoothing` is not of the loss {loss}"), help))
            }
            used if self.class_axis.is_some() && used.class_axis.is_none() => {
                Err(PlanError::field("loss", format!("`class_axis` is not of the loss {loss}"), help))
            }
            used if used.class_weights != self.class_weights => {
                Err(PlanError::field("loss", format!("`class_weights` are not of the loss {loss}"), help))
            }
            _ => Ok(()),
        }
    }
}
