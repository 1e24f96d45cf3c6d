//! The engine against all choices, one by one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_solver::{
    Choice, Engine, Item, Link, Outcome, Pick, Problem, Settings, Solution, Solver, SolverError, Use, smallest, solve,
};
use proptest::prelude::*;

/// The rows' loads of a choice, or nothing if it breaks a link.
fn loads(problem: &Problem, picks: &[u32]) -> Option<Vec<i64>> {
    let is_chosen = |pick: &Pick| picks[pick.item as usize] == pick.option;
    if problem.links.iter().any(|link| is_chosen(&link.from) && !link.to.iter().any(is_chosen)) {
        return None;
    }
    let mut loads = vec![0; problem.limits.len()];
    for (item, &pick) in problem.items.iter().zip(picks) {
        for used in &item.options[pick as usize].uses {
            (used.first..=used.last).for_each(|row| loads[row as usize] += used.amount);
        }
    }
    Some(loads)
}

fn cost(problem: &Problem, picks: &[u32]) -> f64 {
    problem.items.iter().zip(picks).map(|(item, &pick)| item.options[pick as usize].cost).sum()
}

/// The least cost of a feasible choice, and the least excess over the limits of all rows.
fn by_brute_force(problem: &Problem) -> (Option<f64>, Option<i64>) {
    let (mut least, mut excess) = (None::<f64>, None::<i64>);
    let mut picks = vec![0u32; problem.items.len()];
    loop {
        if let Some(loads) = loads(problem, &picks) {
            let over = loads.iter().zip(&problem.limits).map(|(load, limit)| load - limit).max().unwrap();
            excess = Some(excess.map_or(over, |e| e.min(over)));
            if over <= 0 {
                let cost = cost(problem, &picks);
                least = Some(least.map_or(cost, |l| l.min(cost)));
            }
        }
        let Some(at) = (0..picks.len()).find(|&at| picks[at] as usize + 1 < problem.items[at].options.len()) else {
            return (least, excess);
        };
        picks[at] += 1;
        picks[..at].fill(0);
    }
}

fn problems() -> impl Strategy<Value = Problem> {
    const ROWS: u32 = 6;
    let used = (0..ROWS, 0..ROWS, -3i64..20).prop_map(|(a, b, amount)| Use { first: a.min(b), last: a.max(b), amount });
    let choice = (0u32..30, proptest::collection::vec(used, 0..3))
        .prop_map(|(cost, uses)| Choice { cost: f64::from(cost) / 4.0, uses });
    let item = proptest::collection::vec(choice, 1..4).prop_map(|options| Item { options });
    let items = proptest::collection::vec(item, 1..9);
    let links = proptest::collection::vec((any::<u16>(), proptest::collection::vec(any::<u16>(), 0..3)), 0..8);
    (items, proptest::collection::vec(-5i64..60, ROWS as usize), links).prop_map(|(items, limits, links)| {
        let pick = |n: u16| {
            let item = n as usize % items.len();
            Pick { item: item as u32, option: u32::from(n) / 64 % items[item].options.len() as u32 }
        };
        let link = |(from, to): (u16, Vec<u16>)| Link { from: pick(from), to: to.into_iter().map(pick).collect() };
        let links = links.into_iter().map(link).collect();
        Problem { items, limits, links }
    })
}

/// Whether a solution is the best of a problem with lowered limits, and its bound is one of the problem itself.
fn is_best(lowered: &Problem, solution: &Solution, of_lowered: f64, least: f64) -> Result<(), TestCaseError> {
    prop_assert!((solution.cost - of_lowered).abs() < 1e-9, "{} for {of_lowered}", solution.cost);
    prop_assert!(solution.bound <= least + 1e-6, "bound {} of {least}", solution.bound);
    let loads = loads(lowered, &solution.picks).unwrap();
    prop_assert!(loads.iter().zip(&lowered.limits).all(|(load, limit)| load <= limit));
    Ok(())
}

