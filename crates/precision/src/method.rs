//! The methods by name.

use std::fmt;
use std::str::FromStr;

/// How levels are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// No rounding at all.
    Fp32,
    /// Everything high.
    UniformHigh,
    /// Everything low.
    UniformLow,
    /// By operator, after hybrid FP8 training: low around convolutions and matrix products (the paper's pi_op).
    Operator,
    /// By operator, after torch.amp: operators between convolutions follow their inputs (the paper's pi_op').
    Amp,
    /// The paper's method: the largest groups low, until the low ratio is reached.
    Demote,
    /// The smallest groups low.
    DemoteSmallest,
    /// Groups low in a random order.
    Random,
    /// Formats and recomputation of single tensors by an integer program under a memory budget.
    Ilp,
}

/// A text that names no method.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no method `{0}`; there are fp32, uniform-high, uniform-low, operator, amp, demote, demote-smallest, random, \
     ilp"
)]
pub struct ParseMethodError(String);

impl Method {
    /// Every method.
    pub const ALL: [Method; 9] = [
        Method::Fp32,
        Method::UniformHigh,
        Method::UniformLow,
        Method::Operator,
        Method::Amp,
        Method::Demote,
        Method::DemoteSmallest,
        Method::Random,
        Method::Ilp,
    ];

    /// The method's name.
    pub fn name(self) -> &'static str {
        match self {
            Method::Fp32 => "fp32",
            Method::UniformHigh => "uniform-high",
            Method::UniformLow => "uniform-low",
            Method::Operator => "operator",
            Method::Amp => "amp",
            Method::Demote => "demote",
            Method::DemoteSmallest => "demote-smallest",
            Method::Random => "random",
            Method::Ilp => "ilp",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Method {
    type Err = ParseMethodError;

    fn from_str(text: &str) -> Result<Method, ParseMethodError> {
        let named = |method: &Method| method.name().eq_ignore_ascii_case(text);
        Method::ALL.into_iter().find(named).ok_or_else(|| ParseMethodError(text.to_string()))
    }
}
