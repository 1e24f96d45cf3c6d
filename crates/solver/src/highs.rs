//! HiGHS as an engine: the integer program in its rows, handed over as it is (Huangfu and Hall, 2018).

use crate::compact::Compact;
use crate::dual::{Goal, Prices};
use crate::lp::rows;
use crate::propagate::Propagation;
use crate::relaxation::{Relaxation, relax};
use crate::repair::State;
use crate::root::Found;
use crate::settings::Settings;
use highs::{HighsModelStatus, HighsSolutionStatus, RowProblem, Sense};
use std::num::NonZeroU32;

/// Limits are scaled to this size. HiGHS 1.16 may strengthen rows without end, without a look at the clock: at a size of 1000 it did
/// so for a network of ours, at this one not yet.
const SCALE: f64 = 1e5;
/// By how much an option may be chosen in part, and by how much, at that size, a row may be exceeded.
const TOLERANCE: f64 = 1e-9;

/// The choice of least cost, and a bound on all others; nothing if HiGHS fails.
pub(crate) fn solve(compact: &Compact, start: Option<Vec<usize>>, settings: &Settings, seconds: f64) -> Option<Found> {
    let goal = Goal::Cost;
    let infeasible = Found { best: None, bound: f64::INFINITY, prices: Prices::start(compact, &goal) };
    let everything = vec![true; compact.cost.len()];
    let Some(state) = Propagation::new(compact).all(&compact.limits, &everything) else { return Some(infeasible) };
    let Relaxation::Bounded(root) = relax(compact, &goal, &state.allowed, seconds) else { return Some(infeasible) };
    let mut problem = RowProblem::default();
    let columns: Vec<_> = compact.cost.iter().map(|&cost| problem.add_integer_column(cost, 0.0..=1.0)).collect();
    for item in &compact.items {
        problem.add_row(1.0..=1.0, item.clone().map(|option| (columns[option], 1.0)));
    }
    let unit = SCALE / compact.limits.iter().map(|limit| limit.abs()).fold(1.0, f64::max);
    for (taken, limit) in rows(compact, &everything).into_iter().zip(&compact.limits) {
        problem.add_row(..=limit * unit, taken.into_iter().map(|(option, amount)| (columns[option], amount * unit)));
    }
    for need in &compact.needs {
        let from = need.from.iter().map(|&option| (columns[option], 1.0));
        let to = need.to.iter().map(|&option| (columns[option], -1.0));
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
    // Within tolerances is not enough.
    let exact = |picks: Vec<usize>| {
        let state = State::new(compact, &goal, 0.0, picks);
        state.is_feasible().then_some((state.picks, state.cost))
    };
    Some(Found { best: best.and_then(exact), bound, prices: root.prices })
}
