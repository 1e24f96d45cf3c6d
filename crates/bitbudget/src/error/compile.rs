//! Why a network cannot be compiled.

use crate::{AssignError, BudgetError, GraphError, PlanError, ProfileError};
use bitbudget_lower::LowerError;
use bitbudget_precision::PinError;

/// Why a network cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The network or its derivative is not well formed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Graph(Vec<GraphError>),
    /// Pins have no meaning for the network.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Pins(Vec<PinError>),
    /// The assignment that was given is not one of the network.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The formats cannot be chosen.
    #[error(transparent)]
    Assign(#[from] AssignError),
    /// No assignment fits the budget.
    #[error(transparent)]
    Budget(BudgetError),
    /// The profile is not the network's.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The graph cannot be lowered.
    #[error(transparent)]
    Lower(#[from] LowerError),
}

impl CompileError {
    /// Where: that of the first fault.
    pub fn place(&self) -> Option<String> {
        match self {
            CompileError::Graph(faults) => faults.first().map(GraphError::place),
            CompileError::Pins(errors) => errors.first().map(PinError::place),
            CompileError::Plan(error) => error.place(),
            CompileError::Assign(error) => Some(error.place()),
            CompileError::Budget(error) => error.place(),
            CompileError::Profile(error) => error.place(),
            CompileError::Lower(error) => Some(error.place().to_string()),
        }
    }

    /// Advice about the first fault, where it is known.
    pub fn help(&self) -> Option<String> {
        match self {
            CompileError::Graph(_) => None,
            CompileError::Pins(errors) => errors.first().and_then(PinError::help),
            CompileError::Plan(error) => error.help(),
            CompileError::Assign(error) => Some(error.help().to_string()),
            CompileError::Budget(error) => error.help(),
            CompileError::Profile(error) => error.help(),
            CompileError::Lower(error) => Some(error.help().to_string()),
        }
    }
}

/// Errors of passes that the search calls keep their own messages.
impl From<BudgetError> for CompileError {
    fn from(error: BudgetError) -> CompileError {
        match error {
            BudgetError::Assign(error) => CompileError::Assign(error),
            BudgetError::Build(failure) => match failure.downcast() {
                Ok(error) => *error,
                Err(failure) => CompileError::Budget(BudgetError::Build(failure)),
            },
            error => CompileError::Budget(error),
        }
    }
}

impl From<GraphError> for CompileError {
    fn from(error: GraphError) -> CompileError {
        CompileError::Graph(vec![error])
    }
}
