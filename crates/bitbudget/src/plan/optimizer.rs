//! The optimizer in an assignment file.

use super::PlanError;
use super::text::number;
use bitbudget_autodiff::Optimizer;
use serde::{Deserialize, Serialize};

/// An update rule with what options can set of it; the rest is as by default.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "lowercase", deny_unknown_fields, expecting = "a table of the optimizer's settings")]
pub(super) enum PlannedOptimizer {
    Sgd {
        #[serde(deserialize_with = "number")]
        momentum: f64,
        #[serde(deserialize_with = "number")]
        weight_decay: f64,
    },
    Adamw {
        #[serde(deserialize_with = "number")]
        weight_decay: f64,
    },
}

impl PlannedOptimizer {
    pub(super) fn of(optimizer: &Optimizer) -> PlannedOptimizer {
        match *optimizer {
            Optimizer::Sgd { momentum, weight_decay } => PlannedOptimizer::Sgd { momentum, weight_decay },
            Optimizer::AdamW { weight_decay, .. } => PlannedOptimizer::Adamw { weight_decay },
        }
    }

    pub(super) fn optimizer(self) -> Optimizer {
        match (self, Optimizer::adamw()) {
            (PlannedOptimizer::Sgd { momentum, weight_decay }, _) => Optimizer::Sgd { momentum, weight_decay },
            (PlannedOptimizer::Adamw { weight_decay }, Optimizer::AdamW { betas, epsilon, .. }) => {
                Optimizer::AdamW { betas, epsilon, weight_decay }
            }
            (PlannedOptimizer::Adamw { .. }, other) => other,
        }
    }

    /// Checks its numbers, which are edited by hand.
    ///
    /// # Errors
    /// If one is outside of its range.
    pub(super) fn check(self) -> Result<(), PlanError> {
        let wrong = |name: &str, number: f64, range: &str| Err(PlanError::number("optimizer", name, number, range));
        let (PlannedOptimizer::Sgd { weight_decay, .. } | PlannedOptimizer::Adamw { weight_decay }) = self;
        if let PlannedOptimizer::Sgd { momentum, .. } = self
            && !(0.0..1.0).contains(&momentum)
        {
            return wrong("momentum", momentum, "from 0 to below 1");
        }
        match (weight_decay as f32).is_finite() && weight_decay >= 0.0 {
            true => Ok(()),
            false => wrong("weight_decay", weight_decay, "0 or more, within FP32"),
        }
    }
}
