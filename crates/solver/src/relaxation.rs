//! The linear relaxation: prices for the Lagrangian, by an interior-point method.
//!
//! What is alive in a row is what was alive in the row before, more what begins and less what ended there, so each option
//! touches a few rows only and the equations stay sparse.

use crate::compact::Compact;
use crate::dual::{Goal, Prices, Relaxed, evaluate};
use clarabel::algebra::CscMatrix;
use clarabel::solver::{DefaultSettings, DefaultSolver, IPSolver, SolverStatus, SupportedConeT};

/// What is known of a problem's relaxation.
pub(crate) enum Relaxation {
    /// A bound on the value of every choice.
    Bounded(Bounded),
    /// A proof that there is no choice.
    Infeasible,
}

/// A solution of the relaxation.
pub(crate) struct Bounded {
    /// No choice has a smaller value.
    pub(crate) bound: f64,
    /// The share of each option.
    pub(crate) shares: Vec<f64>,
    /// Prices that prove the bound.
    pub(crate) prices: Prices,
    /// The choice at which the Lagrangian has that value.
    pub(crate) relaxed: Relaxed,
}

/// Bounds the value of all choices of allowed options, taking at most some seconds.
pub(crate) fn relax(compact: &Compact, goal: &Goal, allowed: &[bool], seconds: f64) -> Relaxation {
    let with_cost = *goal == Goal::Cost;
    let fallback = || {
        let prices = Prices::start(compact, goal);
        let (bound, relaxed) = evaluate(compact, with_cost, allowed, &prices)?;
        let mut shares = vec![0.0; compact.cost.len()];
        relaxed.picks.iter().for_each(|&option| shares[option] = 1.0);
        Some(Bounded { bound, shares, prices, relaxed })
    };
    let found = match interior(compact, goal, allowed, seconds) {
        Some(Solved { shares, prices, feasible: true }) => evaluate(compact, with_cost, allowed, &prices)
            .map(|(bound, relaxed)| Bounded { bound, shares, prices, relaxed }),
        // The prices of a proof: without costs, whatever is chosen exceeds what the limits give.
        Some(Solved { prices, .. }) => match evaluate(compact, false, allowed, &prices) {
            Some((value, _)) if value <= PROOF => fallback(),
            _ => None,
        },
        None => fallback(),
    };
    // Prices of a method that was interrupted may prove less than none do.
    let better = |found: Bounded| match fallback() {
        Some(simple) if simple.bound > found.bound => {
            Bounded { bound: simple.bound, prices: simple.prices, relaxed: simple.relaxed, shares: found.shares }
        }
        _ => found,
    };
    found.map(better).map_or(Relaxation::Infeasible, Relaxation::Bounded)
}

/// By how much prices of size 1 have to exceed the limits to be a proof.
const PROOF: f64 = 1e-6;

/// What the interior-point method says.
struct Solved {
    shares: Vec<f64>,
    prices: Prices,
    /// Whether the prices are those of a solution, not of a proof that there is none.
    feasible: bool,
}

/// Entries of a sparse matrix, and the right-hand side.
#[derive(Default)]
struct Rows {
    at: Vec<usize>,
    column: Vec<usize>,
    value: Vec<f64>,
    right: Vec<f64>,
}

impl Rows {
    fn add(&mut self, entries: impl IntoIterator<Item = (usize, f64)>, right: f64) {
        for (column, value) in entries {
            self.at.push(self.right.len());
            self.column.push(column);
            self.value.push(value);
        }
        self.right.push(right);
    }
}

