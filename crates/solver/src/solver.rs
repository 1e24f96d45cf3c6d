//! The solver: runs an engine on a problem and converts its result to a solution.

use crate::by_prices::is_large;
use crate::compact::Compact;
use crate::dual::Objective;
use crate::engine::Engine;
use crate::error::SolverError;
#[cfg(feature = "highs")]
use crate::highs;
use crate::problem::{Item, Problem};
use crate::root::{self, Found, Session};
use crate::settings::Settings;
use crate::solution::{Outcome, Smallest, Solution};
use crate::stop::Stop;
use std::ops::Range;
use std::time::Instant;

/// Solves a problem for the least cost.
///
/// # Errors
/// If the problem is malformed, or the engine is not in this build.
pub fn solve(problem: &Problem, engine: Engine, settings: &Settings) -> Result<Outcome, SolverError> {
    Solver::new(problem, engine, 0..0, settings.seconds)?.solve(settings, 0)
}

/// A resumable search for the choice of least cost.
pub struct Solver<'a> {
    problem: &'a Problem,
    engine: Engine,
    compact: Compact,
    /// The rows whose limits solutions may have to leave partly unused.
    rows: Range<u32>,
    session: Session,
    /// The time limit of the root, until it is solved.
    stop: Option<Stop>,
}

impl<'a> Solver<'a> {
    /// Creates a search that has not begun. Its solutions may have to leave some of the limits of `rows` unused; the whole search
    /// should take `seconds`.
    ///
    /// # Errors
    /// If the problem is malformed, the rows do not exist, or the engine is not in this build.
    pub fn new(
        problem: &'a Problem,
        engine: Engine,
        rows: Range<u32>,
        seconds: f64,
    ) -> Result<Solver<'a>, SolverError> {
        problem.check()?;
        if engine == Engine::Highs && cfg!(not(feature = "highs")) {
            return Err(SolverError::NotBuilt);
        }
        let range = rows.start as usize..rows.end as usize;
        if range.start > range.end || range.end > problem.limits.len() {
            return Err(SolverError::Range { start: rows.start, end: rows.end, rows: problem.limits.len() });
        }
        let compact = Compact::new(problem, range);
        let session = Session::new(&compact, &Objective::Cost);
        Ok(Solver { problem, engine, compact, rows, session, stop: Some(Stop::after(seconds, 0.0)) })
    }

    /// Whether another search with the same `free` and start can find something better. The embedded engine's of a large program
    /// cannot.
    pub fn goes_on(&self) -> bool {
        self.engine != Engine::Embedded || !is_large(&self.compact)
    }

    /// Searches for some seconds; the first call's time for the root comes on top. The solution leaves the amount `free` unused in
    /// the rows given to [`Solver::new`], while the dual bound is that of the whole limits. HiGHS ignores `free`.
    ///
    /// # Errors
    /// If the start is not one option per item.
    pub fn solve(&mut self, settings: &Settings, free: i64) -> Result<Outcome, SolverError> {
        let begin = Instant::now();
        let start = start(self.problem, &self.compact, settings)?;
        let Settings { seconds, effort, gap, .. } = *settings;
        let stop = Stop { gap, effort, ..self.stop.take().unwrap_or(Stop::after(seconds, gap)) };
        let found = match self.engine {
            Engine::Embedded => {
                self.compact.set_reserve(&self.rows, free.max(0) as f64);
                self.session.run(&self.compact, &Objective::Cost, start, stop, seconds)
            }
            #[cfg(feature = "highs")]
            Engine::Highs => match highs::solve(&self.compact, start, settings, seconds) {
                Some(found) => found,
                None => return Ok(Outcome::Unknown { bound: f64::NEG_INFINITY }),
            },
            #[cfg(not(feature = "highs"))]
            Engine::Highs => return Err(SolverError::NotBuilt),
        };
        let Found { incumbent, bound, prices } = found;
        let Some((picks, cost)) = incumbent else {
            return Ok(if bound == f64::INFINITY { Outcome::Infeasible } else { Outcome::Unknown { bound } });
        };
        let prices = by_row(self.problem, &self.compact, &prices.rows);
        let seconds = begin.elapsed().as_secs_f64();
        let (picks, bound, engine) = (positions(&self.compact, &picks), bound.min(cost), self.engine.name());
        Ok(Outcome::Solved(Solution { picks, cost, bound, prices, engine, seconds }))
    }
}

/// Finds the least amount by which the limits of `rows` have to be raised for a solution to exist. Returns `None` if the other
/// rows and the links are infeasible, or no solution was found in time.
///
/// # Errors
/// If the problem is malformed, or the rows do not exist.
pub fn smallest(problem: &Problem, rows: Range<u32>, settings: &Settings) -> Result<Option<Smallest>, SolverError> {
    problem.check()?;
    let range = rows.start as usize..rows.end as usize;
    if range.is_empty() || range.end > problem.limits.len() {
        return Err(SolverError::Range { start: rows.start, end: rows.end, rows: problem.limits.len() });
    }
    let compact = Compact::new(problem, range.clone());
    let inside =
        compact.rows.partition_point(|row| *row < range.start)..compact.rows.partition_point(|row| *row < range.end);
    let start = start(problem, &compact, settings)?;
    let stop = Stop { effort: settings.effort, ..Stop::after(settings.seconds, settings.gap) };
    let found = root::solve(&compact, &Objective::Excess(inside), start, stop);
    let weights = by_row(problem, &compact, &found.prices.rows);
    Ok(found.incumbent.map(|(picks, excess)| Smallest {
        excess: excess.round() as i64,
        bound: (found.bound - 1e-3).ceil().min(excess) as i64,
        picks: positions(&compact, &picks),
        weights,
    }))
}

/// Returns the start as numbered options.
fn start(problem: &Problem, compact: &Compact, settings: &Settings) -> Result<Option<Vec<usize>>, SolverError> {
    let Some(picks) = &settings.start else { return Ok(None) };
    let exists = |(pick, item): (&u32, &Item)| (*pick as usize) < item.options.len();
    if picks.len() != problem.items.len() || !picks.iter().zip(&problem.items).all(exists) {
        return Err(SolverError::Start { items: problem.items.len() });
    }
    Ok(Some(picks.iter().zip(&compact.items).map(|(&pick, item)| item.start + pick as usize).collect()))
}

/// Returns numbered options as positions in their items.
fn positions(compact: &Compact, picks: &[usize]) -> Vec<u32> {
    picks.iter().zip(&compact.items).map(|(&option, item)| (option - item.start) as u32).collect()
}

/// Returns the prices of merged rows by row of the original problem.
fn by_row(problem: &Problem, compact: &Compact, prices: &[f64]) -> Vec<f64> {
    let mut by_row = vec![0.0; problem.limits.len()];
    compact.rows.iter().zip(prices).for_each(|(&row, &price)| by_row[row] = price);
    by_row
}
