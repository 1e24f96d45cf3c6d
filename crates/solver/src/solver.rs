//! The solver: runs an engine on a problem and turns its result into a solution.

use crate::branch::Stop;
use crate::compact::Compact;
use crate::dual::Goal;
use crate::engine::Engine;
use crate::error::SolverError;
#[cfg(feature = "highs")]
use crate::highs;
use crate::problem::{Item, Problem};
use crate::root::{self, Found, Session};
use crate::settings::Settings;
use crate::solution::{Outcome, Smallest, Solution};
use std::ops::Range;
use std::time::Instant;

/// The choice of least cost.
///
/// # Errors
/// If the problem is malformed, or the engine is not in this build.
pub fn solve(problem: &Problem, engine: Engine, settings: &Settings) -> Result<Outcome, SolverError> {
    Solver::new(problem, engine, 0..0, settings.seconds)?.solve(settings, 0)
}

/// A search for the choice of least cost, which can go on after it was over.
pub struct Solver<'a> {
    problem: &'a Problem,
    engine: Engine,
    compact: Compact,
    /// The rows in which solutions may leave something free.
    rows: Range<u32>,
    session: Session,
    /// What is left of the time for the root, until that is done.
    stop: Option<Stop>,
}

impl<'a> Solver<'a> {
    /// Solves nothing yet. Solutions may leave something of the limits of `rows` free; the whole search should take `seconds`.
    ///
    /// # Errors
    /// If the problem is malformed, the rows are none of it, or the engine is not in this build.
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
        let session = Session::new(&compact, &Goal::Cost);
        Ok(Solver { problem, engine, compact, rows, session, stop: Some(Stop::after(seconds, 0.0)) })
    }

    /// Searches for some seconds, the first time beyond what it takes to make the bound tight. The choice leaves the amount
    /// `free` in the rows that were named, while the bound is that of the whole limits; HiGHS leaves none.
    ///
    /// # Errors
    /// If the start is not an option per item.
    pub fn solve(&mut self, settings: &Settings, free: i64) -> Result<Outcome, SolverError> {
        let begin = Instant::now();
        let start = start(self.problem, &self.compact, settings)?;
        let Settings { seconds, effort, gap, .. } = *settings;
        let stop = Stop { gap, effort, ..self.stop.take().unwrap_or(Stop::after(seconds, gap)) };
        let found = match self.engine {
            Engine::Embedded => {
                self.compact.keep_free(&self.rows, free.max(0) as f64);
                self.session.run(&self.compact, &Goal::Cost, start, stop, seconds)
            }
            #[cfg(feature = "highs")]
            Engine::Highs => match highs::solve(&self.compact, start, settings, seconds) {
                Some(found) => found,
                None => return Ok(Outcome::Unknown { bound: f64::NEG_INFINITY }),
            },
            #[cfg(not(feature = "highs"))]
            Engine::Highs => return Err(SolverError::NotBuilt),
        };
        let Found { best, bound, prices } = found;
        let Some((picks, cost)) = best else {
            return Ok(if bound == f64::INFINITY { Outcome::Infeasible } else { Outcome::Unknown { bound } });
        };
        let mut by_row = vec![0.0; self.problem.limits.len()];
        self.compact.rows.iter().zip(&prices.rows).for_each(|(&row, &price)| by_row[row] = price);
        let seconds = begin.elapsed().as_secs_f64();
        let (picks, bound, engine) = (numbered(&self.compact, &picks), bound.min(cost), self.engine.name());
        Ok(Outcome::Solved(Solution { picks, cost, bound, prices: by_row, engine, seconds }))
    }
}

/// The least that the limits of `rows` have to be raised by, all by the same amount, so that there is a solution; nothing
/// if the other rows and the links rule out every choice, or none was found in time.
///
/// # Errors
/// If the problem is malformed, or the rows are none of it.
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
    let found = root::solve(&compact, &Goal::Excess(inside), start, stop);
    let mut weights = vec![0.0; problem.limits.len()];
    compact.rows.iter().zip(&found.prices.rows).for_each(|(&row, &price)| weights[row] = price);
    Ok(found.best.map(|(picks, excess)| Smallest {
        excess: excess.round() as i64,
        bound: (found.bound - 1e-3).ceil().min(excess) as i64,
        picks: numbered(&compact, &picks),
        weights,
    }))
}

/// The start as options by number.
fn start(problem: &Problem, compact: &Compact, settings: &Settings) -> Result<Option<Vec<usize>>, SolverError> {
    let Some(picks) = &settings.start else { return Ok(None) };
    let exists = |(pick, item): (&u32, &Item)| (*pick as usize) < item.options.len();
    if picks.len() != problem.items.len() || !picks.iter().zip(&problem.items).all(exists) {
        return Err(SolverError::Start { items: problem.items.len() });
    }
    Ok(Some(picks.iter().zip(&compact.items).map(|(&pick, item)| item.start + pick as usize).collect()))
}

/// Options by their position in their items.
fn numbered(compact: &Compact, picks: &[usize]) -> Vec<u32> {
    picks.iter().zip(&compact.items).map(|(&option, item)| (option - item.start) as u32).collect()
}
