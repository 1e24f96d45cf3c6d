//! Problems of plans.

use bitbudget_formats::{Format, ParseFormatError};
use bitbudget_precision::PinError;
use std::fmt;

/// Why a plan cannot be read, written or used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file's name does not tell what it is.
    #[error("{0}: assignments are TOML or JSON; {help}", help = KIND)]
    Kind(String),
    /// The text is not a plan.
    #[error("not an assignment: {0}")]
    Syntax(String),
    /// A field is missing, or its value has no meaning.
    #[error("not an assignment: {reason}; {help}")]
    Field {
        /// The field with its table, or the tensor in whose line it stands.
        place: String,
        /// The fault.
        reason: String,
        /// The correct form.
        help: String,
    },
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

const KIND: &str = "name the file .toml or .json";

impl PlanError {
    /// A fault of a field at the top of the file.
    pub(super) fn field(name: &str, reason: String, help: &str) -> PlanError {
        PlanError::Field { place: format!("`{name}`"), reason, help: help.to_string() }
    }

    /// A number of a table that is not in its range.
    pub(super) fn number(table: &str, name: &str, number: f64, range: &str) -> PlanError {
        let reason = format!("`{name}` under [{table}] is {number:?}");
        PlanError::Field { place: format!("`{table}.{name}`"), reason, help: format!("it must be {range}") }
    }

    /// Where: the file, the field with its table, or the first tensor or pattern that is wrong.
    pub fn place(&self) -> Option<String> {
        match self {
            PlanError::Kind(file) => Some(file.clone()),
            PlanError::Field { place, .. } => Some(place.clone()),
            PlanError::Problems(problems) => problems.first().map(Problem::place),
            PlanError::Syntax(_) | PlanError::Write(_) => None,
        }
    }

    /// Advice about the first fault.
    pub fn help(&self) -> Option<String> {
        match self {
            PlanError::Kind(_) => Some(KIND.to_string()),
            PlanError::Field { help, .. } => Some(help.clone()),
            PlanError::Problems(problems) => problems.first().and_then(Problem::help),
            PlanError::Syntax(_) | PlanError::Write(_) => None,
        }
    }
}

/// One thing that is wrong with an assignment for a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The names of the networks differ, and the tensors too.
    Network {
        /// That of the file.
        found: String,
        /// That of the network.
        expected: String,
    },
    /// A line has no tensor.
    Unknown(String),
    /// A tensor has no line.
    Missing {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: String,
    },
    /// A tensor has two lines.
    Twice(String),
    /// A shape is not the tensor's.
    Shape {
        /// The tensor.
        name: String,
        /// The shape in the file.
        found: String,
        /// That of the network.
        expected: String,
    },
    /// A tensor has another operator.
    Operator {
        /// The tensor.
        name: String,
        /// The operator in the file.
        found: String,
        /// That in the network.
        expected: String,
    },
    /// A text does not name a format.
    Format {
        /// The tensor.
        name: String,
        /// `forward` or `backward`.
        pass: &'static str,
        /// The problem with it.
        reason: ParseFormatError,
    },
    /// A tensor may not have its format.
    Exact {
        /// The tensor.
        name: String,
        /// `forward` or `backward`.
        pass: &'static str,
        /// The format.
        format: Format,
    },
    /// A recomputed node is not a result.
    Recompute(String),
    /// A pin has no meaning.
    Pin(#[from] PinError),
}

impl Problem {
    /// Where: the tensor, the field, or the pattern of a pin.
    pub fn place(&self) -> String {
        match self {
            Problem::Network { .. } => "`network`".to_string(),
            Problem::Unknown(name)
            | Problem::Twice(name)
            | Problem::Missing { name, .. }
            | Problem::Shape { name, .. }
            | Problem::Operator { name, .. } => format!("tensor `{name}`"),
            Problem::Format { name, pass, .. } | Problem::Exact { name, pass, .. } => {
                format!("tensor `{name}`, {pass}")
            }
            Problem::Recompute(_) => "`recompute`".to_string(),
            Problem::Pin(error) => error.place(),
        }
    }

    /// The fault.
    pub fn reason(&self) -> String {
        match self {
            Problem::Network { found, expected } => format!("it is of network `{found}`, and this is `{expected}`"),
            Problem::Unknown(name) => format!("the network has no tensor `{name}`"),
            Problem::Missing { name, shape } => format!("tensor `{name}` {shape} is missing under [tensors]"),
            Problem::Twice(name) => format!("tensor `{name}` is there twice"),
            Problem::Shape { name, found, expected } => {
                format!("tensor `{name}` has the shape {expected}, not {found}")
            }
            Problem::Operator { name, found, expected } => {
                format!("tensor `{name}` is of operator `{found}`, but in the network of `{expected}`")
            }
            Problem::Format { name, pass, reason } => format!("tensor `{name}`, {pass}: {reason}"),
            Problem::Exact { name, pass, format } => format!("tensor `{name}`, {pass}: it cannot be {format}"),
            Problem::Recompute(name) => format!("`{name}` under `recompute` is not a result of the forward pass"),
            Problem::Pin(error) => error.reason(),
        }
    }

    /// Advice, where it is more than the reason's opposite.
    pub fn help(&self) -> Option<String> {
        let help = match self {
            Problem::Network { .. } => "use the network that it was made for",
            Problem::Unknown(_) => "correct the name, or remove the line",
            Problem::Missing { .. } => "add a line with its formats",
            Problem::Twice(_) => "remove one line",
            Problem::Shape { .. } => "use the network that it was made for, or correct it",
            Problem::Exact { .. } => "the input and the loss stay in high precision, write fp32",
            Problem::Recompute(_) => "correct the name, or remove it",
            Problem::Pin(error) => return error.help(),
            Problem::Operator { .. } | Problem::Format { .. } => return None,
        };
        Some(help.to_string())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason())?;
        self.help().map_or(Ok(()), |help| write!(f, "; {help}"))
    }
}
