//! Settings of a search.

/// How long to search.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Seconds at most.
    pub seconds: f64,
    /// How much the embedded engine searches where the clock is to have no say: so many parts of the problem by branch and
    /// bound, and neighbourhoods of the best solution. Without a limit of seconds, equal searches then give equal solutions.
    pub effort: Option<usize>,
    /// The part of the cost that the bound may leave open.
    pub gap: f64,
    /// A choice of one option per item to begin with, feasible or not.
    pub start: Option<Vec<u32>>,
}

impl Default for Settings {
    /// Ten seconds, to the optimum.
    fn default() -> Settings {
        Settings { seconds: 10.0, effort: None, gap: 0.0, start: None }
    }
}
