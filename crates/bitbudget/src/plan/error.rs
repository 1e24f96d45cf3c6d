//! What can be wrong with a plan.

use bitbudget_formats::{Format, ParseFormatError};
use bitbudget_precision::PinError;

/// Why a plan cannot be read, written or used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file's name does not tell what it is.
    #[error("{0}: assignments are TOML or JSON; name the file .toml or .json")]
    Kind(String),
    /// The text is not a plan.
    #[error("not an assignment: {0}")]
    Syntax(String),
    /// A setting cannot be written.
    #[error("the assignment cannot be written: {0}")]
    Write(String),
    /// The assignment does not fit the network.
    #[error(
        "the assignment does not fit the network:\n{}",
        .0.iter().map(|problem| format!("- {problem}")).collect::<Vec<_>>().join("\n")
    )]
    Problems(Vec<Problem>),
}

/// One thing that is wrong with an assignment for a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The names of the networks differ, and the tensors too.
    #[error("it is of network `{found}`, and this is `{expected}`; use the network that it was made for")]
    Network {
        /// That of the file.
        found: String,
        /// That of the network.
        expected: String,
    },
    /// A line has no tensor.
    #[error("the network has no tensor `{0}`; correct the name, or remove the line")]
    Unknown(String),
    /// A tensor has no line.
    #[error("tensor `{name}` {shape} is missing under [tensors]; add a line with its formats")]
    Missing {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: String,
    },
    /// A tensor has two lines.
    #[error("tensor `{0}` is there twice; remove one line")]
    Twice(String),
    /// A shape is not the tensor's.
    #[error(
        "tensor `{name}` has the shape {expected}, not {found}; use the network that it was made for, or correct it"
    )]
    Shape {
        /// The tensor.
        name: String,
        /// The shape in the file.
        found: String,
        /// That of the network.
        expected: String,
    },
    /// A tensor has another operator.
    #[error("tensor `{name}` is of operator `{found}`, but in the network of `{expected}`")]
    Operator {
        /// The tensor.
        name: String,
        /// The operator in the file.
        found: String,
        /// That in the network.
        expected: String,
    },
    /// A text does not name a format.
    #[error("tensor `{name}`, {pass}: {reason}")]
    Format {
        /// The tensor.
        name: String,
        /// `forward` or `backward`.
        pass: &'static str,
        /// The problem with it.
        reason: ParseFormatError,
    },
    /// A tensor may not have its format.
    #[error(
        "tensor `{name}`, {pass}: it cannot be {format}; the input and the loss stay in high precision, write fp32"
    )]
    Exact {
        /// The tensor.
        name: String,
        /// `forward` or `backward`.
        pass: &'static str,
        /// The format.
        format: Format,
    },
    /// A recomputed node is not a result.
    #[error("`{0}` under `recompute` is not a result of the forward pass; correct the name, or remove it")]
    Recompute(String),
    /// A pin has no meaning.
    #[error(transparent)]
    Pin(#[from] PinError),
}
