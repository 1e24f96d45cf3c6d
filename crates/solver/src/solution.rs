//! Results of a search.

/// A feasible choice, which keeps all limits and links.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// The option of each item.
    pub picks: Vec<u32>,
    /// The cost, which is the primal bound.
    pub cost: f64,
    /// The dual bound: no feasible choice costs less, up to a relative error of a millionth.
    pub bound: f64,
    /// The dual price of each row: by how much the bound falls per unit of its limit.
    pub prices: Vec<f64>,
    /// The name of the engine that found the choice.
    pub engine: &'static str,
    /// The seconds that the search took.
    pub seconds: f64,
}

impl Solution {
    /// Returns the relative gap between cost and dual bound.
    pub fn gap(&self) -> f64 {
        if self.cost > self.bound { (self.cost - self.bound) / self.cost.abs() } else { 0.0 }
    }
}

/// The outcome of a search.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The search found a solution.
    Solved(Solution),
    /// The search proved that the problem is infeasible.
    Infeasible,
    /// The search found neither a solution nor a proof of infeasibility.
    Unknown {
        /// The dual bound.
        bound: f64,
    },
}

/// The least amount by which some limits have to be raised.
#[derive(Clone, Debug, PartialEq)]
pub struct Smallest {
    /// An amount that is enough; negative if the limits could be lower.
    pub excess: i64,
    /// The dual bound: a smaller amount is proved to be too small.
    pub bound: i64,
    /// A choice that keeps the raised limits.
    pub picks: Vec<u32>,
    /// The weight of each row in the proof of the bound. Weights sum up to 1.
    pub weights: Vec<f64>,
}
