//! Estimates a search's memory before it begins, because a failed allocation inside a library ends the process.

use crate::by_prices::is_large;
use crate::compact::Compact;
use crate::error::SolverError;
use crate::node::SOLVED;
use crate::problem::Problem;

/// Bytes per matrix entry of a solved relaxation: two copies of the entry, factors, and room to grow.
const ENTRY: usize = 128;
/// Bytes per option, row and link of a solved relaxation: bounds, values, tolerances.
const LINE: usize = 1024;
/// Bytes per matrix entry of the interior-point method, whose factors have many more entries.
const INTERIOR: usize = 2048;
/// The number of tasks that run at the same time.
const AT_ONCE: usize = 4;
/// Bytes for everything else.
const REST: usize = 16 << 20;

/// Estimates generously how many bytes the embedded engine takes with some number of threads.
pub fn memory(problem: &Problem, threads: usize) -> usize {
    let threads = threads.min(AT_ONCE);
    let compact = Compact::new(problem, 0..0);
    let spans: usize = compact.spans.iter().map(|spans| 2 * spans.len() + 2).sum();
    let linked: usize = compact.links.iter().map(|link| link.from.len() + link.to.len()).sum();
    let interior = INTERIOR * (spans + 3 * compact.limits.len() + linked);
    if is_large(&compact) {
        return REST + interior;
    }
    let options = compact.cost.len();
    let entries: usize = compact.amounts_by_row(&vec![true; options]).iter().map(Vec::len).sum();
    let lines = options + compact.limits.len() + compact.links.len();
    let relaxation = ENTRY * (entries + linked) + LINE * lines;
    let conflicts = options * options.div_ceil(8);
    // Nodes with a solved relaxation: open ones, in the whole tree and in a neighbourhood per thread, and those being branched on. Most
    // are much smaller than the root.
    let kept = SOLVED / 2 + 4 * threads;
    REST + interior + conflicts * (1 + threads) + kept * relaxation
}

/// Runs a search in a thread pool of its own.
///
/// # Errors
/// If the system cannot create the threads.
pub fn in_threads<T: Send>(threads: usize, search: impl FnOnce() -> T + Send) -> Result<T, SolverError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    Ok(pool.map_err(|error| SolverError::Threads(error.to_string()))?.install(search))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::{Choice, Item, Use};

    #[test]
    fn the_estimate_grows_with_options_and_threads() {
        let option = |amount| Choice { cost: 1.0, uses: vec![Use { first: 0, last: 9, amount }] };
        let problem = |items| Problem {
            items: vec![Item { options: vec![option(1), option(2)] }; items],
            limits: (0..10).collect(),
            links: vec![],
        };
        assert!(memory(&problem(1), 1) > REST);
        assert!(memory(&problem(1000), 1) > memory(&problem(100), 1) + 900 * LINE);
        assert!(memory(&problem(1000), 8) > memory(&problem(1000), 1));
    }

    #[test]
    fn a_search_has_as_many_threads_as_it_is_given() {
        assert_eq!(in_threads(3, rayon::current_num_threads), Ok(3));
    }
}
