//! The kinds of tensors, and their names.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The kind of a tensor: its relation to its operator (paper, "The problem").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// P: a rounded parameter, which forward and backward pass read.
    Parameter,
    /// Y: the operator's result.
    Output,
    /// GY: the gradient with respect to the result.
    OutputGradient,
    /// GP: the gradient with respect to a parameter.
    ParameterGradient,
}

impl Kind {
    /// Whether it is a gradient, which the loss scale multiplies.
    pub fn is_gradient(self) -> bool {
        matches!(self, Kind::OutputGradient | Kind::ParameterGradient)
    }

    /// The name in reports: `output gradient`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Parameter => "parameter",
            Kind::Output => "output",
            Kind::OutputGradient => "output gradient",
            Kind::ParameterGradient => "parameter gradient",
        }
    }
}

/// The name before that of a tensor: `gradient of output`.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Parameter => "parameter",
            Kind::Output => "output",
            Kind::OutputGradient => "gradient of output",
            Kind::ParameterGradient => "gradient of parameter",
        })
    }
}
