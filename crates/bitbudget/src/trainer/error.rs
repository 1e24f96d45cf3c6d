//! Why a trainer file cannot be used.

use super::DecodeError;
use crate::{CompileError, PlanError};
use bitbudget_precision::AssignError;
use bitbudget_report::Rounding::{Nearest, Up};
use bitbudget_report::amounts;

const AGAIN: &str = "compile the network again";

/// Why a trainer file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrainerError {
    /// It is damaged.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Its assignment does not fit its graph.
    #[error("the trainer file's assignment is damaged: `{field}` {reason}; {help}", help = AGAIN)]
    Assignment {
        /// The field of its assignment.
        field: String,
        /// The fault.
        reason: String,
    },
    /// Its checksum is right, but its assignment is not one that this build writes.
    #[error("the trainer file is another build's: {reason}; {help}", help = AGAIN)]
    Build {
        /// Where, if that is known.
        place: Option<String>,
        /// The difference.
        reason: String,
    },
    /// The programs that this build makes of it take more memory than its budget.
    #[error("as this build compiles the trainer file, a step takes {}; {help}", above(*.needed, *.budget), help = AGAIN)]
    Budget {
        /// Bytes of the budget.
        budget: usize,
        /// Bytes of a step at its peak.
        needed: usize,
    },
    /// It cannot be built.
    #[error(transparent)]
    Compile(#[from] CompileError),
}

fn above(needed: usize, budget: usize) -> String {
    let [needed, budget] = amounts([(needed, Up), (budget, Nearest)]);
    format!("{needed}, more than its budget of {budget}")
}

impl TrainerError {
    pub(super) fn field(field: &str, reason: impl Into<String>) -> TrainerError {
        TrainerError::Assignment { field: field.to_string(), reason: reason.into() }
    }

    /// The assignment has other fields or values.
    pub(super) fn of_another_build(error: serde_json::Error) -> TrainerError {
        let text = error.to_string();
        // As in "missing field `low` at line 1 column 20".
        let field = text.split_once("field `").and_then(|(_, rest)| rest.split_once('`')).map(|(name, _)| name);
        TrainerError::Build {
            place: field.map(|name| format!("`{name}`")),
            reason: format!("its assignment has {text}"),
        }
    }

    /// The same of what a plan checks.
    pub(super) fn of_plan(error: PlanError) -> TrainerError {
        TrainerError::Build { place: error.place(), reason: error.to_string() }
    }

    /// Where: the field or tensor of its assignment, the budget, or the node that cannot be built.
    pub fn place(&self) -> Option<String> {
        match self {
            TrainerError::Decode(error) => error.place().map(str::to_string),
            TrainerError::Assignment { field, .. } => Some(format!("`{field}`")),
            TrainerError::Build { place, .. } => place.clone(),
            TrainerError::Budget { .. } => Some("the budget".to_string()),
            TrainerError::Compile(error) => error.place(),
        }
    }

    /// Advice.
    pub fn help(&self) -> Option<String> {
        match self {
            TrainerError::Decode(error) => error.help().map(str::to_string),
            TrainerError::Assignment { .. } | TrainerError::Build { .. } | TrainerError::Budget { .. } => {
                Some(AGAIN.to_string())
            }
            TrainerError::Compile(error) => error.help(),
        }
    }
}

impl From<AssignError> for TrainerError {
    fn from(error: AssignError) -> TrainerError {
        TrainerError::field("plan", error.to_string())
    }
}
