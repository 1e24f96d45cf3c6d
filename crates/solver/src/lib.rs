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
mod branching;
mod compact;
mod cuts;
mod dive;
mod dual;
mod engine;
mod error;
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
mod repair;
mod root;
mod settings;
mod solution;
mod solver;

pub use engine::Engine;
pub use error::SolverError;
pub use memory::{in_threads, memory};
pub use problem::{Choice, Item, Link, Pick, Problem, Use};
pub use settings::Settings;
pub use solution::{Outcome, Smallest, Solution};
pub use solver::{Solver, smallest, solve};
