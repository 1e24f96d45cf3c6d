//! The result of a search under a budget.

use crate::program::Priced;
use bitbudget_precision::Method;

/// The result of a search under a budget.
#[derive(Clone, Debug, PartialEq)]
pub struct Solved {
    /// The budget in bytes.
    pub budget: usize,
    /// The FP32 assignment's peak in bytes.
    pub fp32: usize,
    /// The assignment's peak in bytes.
    pub peak: usize,
    /// The solver's result; none if no integer program was solved.
    pub solver: Option<Certificate>,
    /// The paper's demotion on the same budget: its low ratio and peak; nothing if it does not fit, or was not tried.
    pub demote: Option<Demoted>,
    /// Whether demotion was tried: only where the budget allows all its formats, so that the two can be compared.
    pub demote_allowed: bool,
    /// The method whose assignment method ilp took, since nothing fits that keeps input and loss in FP32.
    pub instead: Option<Method>,
}

/// The solver's statement about its solution.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// The solver's name.
    pub name: String,
    /// The profile that costs were measured in.
    pub profile: Option<String>,
    /// Seconds that it took.
    pub seconds: f64,
    /// The cost of the assignment.
    pub cost: f64,
    /// No assignment costs less.
    pub bound: f64,
    /// By how much the cost may fall per byte of budget, at the margin.
    pub price: f64,
    /// The operators of the steps at which a byte of budget is worth most, in descending order.
    pub binds: Vec<String>,
    /// The share of a step's time that recomputation adds, as estimated.
    pub slowdown: f64,
    /// For each tensor (in the order of [`bitbudget_precision::tensors`]), what its choices cost; nothing for one that takes no memory
    /// to speak of.
    pub choices: Vec<Vec<Priced>>,
}

impl Certificate {
    /// The part of the cost that the bound leaves open.
    pub fn gap(&self) -> f64 {
        if self.cost > 0.0 { ((self.cost - self.bound) / self.cost).clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// Demotion under a budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demoted {
    /// The share of low elements.
    pub low_ratio: f64,
    /// The peak in bytes.
    pub peak: usize,
    /// The cost in the integer program's measure, if that knows the formats.
    pub cost: Option<f64>,
}