/// The engines of this build.
fn built() -> &'static [Engine] {
    if cfg!(feature = "highs") { &Engine::ALL } else { &[Engine::Embedded] }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_least_cost_is_found_and_proved(problem in problems()) {
        let (least, _) = by_brute_force(&problem);
        for &engine in built() {
            match solve(&problem, engine, &Settings::default()).unwrap() {
                Outcome::Solved(solution) => {
                    let least = least.unwrap();
                    prop_assert!((solution.cost - least).abs() < 1e-9, "{engine}: {} instead of {least}", solution.cost);
                    prop_assert!((solution.bound - least).abs() < 1e-6, "{engine}: bound {} of {least}", solution.bound);
                    let loads = loads(&problem, &solution.picks).unwrap();
                    prop_assert!(loads.iter().zip(&problem.limits).all(|(load, limit)| load <= limit));
                    prop_assert!((cost(&problem, &solution.picks) - solution.cost).abs() < 1e-9);
                }
                Outcome::Infeasible => prop_assert_eq!(least, None),
                Outcome::Unknown { .. } => prop_assert!(false, "{engine}: nothing found"),
            }
        }
    }

    #[test]
    fn solutions_leave_free_what_they_should(problem in problems(), amount in 0i64..12, rows in 0u32..6) {
        let mut lowered = problem.clone();
        lowered.limits[..rows as usize].iter_mut().for_each(|limit| *limit -= amount);
        let ((least, _), (of_lowered, _)) = (by_brute_force(&problem), by_brute_force(&lowered));
        let mut solver = Solver::new(&problem, Engine::Embedded, 0..rows, 10.0).unwrap();
        match solver.solve(&Settings::default(), amount).unwrap() {
            Outcome::Solved(solution) => {
                is_best(&lowered, &solution, of_lowered.unwrap(), least.unwrap())?;
            }
            Outcome::Infeasible => prop_assert_eq!(least, None),
            Outcome::Unknown { bound } => {
                prop_assert_eq!(of_lowered, None);
                prop_assert!(bound <= least.unwrap() + 1e-6);
            }
        }
    }

    #[test]
    fn a_search_goes_on_with_other_amounts(problem in problems(), amounts in proptest::collection::vec(0i64..12, 2..5)) {
        let (least, _) = by_brute_force(&problem);
        let mut solver = Solver::new(&problem, Engine::Embedded, 0..6, 10.0).unwrap();
        let mut start = None;
        for amount in amounts {
            let mut lowered = problem.clone();
            lowered.limits.iter_mut().for_each(|limit| *limit -= amount);
            let (of_lowered, _) = by_brute_force(&lowered);
            match solver.solve(&Settings { start: start.clone(), ..Settings::default() }, amount).unwrap() {
                Outcome::Solved(solution) => {
                    is_best(&lowered, &solution, of_lowered.unwrap(), least.unwrap())?;
                    start = Some(solution.picks);
                }
                Outcome::Infeasible => prop_assert_eq!(least, None),
                Outcome::Unknown { .. } => prop_assert_eq!(of_lowered, None),
            }
        }
    }

    #[test]
    fn the_least_excess_is_found_and_proved(problem in problems()) {
        let (_, excess) = by_brute_force(&problem);
        let found = smallest(&problem, 0..problem.limits.len() as u32, &Settings::default()).unwrap();
        prop_assert_eq!(found.as_ref().map(|f| f.excess), excess);
        prop_assert_eq!(found.as_ref().map(|f| f.bound), excess);
        if let Some(found) = found {
            let loads = loads(&problem, &found.picks).unwrap();
            prop_assert!(loads.iter().zip(&problem.limits).all(|(load, limit)| *load <= limit + found.excess));
        }
    }
}

#[test]
#[cfg(not(feature = "highs"))]
fn an_engine_that_is_not_built_says_so() {
    let problem = Problem { items: vec![Item { options: vec![Choice::default()] }], limits: vec![], links: vec![] };
    let error = solve(&problem, Engine::Highs, &Settings::default()).unwrap_err();
    assert!(error.to_string().contains("--features highs"));
    assert_eq!(
        "gurobi".parse::<Engine>().unwrap_err().to_string(),
        "unknown engine `gurobi`; expected one of embedded, highs"
    );
}

#[test]
fn malformed_problems_are_errors() {
    let choice = |cost, row| Choice { cost, uses: vec![Use { first: 0, last: row, amount: 1 }] };
    let good = Problem { items: vec![Item { options: vec![choice(1.0, 0)] }], limits: vec![1], links: vec![] };
    let error = |problem: &Problem| solve(problem, Engine::Embedded, &Settings::default()).unwrap_err();
    let mut bad = good.clone();
    bad.items[0].options.clear();
    assert_eq!(error(&bad), SolverError::NoOptions { item: 0 });
    let mut bad = good.clone();
    bad.items[0].options[0] = choice(f64::NAN, 0);
    assert!(error(&bad).to_string().contains("option 0 of item 0"));
    let mut bad = good.clone();
    bad.items[0].options[0] = choice(1.0, 1);
    assert!(error(&bad).to_string().contains("rows 0 to 1 of 1"));
    let mut bad = good.clone();
    bad.limits[0] = i64::MIN;
    assert!(error(&bad).to_string().contains("too large"));
    let mut bad = good.clone();
    bad.links.push(Link { from: Pick { item: 0, option: 3 }, to: vec![] });
    assert!(error(&bad).to_string().contains("option 3 of item 0"));
    let start = Settings { start: Some(vec![1]), ..Settings::default() };
    assert_eq!(solve(&good, Engine::Embedded, &start).unwrap_err(), SolverError::Start { items: 1 });
    assert!(matches!(smallest(&good, 0..2, &Settings::default()), Err(SolverError::Range { .. })));
}
