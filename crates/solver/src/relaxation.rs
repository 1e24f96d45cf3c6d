//! The linear relaxation, solved by an interior-point method, whose duals price the Lagrangian.
//!
//! Each row's activity is a variable: the activity of the row before, plus the amounts that begin, minus those that ended. So
//! each option has entries in a few rows only, and the equations stay sparse.

use crate::compact::Compact;
use crate::dual::{LagrangianSolution, Objective, Prices, evaluate_lagrangian};
use clarabel::algebra::CscMatrix;
use clarabel::solver::{DefaultSettings, DefaultSolution, DefaultSolver, IPSolver, SolverStatus, SupportedConeT};
use std::ops::Range;

/// By how much prices of size 1 have to exceed the limits to prove infeasibility.
const PROOF: f64 = 1e-6;

/// A relaxation's result.
pub(crate) enum Relaxation {
    /// A dual bound.
    Bounded(Bounded),
    /// A proof of infeasibility.
    Infeasible,
}

/// A solution of the relaxation.
pub(crate) struct Bounded {
    /// The dual bound.
    pub(crate) bound: f64,
    /// The primal solution, by option.
    pub(crate) lp_values: Vec<f64>,
    /// The dual solution, which proves the bound.
    pub(crate) prices: Prices,
    /// The choice that minimises the Lagrangian at these prices.
    pub(crate) lagrangian: LagrangianSolution,
}

/// Solves the relaxation over the allowed options, in at most some seconds.
pub(crate) fn relax(compact: &Compact, objective: &Objective, allowed: &[bool], seconds: f64) -> Relaxation {
    let with_cost = *objective == Objective::Cost;
    let fallback = || {
        let prices = Prices::start(compact, objective);
        let (bound, lagrangian) = evaluate_lagrangian(compact, with_cost, allowed, &prices)?;
        let mut lp_values = vec![0.0; compact.cost.len()];
        lagrangian.picks.iter().for_each(|&option| lp_values[option] = 1.0);
        Some(Bounded { bound, lp_values, prices, lagrangian })
    };
    let found = match interior_point(compact, objective, allowed, seconds) {
        Some(Solved { lp_values, prices, feasible: true }) => evaluate_lagrangian(compact, with_cost, allowed, &prices)
            .map(|(bound, lagrangian)| Bounded { bound, lp_values, prices, lagrangian }),
        // A dual ray proves infeasibility if, without costs, every choice exceeds the priced limits.
        Some(Solved { prices, .. }) => match evaluate_lagrangian(compact, false, allowed, &prices) {
            Some((value, _)) if value <= PROOF => fallback(),
            _ => None,
        },
        None => fallback(),
    };
    // The prices of an interrupted method may prove less than trivial ones.
    let better = |found: Bounded| match fallback() {
        Some(trivial) if trivial.bound > found.bound => Bounded { lp_values: found.lp_values, ..trivial },
        _ => found,
    };
    found.map(better).map_or(Relaxation::Infeasible, Relaxation::Bounded)
}

/// The interior-point method's result.
struct Solved {
    lp_values: Vec<f64>,
    prices: Prices,
    /// Whether the prices belong to a solution, not to a proof of infeasibility.
    feasible: bool,
}

/// The entries of a sparse matrix, and the right-hand side.
#[derive(Default)]
struct Rows {
    at: Vec<usize>,
    column: Vec<usize>,
    value: Vec<f64>,
    right: Vec<f64>,
}

impl Rows {
    /// Adds a row.
    fn add(&mut self, entries: impl IntoIterator<Item = (usize, f64)>, right: f64) {
        for (column, value) in entries {
            self.at.push(self.right.len());
            self.column.push(column);
            self.value.push(value);
        }
        self.right.push(right);
    }
}

/// The columns of the linear program: allowed options, the rows' activities, and the excess if it is the objective.
struct Columns<'a> {
    compact: &'a Compact,
    objective: &'a Objective,
    allowed: &'a [bool],
    /// The allowed options, in the order of their columns.
    options: Vec<usize>,
    /// By option, its column.
    column: Vec<usize>,
    /// The unit of amounts, in which limits are about 1.
    unit: f64,
    /// The unit of costs.
    cost_unit: f64,
}

