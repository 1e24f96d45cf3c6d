//! The linear relaxation, kept solved: after each fixing the dual simplex method continues from the last optimal basis.

use crate::compact::Compact;
use crate::dual::Objective;
use microlp::{ComparisonOp, Error, OptimizationDirection, SolveOptions, SolveOutcome, Variable};
use std::sync::Arc;
use std::time::Duration;

/// The size to which limits and costs are scaled.
const SCALE: f64 = 1000.0;
/// The relative tolerance of the simplex method's optimum.
const TOLERANCE: f64 = 1e-7;

/// Why a relaxation has no optimum.
pub(crate) enum Failure {
    /// It is infeasible.
    Infeasible,
    /// The time limit was reached, or the method failed numerically.
    Unknown,
}

/// A solved relaxation over the allowed options.
#[derive(Clone)]
pub(crate) struct Lp {
    solution: microlp::Solution,
    columns: Arc<Columns>,
}

/// The columns of the linear program.
struct Columns {
    /// The variable of each option.
    variables: Vec<Option<Variable>>,
    /// The factor of the objective.
    scale: f64,
    /// The absolute tolerance of the optimum: an excess is as inexact as the rows.
    tolerance: f64,
}

impl Lp {
    /// Solves the relaxation of a problem with its cuts, in at most some seconds.
    pub(crate) fn new(compact: &Compact, objective: &Objective, allowed: &[bool], seconds: f64) -> Result<Lp, Failure> {
        let options = || (0..allowed.len()).filter(|&option| allowed[option]);
        let largest = compact.limits.iter().map(|limit| limit.abs()).fold(1.0, f64::max);
        let scale = match objective {
            Objective::Cost => SCALE / options().map(|option| compact.cost[option].abs()).fold(1e-12, f64::max),
            Objective::Excess(_) => SCALE / largest,
        };
        let mut problem = microlp::Problem::new(OptimizationDirection::Minimize);
        let mut variables = vec![None; allowed.len()];
        for option in options() {
            let cost = if *objective == Objective::Cost { compact.cost[option] * scale } else { 0.0 };
            variables[option] = Some(problem.add_var(cost, (0.0, f64::INFINITY)));
        }
        let tolerance = if *objective == Objective::Cost { 0.0 } else { 10.0 * TOLERANCE };
        let columns = Columns { variables, scale, tolerance };
        let excess = (*objective != Objective::Cost).then(|| problem.add_var(1.0, (f64::NEG_INFINITY, f64::INFINITY)));
        for item in &compact.items {
            problem.add_constraint(columns.terms(item.clone().map(|option| (option, 1.0))), ComparisonOp::Eq, 1.0);
        }
        for (row, amounts) in compact.amounts_by_row(allowed).into_iter().enumerate() {
            let raised = matches!(objective, Objective::Excess(range) if range.contains(&row));
            // A redundant row is left out.
            if compact.max_activity(&amounts) <= compact.limits[row] && !raised {
                continue;
            }
            let unit = SCALE / largest;
            let mut terms = columns.terms(amounts.into_iter().map(|(option, amount)| (option, amount * unit)));
            terms.extend(excess.filter(|_| raised).map(|excess| (excess, -1.0)));
            problem.add_constraint(terms, ComparisonOp::Le, compact.limits[row] * unit);
        }
        for link in &compact.links {
            let from = link.from.iter().map(|&option| (option, 1.0));
            let to = link.to.iter().map(|&option| (option, -1.0));
            let terms = columns.terms(from.chain(to));
            if terms.iter().any(|(_, sign)| *sign > 0.0) {
                problem.add_constraint(terms, ComparisonOp::Le, 0.0);
            }
        }
        for cut in &compact.cuts {
            problem.add_constraint(columns.terms(cut.terms.iter().copied()), ComparisonOp::Le, cut.limit);
        }
        let mut options = SolveOptions::default();
        options.time_limit = Some(Duration::from_secs_f64(seconds.max(0.0)));
        Ok(Lp { solution: optimum(problem.solve_with(options))?, columns: Arc::new(columns) })
    }

    /// Returns the dual bound: the optimum, less its tolerance.
    pub(crate) fn bound(&self) -> f64 {
        let optimum = self.solution.objective();
        (optimum - TOLERANCE * optimum.abs() - self.columns.tolerance) / self.columns.scale
    }

    /// Returns the value of each option's variable.
    pub(crate) fn values(&self) -> Vec<f64> {
        let value = |variable: &Option<Variable>| {
            variable.map_or(0.0, |variable| self.solution.var_value(variable).clamp(0.0, 1.0))
        };
        self.columns.variables.iter().map(value).collect()
    }

    /// Fixes some more options to 0 and solves the relaxation again.
    pub(crate) fn fix_to_zero(&self, options: impl IntoIterator<Item = usize>) -> Result<Lp, Failure> {
        let terms = self.columns.terms(options.into_iter().map(|option| (option, 1.0)));
        if terms.is_empty() {
            return Ok(self.clone());
        }
        let solved = self.solution.clone().add_constraint(terms, ComparisonOp::Le, 0.0);
        Ok(Lp { solution: optimum(solved)?, columns: Arc::clone(&self.columns) })
    }
}

impl Columns {
    /// Replaces options by their variables.
    fn terms(&self, terms: impl IntoIterator<Item = (usize, f64)>) -> Vec<(Variable, f64)> {
        terms.into_iter().filter_map(|(option, coefficient)| Some((self.variables[option]?, coefficient))).collect()
    }
}

/// Returns the optimum, or why there is none.
fn optimum(outcome: Result<SolveOutcome, Error>) -> Result<microlp::Solution, Failure> {
    match outcome {
        Ok(SolveOutcome::Solution(solution)) => Ok(solution),
        Err(Error::Infeasible) => Err(Failure::Infeasible),
        Ok(SolveOutcome::Interrupted(_)) | Err(_) => Err(Failure::Unknown),
    }
}
