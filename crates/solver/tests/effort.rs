//! Searches of a counted effort.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its functions too")]

use bitbudget_solver::{Choice, Engine, Item, Outcome, Problem, Settings, Solver, Use};

/// Items that are alive over some of many rows, each with options of less and less memory and higher and higher cost.
fn problem() -> Problem {
    let mut state = 7u64;
    let mut below = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let (rows, mut items) = (20u64, Vec::new());
    for _ in 0..40 {
        let (first, size) = (below(rows), 10 + below(90) as i64);
        let last = (first + below(15)).min(rows - 1);
        let used = |amount| Use { first: first as u32, last: last as u32, amount };
        let harm = size as f64 * (1.0 + below(100) as f64);
        let option = |part: i64, cost: f64| Choice { cost, uses: vec![used(size * part / 4)] };
        items.push(Item { options: vec![option(4, 0.0), option(2, harm), option(1, 9.0 * harm)] });
    }
    Problem { items, limits: vec![500; rows as usize], links: vec![] }
}

#[test]
fn equal_searches_give_equal_solutions_whatever_the_clock() {
    let problem = problem();
    let solved = |effort: usize| {
        let rows = 0..problem.limits.len() as u32;
        let mut solver = Solver::new(&problem, Engine::Embedded, rows, f64::INFINITY).unwrap();
        let mut picks = None;
        let mut found = Vec::new();
        // A search goes on where it was, with more left free.
        for free in [0, 5] {
            let settings = Settings { seconds: f64::INFINITY, effort: Some(effort), gap: 1e-4, start: picks.clone() };
            let Outcome::Solved(solution) = solver.solve(&settings, free).unwrap() else { unreachable!("no solution") };
            assert!(solution.bound <= solution.cost);
            picks = Some(solution.picks.clone());
            found.push((solution.picks, solution.cost, solution.bound));
        }
        found
    };
    let first = solved(4);
    // Other work beside it changes how threads take turns, and nothing else.
    let others: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3).map(|_| scope.spawn(|| solved(4))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    for other in others {
        assert_eq!(other, first);
    }
    // More effort is no worse.
    assert!(solved(16)[0].1 <= first[0].1 + 1e-9 && solved(16)[0].2 >= first[0].2 - 1e-9);
}
