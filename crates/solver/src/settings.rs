//! Settings of a search.

/// The stopping criteria of a search, and its start.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The time limit in seconds.
    pub seconds: f64,
    /// The effort of the embedded engine, for reproducible searches: at most so many branch-and-bound nodes, and about a tenth as
    /// many neighbourhoods. Without a time limit, equal searches then give equal solutions.
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