/// Solves the relaxation over the allowed options; nothing if that fails.
fn interior(compact: &Compact, goal: &Goal, allowed: &[bool], seconds: f64) -> Option<Solved> {
    let options: Vec<usize> = (0..compact.cost.len()).filter(|&option| allowed[option]).collect();
    let mut column = vec![usize::MAX; compact.cost.len()];
    options.iter().enumerate().for_each(|(at, &option)| column[option] = at);
    let (count, rows) = (options.len(), compact.limits.len());
    // Amounts in units in which limits are about 1.
    let unit = compact.limits.iter().map(|limit| limit.abs()).fold(1.0, f64::max);
    let excess = count + rows;
    let variables = excess + usize::from(*goal != Goal::Cost);
    let cost_unit = options.iter().map(|&option| compact.cost[option].abs()).fold(1e-12, f64::max);
    let mut objective = vec![0.0; variables];
    match goal {
        Goal::Cost => {
            options.iter().enumerate().for_each(|(at, &option)| objective[at] = compact.cost[option] / cost_unit)
        }
        Goal::Excess(_) => objective[excess] = 1.0,
    }
    let mut matrix = Rows::default();
    for item in &compact.items {
        matrix.add(item.clone().filter(|&o| allowed[o]).map(|o| (column[o], 1.0)), 1.0);
    }
    let mut changes: Vec<Vec<(usize, f64)>> = vec![Vec::new(); rows + 1];
    for &option in &options {
        for span in &compact.spans[option] {
            changes[span.first].push((column[option], -span.amount / unit));
            changes[span.end].push((column[option], span.amount / unit));
        }
    }
    for (row, changes) in changes.into_iter().take(rows).enumerate() {
        let before = (row > 0).then(|| (count + row - 1, -1.0));
        matrix.add(changes.into_iter().chain(before).chain([(count + row, 1.0)]), 0.0);
    }
    let equations = matrix.right.len();
    for (row, limit) in compact.limits.iter().enumerate() {
        let raised = matches!(goal, Goal::Excess(range) if range.contains(&row)).then_some((excess, -1.0));
        matrix.add([(count + row, 1.0)].into_iter().chain(raised), limit / unit);
    }
    for need in &compact.needs {
        let from = need.from.iter().filter(|&&o| allowed[o]).map(|&o| (column[o], 1.0));
        let to = need.to.iter().filter(|&&o| allowed[o]).map(|&o| (column[o], -1.0));
        matrix.add(from.chain(to), 0.0);
    }
    for cut in &compact.cuts {
        let terms = cut.terms.iter().filter(|(option, _)| allowed[*option]);
        matrix.add(terms.map(|&(option, factor)| (column[option], factor)), cut.limit);
    }
    (0..count).for_each(|at| matrix.add([(at, -1.0)], 0.0));
    let all = matrix.right.len();
    let a = CscMatrix::new_from_triplets(all, variables, matrix.at, matrix.column, matrix.value);
    let cones = [SupportedConeT::ZeroConeT(equations), SupportedConeT::NonnegativeConeT(all - equations)];
    let settings = DefaultSettings { verbose: false, time_limit: seconds.max(0.0), ..DefaultSettings::default() };
    let p = CscMatrix::zeros((variables, variables));
    let mut solver = DefaultSolver::new(&p, &objective, &a, &matrix.right, &cones, settings).ok()?;
    solver.solve();
    let solution = &solver.solution;
    let feasible = match solution.status {
        SolverStatus::PrimalInfeasible | SolverStatus::AlmostPrimalInfeasible => false,
        SolverStatus::NumericalError | SolverStatus::Unsolved | SolverStatus::CallbackTerminated => return None,
        _ => true,
    };
    if solution.z.iter().chain(&solution.x).any(|value| !value.is_finite()) {
        return None;
    }
    let mut shares = vec![0.0; compact.cost.len()];
    options.iter().enumerate().for_each(|(at, &option)| shares[option] = solution.x[at].clamp(0.0, 1.0));
    let duals = solution.z.get(equations..)?;
    let price_unit = if *goal == Goal::Cost && feasible { cost_unit } else { unit };
    let cuts = rows + compact.needs.len();
    let prices_of = |part: std::ops::Range<usize>| duals[part].iter().map(|z| z.max(0.0) * price_unit).collect();
    let mut prices = Prices {
        rows: duals[..rows].iter().map(|z| z.max(0.0) * price_unit / unit).collect(),
        needs: prices_of(rows..cuts),
        cuts: prices_of(cuts..cuts + compact.cuts.len()),
    };
    if let (Goal::Excess(range), true) = (goal, feasible) {
        let sum: f64 = prices.rows[range.clone()].iter().sum();
        if sum <= 0.0 {
            return None;
        }
        prices.rows[range.clone()].iter_mut().for_each(|price| *price /= sum);
    }
    Some(Solved { shares, prices, feasible })
}