impl<'a> Columns<'a> {
    fn new(compact: &'a Compact, objective: &'a Objective, allowed: &'a [bool]) -> Columns<'a> {
        let options: Vec<usize> = (0..compact.cost.len()).filter(|&option| allowed[option]).collect();
        let mut column = vec![usize::MAX; compact.cost.len()];
        options.iter().enumerate().for_each(|(at, &option)| column[option] = at);
        let unit = compact.limits.iter().map(|limit| limit.abs()).fold(1.0, f64::max);
        let cost_unit = options.iter().map(|&option| compact.cost[option].abs()).fold(1e-12, f64::max);
        Columns { compact, objective, allowed, options, column, unit, cost_unit }
    }

    /// Returns the column of a row's activity.
    fn activity(&self, row: usize) -> usize {
        self.options.len() + row
    }

    /// Returns the column of the excess.
    fn excess(&self) -> usize {
        self.options.len() + self.compact.limits.len()
    }

    /// Returns the objective's coefficients.
    fn costs(&self) -> Vec<f64> {
        let mut costs = vec![0.0; self.excess() + usize::from(*self.objective != Objective::Cost)];
        match self.objective {
            Objective::Cost => {
                let options = self.options.iter().enumerate();
                options.for_each(|(at, &option)| costs[at] = self.compact.cost[option] / self.cost_unit);
            }
            Objective::Excess(_) => costs[self.excess()] = 1.0,
        }
        costs
    }

    /// Returns the allowed ones of some options as columns with a coefficient.
    fn entries(&self, options: impl Iterator<Item = usize>, coefficient: f64) -> impl Iterator<Item = (usize, f64)> {
        options.filter(|&option| self.allowed[option]).map(move |option| (self.column[option], coefficient))
    }

    /// Adds the equations: one option per item, and each row's activity.
    fn add_equations(&self, matrix: &mut Rows) {
        let rows = self.compact.limits.len();
        for item in &self.compact.items {
            matrix.add(self.entries(item.clone(), 1.0), 1.0);
        }
        let mut changes: Vec<Vec<(usize, f64)>> = vec![Vec::new(); rows + 1];
        for &option in &self.options {
            for span in &self.compact.spans[option] {
                changes[span.first].push((self.column[option], -span.amount / self.unit));
                changes[span.end].push((self.column[option], span.amount / self.unit));
            }
        }
        for (row, changes) in changes.into_iter().take(rows).enumerate() {
            let before = (row > 0).then(|| (self.activity(row - 1), -1.0));
            matrix.add(changes.into_iter().chain(before).chain([(self.activity(row), 1.0)]), 0.0);
        }
    }

    /// Adds the inequalities: limits, links, cuts, and variables of at least 0.
    fn add_inequalities(&self, matrix: &mut Rows) {
        for (row, limit) in self.compact.limits.iter().enumerate() {
            let raised = matches!(self.objective, Objective::Excess(range) if range.contains(&row));
            let excess = raised.then_some((self.excess(), -1.0));
            matrix.add([(self.activity(row), 1.0)].into_iter().chain(excess), limit / self.unit);
        }
        for link in &self.compact.links {
            let from = self.entries(link.from.iter().copied(), 1.0);
            matrix.add(from.chain(self.entries(link.to.iter().copied(), -1.0)), 0.0);
        }
        for cut in &self.compact.cuts {
            let terms = cut.terms.iter().filter(|(option, _)| self.allowed[*option]);
            matrix.add(terms.map(|&(option, coefficient)| (self.column[option], coefficient)), cut.limit);
        }
        (0..self.options.len()).for_each(|at| matrix.add([(at, -1.0)], 0.0));
    }

    /// Returns primal values by option and prices in original units, or `None` if the method failed.
    fn solved(&self, solution: &DefaultSolution<f64>, equations: usize) -> Option<Solved> {
        let feasible = match solution.status {
            SolverStatus::PrimalInfeasible | SolverStatus::AlmostPrimalInfeasible => false,
            SolverStatus::NumericalError | SolverStatus::Unsolved | SolverStatus::CallbackTerminated => return None,
            _ => true,
        };
        if solution.z.iter().chain(&solution.x).any(|value| !value.is_finite()) {
            return None;
        }
        let mut lp_values = vec![0.0; self.compact.cost.len()];
        let options = self.options.iter().enumerate();
        options.for_each(|(at, &option)| lp_values[option] = solution.x[at].clamp(0.0, 1.0));
        let duals = solution.z.get(equations..)?;
        let price_unit = if *self.objective == Objective::Cost && feasible { self.cost_unit } else { self.unit };
        let rows = self.compact.limits.len();
        let cuts = rows + self.compact.links.len();
        let prices_of = |range: Range<usize>| duals[range].iter().map(|z| z.max(0.0) * price_unit).collect();
        let mut prices = Prices {
            rows: duals[..rows].iter().map(|z| z.max(0.0) * price_unit / self.unit).collect(),
            links: prices_of(rows..cuts),
            cuts: prices_of(cuts..cuts + self.compact.cuts.len()),
        };
        if let (Objective::Excess(range), true) = (self.objective, feasible) {
            let sum: f64 = prices.rows[range.clone()].iter().sum();
            if sum <= 0.0 {
                return None;
            }
            prices.rows[range.clone()].iter_mut().for_each(|price| *price /= sum);
        }
        Some(Solved { lp_values, prices, feasible })
    }
}

/// Solves the relaxation by Clarabel's interior-point method (Goulart and Chen, 2024); returns `None` if that fails.
fn interior_point(compact: &Compact, objective: &Objective, allowed: &[bool], seconds: f64) -> Option<Solved> {
    let columns = Columns::new(compact, objective, allowed);
    let costs = columns.costs();
    let mut matrix = Rows::default();
    columns.add_equations(&mut matrix);
    let equations = matrix.right.len();
    columns.add_inequalities(&mut matrix);
    let all = matrix.right.len();
    let a = CscMatrix::new_from_triplets(all, costs.len(), matrix.at, matrix.column, matrix.value);
    let cones = [SupportedConeT::ZeroConeT(equations), SupportedConeT::NonnegativeConeT(all - equations)];
    let settings = DefaultSettings { verbose: false, time_limit: seconds.max(0.0), ..DefaultSettings::default() };
    let p = CscMatrix::zeros((costs.len(), costs.len()));
    let mut solver = DefaultSolver::new(&p, &costs, &a, &matrix.right, &cones, settings).ok()?;
    solver.solve();
    columns.solved(&solver.solution, equations)
}
