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

/// The settings that a method uses; others have no effect with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// The high format.
    pub high: bool,
    /// The low formats.
    pub low: bool,
    /// The low ratio, where there is no budget.
    pub ratio: bool,
    /// The budget: it lowers as much as that asks for. Other methods give one assignment, which fits or does not.
    pub budget: bool,
    /// How an assignment that fits the budget is searched for.
    pub search: bool,
}

/// The error for an unknown method name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no method `{}`; there are {}", .0, Method::ALL.map(Method::name).join(", "))]
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

    /// Returns what the method reads of its setting.
    pub fn uses(self) -> Uses {
        let high = Uses { high: true, ..Uses::default() };
        let levels = Uses { low: true, ..high };
        match self {
            Method::Fp32 => Uses::default(),
            Method::UniformHigh => high,
            // Gradients of parameters are in the high format at both levels.
            Method::UniformLow | Method::Operator | Method::Amp => levels,
            Method::Demote | Method::DemoteSmallest | Method::Random => Uses { ratio: true, budget: true, ..levels },
            Method::Ilp => Uses { budget: true, search: true, ..Uses::default() },
        }
    }

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
