//! Solves multiple-choice programs under limits: one option per item, at least cost, with a certified bound.
//!
//! The integer program: with a binary x per option, minimise the sum of cost times x, so that each item's x sum up to 1, in
//! each row the sum of amount times x is at most the limit, and for each link x of `from` is at most the sum of the x of
//! `to`. Such programs choose formats and recomputation under a memory budget (Checkmate, Jain et al. 2020, has the same
//! rows with more variables).
//!
//! The embedded engine is exact on small problems and anytime on large ones. An interior-point method bounds the whole
//! problem and prices its rows; each option is tried alone for what it excludes; cliques of such exclusions and covers of
//! rows make the relaxation tight; dives and neighbourhoods of the best solution give solutions; and branch and bound, each
//! part's relaxation solved by the dual simplex method from that of the part before, goes on until the gap is closed or the
//! time is over. The bound of the whole is checked apart from the method that found its prices, since the Lagrangian bounds
//! at any prices; bounds of parts rely on the simplex method's optimum, less its tolerance.
//!
//! ```
//! use bitbudget_solver::{Choice, Engine, Item, Outcome, Problem, Settings, Use, solve};
//!
//! let option = |cost, amount| Choice { cost, uses: vec![Use { first: 0, last: 0, amount }] };
//! let item = || Item { options: vec![option(0.0, 4), option(1.0, 2), option(5.0, 1)] };
//! let problem = Problem { items: vec![item(), item()], limits: vec![6], links: vec![] };
//! let Outcome::Solved(solution) = solve(&problem, Engine::Embedded, &Settings::default())? else { panic!() };
//! assert_eq!((solution.cost, solution.bound), (1.0, 1.0));
//! # Ok::<(), bitbudget_solver::SolverError>(())
//! ```

mod branch;
mod compact;
mod cuts;
mod dive;
mod dual;
#[cfg(feature = "highs")]
mod highs;
mod lp;
mod memory;
mod neighbourhood;
mod probe;
mod problem;
mod propagate;
mod random;
mod relaxation;
mod root;
mod repair;
mod branching;

use branch::Stop;
use compact::Compact;
use dual::Goal;
use root::{Found, Session};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::Instant;

pub use memory::{in_threads, memory};
pub use problem::{Choice, Item, Link, Pick, Problem, SolverError, Use};

/// Which code solves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// This crate's own.
    #[default]
    Embedded,
    /// HiGHS, if the crate was built with the feature `highs`.
    Highs,
}

impl Engine {
    /// All engines, in this build or not.
    pub const ALL: [Engine; 2] = [Engine::Embedded, Engine::Highs];

    /// The name, as options and solutions have it.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Embedded => "embedded",
            Engine::Highs => "highs",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(name: &str) -> Result<Engine, String> {
        let all = Engine::ALL.map(Engine::name).join(", ");
        Engine::ALL
            .into_iter()
            .find(|engine| engine.name() == name)
            .ok_or(format!("unknown engine `{name}`; expected one of {all}"))
    }
}

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
    let exists = |(pick, item): (&u32, &problem::Item)| (*pick as usize) < item.options.len();
    if picks.len() != problem.items.len() || !picks.iter().zip(&problem.items).all(exists) {
        return Err(SolverError::Start { items: problem.items.len() });
    }
    Ok(Some(picks.iter().zip(&compact.items).map(|(&pick, item)| item.start + pick as usize).collect()))
}

/// Options by their position in their items.
fn numbered(compact: &Compact, picks: &[usize]) -> Vec<u32> {
    picks.iter().zip(&compact.items).map(|(&option, item)| (option - item.start) as u32).collect()
}
