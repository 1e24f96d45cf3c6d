//! Results of a search.

/// A choice that keeps limits and links.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// The option of each item.
    pub picks: Vec<u32>,
    /// What it costs.
    pub cost: f64,
    /// No choice costs less, up to a millionth.
    pub bound: f64,
    /// By how much the bound falls per unit of each row's limit.
    pub prices: Vec<f64>,
    /// What found it.
    pub engine: &'static str,
    /// Seconds that it took.
    pub seconds: f64,
}

impl Solution {
    /// The part of the cost that the bound leaves open.
    pub fn gap(&self) -> f64 {
        if self.cost > self.bound { (self.cost - self.bound) / self.cost.abs() } else { 0.0 }
    }
}

/// How a search ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// With a solution.
    Solved(Solution),
    /// With a proof that there is none.
    Infeasible,
    /// With neither.
    Unknown {
        /// No choice costs less.
        bound: f64,
    },
}

/// The least that some limits have to be raised by.
#[derive(Clone, Debug, PartialEq)]
pub struct Smallest {
    /// What is enough; negative if the limits could be lower.
    pub excess: i64,
    /// Less is proved to be too little.
    pub bound: i64,
    /// The choice for which it is enough.
    pub picks: Vec<u32>,
    /// The weights, of sum 1, at which the rows together prove the bound.
    pub weights: Vec<f64>,
}
