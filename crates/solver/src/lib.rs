//! Solves multiple-choice programs under limits: one option per item, at least cost, with a certified bound.
//!
//! The integer program has a binary variable x per option. It minimises the sum of cost times x, so that the x of each item sum
//! up to 1, the sum of amount times x is at most the limit in each row, and for each link x of `from` is at most the sum of the x
//! of `to`. Such programs choose formats and recomputation under a memory budget (Checkmate, Jain et al., 2020, has the same rows
//! with more variables). The crate knows nothing of graphs or formats.
//!
//! The embedded engine is branch and cut, exact on small problems and anytime on large ones:
//!
//! 1. Presolve: propagation fixes options, an interior-point method solves the relaxation and prices its rows, probing builds a
//!    conflict graph.
//! 2. Cuts: clique and lifted cover inequalities tighten the relaxation.
//! 3. Primal heuristics: repair by prices, diving and neighbourhood search find and improve the incumbent.
//! 4. Branch and bound: the dual simplex method solves each node's relaxation from its parent's, until the gap is closed or time
//!    is over.
//!
//! Where the rows have millions of entries (a thousand layers that each keep a tensor until the backward pass), the simplex method
//! would take gigabytes. There the interior-point method's prices alone guide a repair and 1-opt, and prove the bound.
//!
//! The root's dual bound is certified: the Lagrangian bounds the optimum at any prices, so the bound is computed from the prices
//! alone. The dual bounds of nodes rely on the simplex method's optimum, less its tolerance.
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

mod activity;
mod branch;
mod branching;
mod by_prices;
mod candidate;
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
mod node;
mod probe;
mod problem;
mod propagate;
mod random;
mod relaxation;
mod repair;
mod root;
mod search;
mod settings;
mod solution;
mod solver;
mod stop;

pub use engine::{Engine, ParseEngineError};
pub use error::SolverError;
pub use memory::{in_threads, memory};
pub use problem::{Choice, Item, Link, Pick, Problem, Use};
pub use settings::Settings;
pub use solution::{Outcome, Smallest, Solution};
pub use solver::{Solver, smallest, solve};
