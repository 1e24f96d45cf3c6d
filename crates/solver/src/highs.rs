//! The engine HiGHS (Huangfu and Hall, 2018), which takes the integer program row by row.

use crate::compact::Compact;
use crate::dual::{Objective, Prices};
use crate::propagate::Propagation;
use crate::relaxation::{Relaxation, relax};
use crate::repair::Listed;
use crate::root::Found;
use crate::settings::Settings;
use highs::{HighsModelStatus, HighsSolutionStatus, RowProblem, Sense};
use std::num::NonZeroU32;

/// The size to which limits are scaled. At a size of 1000, HiGHS 1.16 strengthened the rows of one network endlessly and ignored its
/// time limit; at this size that has not been seen.
const SCALE: f64 = 1e5;
/// The tolerance of integrality, and of scaled rows.
const TOLERANCE: f64 = 1e-9;

/// Solves a problem for the least cost; returns `None` if HiGHS fails.
pub(crate) fn solve(compact: &Compact, start: Option<Vec<usize>>, settings: &Settings, seconds: f64) -> Option<Found> {
    let objective = Objective::Cost;
    let infeasible = Found { incumbent: None, bound: f64::INFINITY, prices: Prices::start(compact, &objective) };
    let everything = vec![true; compact.cost.len()];
    let Some(domains) = Propagation::new(compact).propagate(&compact.limits, &everything) else {
        return Some(infeasible);
    };
    let Relaxation::Bounded(root) = relax(compact, &objective, &domains.allowed, seconds) else {
        return Some(infeasible);
    };
    let mut problem = RowProblem::default();
    let columns: Vec<_> = compact.cost.iter().map(|&cost| problem.add_integer_column(cost, 0.0..=1.0)).collect();
    for item in &compact.items {
        problem.add_row(1.0..=1.0, item.clone().map(|option| (columns[option], 1.0)));
    }
    let unit = SCALE / compact.limits.iter().map(|limit| limit.abs()).fold(1.0, f64::max);
    for (amounts, limit) in compact.amounts_by_row(&everything).into_iter().zip(&compact.limits) {
        problem.add_row(..=limit * unit, amounts.into_iter().map(|(option, amount)| (columns[option], amount * unit)));
    }
    for link in &compact.links {
        let from = link.from.iter().map(|&option| (columns[option], 1.0));
        let to = link.to.iter().map(|&option| (columns[option], -1.0));
        problem.add_row(..=0.0, from.chain(to));
    }
    let mut model = problem.try_optimise(Sense::Minimise).ok()?;
    model.make_quiet();
    model.set_threads(NonZeroU32::MIN);
    model.try_set_option("time_limit", seconds).ok()?;
    model.try_set_option("mip_rel_gap", settings.gap).ok()?;
    model.try_set_option("mip_feasibility_tolerance", TOLERANCE).ok()?;
    model.try_set_option("primal_feasibility_tolerance", TOLERANCE).ok()?;
    if let Some(start) = start {
        let mut values = vec![0.0; compact.cost.len()];
        start.iter().for_each(|&option| values[option] = 1.0);
        model.set_solution(Some(&values), None, None, None);
    }
    let solved = model.try_solve().ok()?;
    if solved.status() == HighsModelStatus::Infeasible {
        return Some(infeasible);
    }
    let proved = solved.double_info_value(c"mip_dual_bound").unwrap_or(f64::NEG_INFINITY);
    let bound = if proved.is_finite() { proved.max(root.bound) } else { root.bound };
    let best = (solved.primal_solution_status() == HighsSolutionStatus::Feasible).then(|| {
        let solution = solved.get_solution();
        let values = solution.columns();
        let chosen = |item: &std::ops::Range<usize>| {
            item.clone().max_by(|&a, &b| values[a].total_cmp(&values[b])).unwrap_or(item.start)
        };
        compact.items.iter().map(chosen).collect()
    });
    // HiGHS accepts violations within its tolerances; this check does not.
    let exact = |picks: Vec<usize>| {
        let candidate = Listed::listed(compact, &objective, 0.0, picks);
        candidate.is_feasible().then_some((candidate.picks, candidate.cost))
    };
    Some(Found { incumbent: best.and_then(exact), bound, prices: root.prices })
}
