//! Settings of a search.

/// The stopping criteria of a search, and its start.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The time limit in seconds.
    pub seconds: f64,
    /// The effort of the embedded engine: the number of branch-and-bound nodes, of which a tenth is the number of neighbourhoods.
    /// A search with an effort and without a time limit is reproducible.
    pub effort: Option<usize>,
    /// The relative gap between cost and dual bound at which the search stops.
    pub gap: f64,
    /// A choice of one option per item to start from, feasible or not.
    pub start: Option<Vec<u32>>,
}

impl Default for Settings {
    /// Searches for the optimum, for at most ten seconds.
    fn default() -> Settings {
        Settings { seconds: 10.0, effort: None, gap: 0.0, start: None }
    }
}
