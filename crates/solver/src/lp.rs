//! The linear relaxation, kept solved: options are forbidden one after the other, and each time the dual simplex method
//! goes on from where it was.

use crate::compact::Compact;
use crate::dual::Goal;
use microlp::{ComparisonOp, Error, OptimizationDirection, SolveOptions, SolveOutcome, Variable};
use std::sync::Arc;
use std::time::Duration;

/// Limits and costs are scaled to this size.
const SCALE: f64 = 1000.0;
/// The part of a value by which the simplex method may be wrong.
const WRONG: f64 = 1e-7;

/// Why there is no solved relaxation.
pub(crate) enum Failure {
    /// There is no solution.
    Infeasible,
    /// The time was over, or numbers went out of hand: nothing is known.
    Unknown,
}

/// A solved relaxation over the options that are allowed.
#[derive(Clone)]
pub(crate) struct Lp {
    solution: microlp::Solution,
    columns: Arc<Columns>,
}

/// Where options are in the linear program.
struct Columns {
    of: Vec<Option<Variable>>,
    /// What the objective is multiplied by.
    scale: f64,
    /// By how much it may be wrong at any size: an excess is as wrong as rows are.
    wrong: f64,
}

impl Lp {
    /// Solves the relaxation of a problem with its cuts, taking at most some seconds; each later change too.
    pub(crate) fn new(compact: &Compact, goal: &Goal, allowed: &[bool], seconds: f64) -> Result<Lp, Failure> {
        let options = || (0..allowed.len()).filter(|&option| allowed[option]);
        let largest = compact.limits.iter().map(|limit| limit.abs()).fold(1.0, f64::max);
        let scale = match goal {
            Goal::Cost => SCALE / options().map(|option| compact.cost[option].abs()).fold(1e-12, f64::max),
            Goal::Excess(_) => SCALE / largest,
        };
        let mut problem = microlp::Problem::new(OptimizationDirection::Minimize);
        let mut of = vec![None; allowed.len()];
        for option in options() {
            let cost = if *goal == Goal::Cost { compact.cost[option] * scale } else { 0.0 };
            of[option] = Some(problem.add_var(cost, (0.0, f64::INFINITY)));
        }
        let wrong = if *goal == Goal::Cost { 0.0 } else { 10.0 * WRONG };
        let columns = Columns { of, scale, wrong };
        let excess = (*goal != Goal::Cost).then(|| problem.add_var(1.0, (f64::NEG_INFINITY, f64::INFINITY)));
        for item in &compact.items {
            problem.add_constraint(columns.terms(item.clone().map(|option| (option, 1.0))), ComparisonOp::Eq, 1.0);
        }
        for (row, taken) in rows(compact, allowed).into_iter().enumerate() {
            let raised = matches!(goal, Goal::Excess(range) if range.contains(&row));
            // A row that nothing can exceed is left out.
            if compact.most(&taken) <= compact.limits[row] && !raised {
                continue;
            }
            let unit = SCALE / largest;
            let mut terms = columns.terms(taken.into_iter().map(|(option, amount)| (option, amount * unit)));
            terms.extend(excess.filter(|_| raised).map(|excess| (excess, -1.0)));
            problem.add_constraint(terms, ComparisonOp::Le, compact.limits[row] * unit);
        }
        for need in &compact.needs {
            let from = need.from.iter().map(|&option| (option, 1.0));
            let to = need.to.iter().map(|&option| (option, -1.0));
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
        Ok(Lp { solution: solution(problem.solve_with(options))?, columns: Arc::new(columns) })
    }

    /// No choice of allowed options has a smaller value.
    pub(crate) fn bound(&self) -> f64 {
        let objective = self.solution.objective();
        (objective - WRONG * objective.abs() - self.columns.wrong) / self.columns.scale
    }

    /// The share of each option.
    pub(crate) fn shares(&self) -> Vec<f64> {
        let share = |of: &Option<Variable>| of.map_or(0.0, |of| self.solution.var_value(of).clamp(0.0, 1.0));
        self.columns.of.iter().map(share).collect()
    }

    /// The relaxation without some more options.
    pub(crate) fn without(&self, forbidden: impl IntoIterator<Item = usize>) -> Result<Lp, Failure> {
        let terms = self.columns.terms(forbidden.into_iter().map(|option| (option, 1.0)));
        if terms.is_empty() {
            return Ok(self.clone());
        }
        let solved = self.solution.clone().add_constraint(terms, ComparisonOp::Le, 0.0);
        Ok(Lp { solution: solution(solved)?, columns: Arc::clone(&self.columns) })
    }
}

impl Columns {
    fn terms(&self, of: impl IntoIterator<Item = (usize, f64)>) -> Vec<(Variable, f64)> {
        of.into_iter().filter_map(|(option, factor)| Some((self.of[option]?, factor))).collect()
    }
}

fn solution(outcome: Result<SolveOutcome, Error>) -> Result<microlp::Solution, Failure> {
    match outcome {
        Ok(SolveOutcome::Solution(solution)) => Ok(solution),
        Err(Error::Infeasible) => Err(Failure::Infeasible),
        Ok(SolveOutcome::Interrupted(_)) | Err(_) => Err(Failure::Unknown),
    }
}

/// By row, what the allowed options take, in ascending order.
pub(crate) fn rows(compact: &Compact, allowed: &[bool]) -> Vec<Vec<(usize, f64)>> {
    let mut rows: Vec<Vec<(usize, f64)>> = vec![Vec::new(); compact.limits.len()];
    for option in (0..allowed.len()).filter(|&option| allowed[option]) {
        for span in &compact.spans[option] {
            for row in &mut rows[span.first..span.end] {
                match row.last_mut() {
                    Some((last, amount)) if *last == option => *amount += span.amount,
                    _ => row.push((option, span.amount)),
                }
            }
        }
    }
    rows
}
