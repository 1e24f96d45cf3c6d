//! The methods that choose levels.

use std::fmt;
use std::str::FromStr;

/// A method that chooses levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// All tensors in FP32, without rounding.
    Fp32,
    /// All tensors high.
    UniformHigh,
    /// All tensors low.
    UniformLow,
    /// By operator, as in hybrid FP8 training (Sun et al., 2019): low around convolutions and matrix products (the paper's pi_op).
    Operator,
    /// By operator, as in torch.amp: operators between convolutions follow their inputs (the paper's pi_op').
    Amp,
    /// The paper's method: demotes the largest groups until the low ratio is reached.
    Demote,
    /// Demotes the smallest groups until the low ratio is reached.
    DemoteSmallest,
    /// Demotes groups in random order until the low ratio is reached.
    Random,
    /// Chooses formats and recomputation per tensor by an integer program under a memory budget.
    Ilp,
}

/// The error for an unknown method name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no method `{0}`; there are fp32, uniform-high, uniform-low, operator, amp, demote, demote-smallest, random, \
     ilp"
)]
pub struct ParseMethodError(String);

impl Method {
    /// All methods.
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

    /// Returns the method's name.
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
