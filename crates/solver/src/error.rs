//! Errors.

/// Why a problem cannot be solved.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SolverError {
    /// The engine is not in this build.
    #[error("this build has no HiGHS: build with `--features highs`, which needs cmake and libclang")]
    NotBuilt,
    /// The system cannot create threads.
    #[error("the search gets no threads: {0}; raise the limits of processes and of memory")]
    Threads(String),
    /// An item has no options.
    #[error("item {item} has no options")]
    NoOptions {
        /// The item's position.
        item: usize,
    },
    /// A cost is not finite.
    #[error("option {option} of item {item} costs {cost}; costs are finite numbers")]
    Cost {
        /// The item's position.
        item: usize,
        /// The option's position.
        option: usize,
        /// The cost.
        cost: f64,
    },
    /// A use names rows that do not exist.
    #[error("option {option} of item {item} uses rows {first} to {last} of {rows}")]
    Rows {
        /// The item's position.
        item: usize,
        /// The option's position.
        option: usize,
        /// The first row of the use.
        first: u32,
        /// The last row of the use.
        last: u32,
        /// The number of rows.
        rows: usize,
    },
    /// An amount or a limit is so large that sums would not be exact.
    #[error("an amount or limit of {0} is too large; use a larger unit")]
    Amount(i64),
    /// A link names an option that does not exist.
    #[error("link {link} names option {option} of item {item}, which does not exist")]
    Pick {
        /// The link's position.
        link: usize,
        /// The item's position.
        item: u32,
        /// The option's position.
        option: u32,
    },
    /// A start is not one option per item.
    #[error("the start is not one option for each of the {items} items")]
    Start {
        /// The number of items.
        items: usize,
    },
    /// A range of rows is not among the rows of the problem.
    #[error("rows {start} to {end} are not among the {rows} rows")]
    Range {
        /// The first row.
        start: u32,
        /// The row behind the last one.
        end: u32,
        /// The number of rows.
        rows: usize,
    },
}
