//! Instances that another solver solved: the shares of their cost that it left open are in `shared/ilp.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its functions too"
)]

use bitbudget_solver::{Engine, Outcome, Problem, Settings, solve};
use std::path::PathBuf;

mod instance;

fn shared(name: &str) -> Option<Problem> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/ilp").join(name);
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(instance::read(&path))
}

/// Whether the choice keeps all limits and links, and costs what it is said to.
fn check(problem: &Problem, picks: &[u32], cost: f64) {
    let chosen = || problem.items.iter().zip(picks).map(|(item, &pick)| &item.options[pick as usize]);
    let mut loads = vec![0; problem.limits.len()];
    for used in chosen().flat_map(|choice| &choice.uses) {
        (used.first..=used.last).for_each(|row| loads[row as usize] += used.amount);
    }
    assert!(loads.iter().zip(&problem.limits).all(|(load, limit)| load <= limit));
    let is_chosen = |pick: &bitbudget_solver::Pick| picks[pick.item as usize] == pick.option;
    assert!(problem.links.iter().all(|link| !is_chosen(&link.from) || link.to.iter().any(is_chosen)));
    let sum: f64 = chosen().map(|choice| choice.cost).sum();
    assert!((sum - cost).abs() < 1e-9 * cost);
}

/// HiGHS's costs at a gap of 1%, and what solutions and bounds in a few seconds have to reach of them on a slow machine.
#[test]
fn solutions_keep_everything_and_bounds_hold() {
    let instances = [
        ("mblv2_wm1.0_nc10_0.3_1", 0.704, 0.95),
        ("shfv2_wm1.0_nc10_0.1_1", 25.2, 0.8),
        ("res18_wm1.0_nc10_0.15_1", 73.6, 0.3),
    ];
    for (name, known, proved) in instances {
        let Some(problem) = shared(&format!("{name}.json.gz")) else { return };
        let settings = Settings { seconds: 6.0, gap: 0.01, ..Settings::default() };
        let Outcome::Solved(solution) = solve(&problem, Engine::Embedded, &settings).unwrap() else {
            panic!("no solution of {name}")
        };
        check(&problem, &solution.picks, solution.cost);
        // Nothing can be below the optimum, which is at most 1% below the known cost.
        assert!(solution.cost > 0.989 * known && solution.bound < 1.002 * known, "{name}: {solution:?}");
        assert!(solution.bound > proved * known, "{name}: {} of {known}", solution.bound);
    }
}
