//! Programs that are too large for the simplex method.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its functions too")]

use bitbudget_solver::{Choice, Engine, Item, Link, Outcome, Pick, Problem, Settings, Solver, Use, memory};

/// A deep network: each layer keeps a tensor until its backward pass, in one of three formats, or drops it and has it again from the
/// layer before, which is to be there then.
fn deep(layers: u32) -> Problem {
    let mut state = 7u64;
    let mut below = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let rows = 2 * layers;
    let item = |layer: u32| {
        let (size, harm) = (64 + below(64) as i64, 1.0 + below(8) as f64);
        let backward = rows - 1 - layer;
        let kept = |part: i64, cost: f64| Choice {
            cost: cost * harm,
            uses: vec![Use { first: layer, last: backward, amount: size * part / 4 }],
        };
        let at = |row: u32| Use { first: row, last: row, amount: size };
        let dropped = Choice { cost: 6.0, uses: vec![at(layer), at(backward)] };
        Item { options: vec![kept(4, 0.0), kept(2, 1.0), kept(1, 4.0), dropped] }
    };
    let items: Vec<Item> = (0..layers).map(item).collect();
    let links = (1..layers).map(|layer| {
        let pick = |item, option| Pick { item, option };
        Link { from: pick(layer, 3), to: (0..3).map(|option| pick(layer - 1, option)).collect() }
    });
    Problem { items, limits: vec![i64::from(layers) * 30; rows as usize], links: links.collect() }
}

#[test]
fn a_deep_network_is_solved_near_its_bound_in_little_memory() {
    let problem = deep(1500);
    assert!(memory(&problem, 2) < 1 << 30);
    let solved = || {
        let mut solver =
            Solver::new(&problem, Engine::Embedded, 0..problem.limits.len() as u32, f64::INFINITY).unwrap();
        assert!(!solver.goes_on());
        let settings = Settings { seconds: f64::INFINITY, effort: Some(1), ..Settings::default() };
        let found = [0, 300].map(|free| match solver.solve(&settings, free).unwrap() {
            Outcome::Solved(solution) => solution,
            other => unreachable!("{other:?}"),
        });
        found.map(|solution| (solution.picks, solution.cost, solution.bound))
    };
    let found = solved();
    assert_eq!(found, solved(), "equal searches give equal solutions");
    for ((picks, cost, bound), free) in found.iter().zip([0, 300]) {
        assert!(*bound > 0.0 && bound <= cost && *cost <= 1.01 * bound, "{bound} {cost}");
        let chosen = || picks.iter().zip(&problem.items).map(|(&pick, item)| &item.options[pick as usize]);
        assert!((chosen().map(|option| option.cost).sum::<f64>() - cost).abs() < 1e-6);
        let mut rows = vec![free; problem.limits.len()];
        for used in chosen().flat_map(|option| &option.uses) {
            rows[used.first as usize..=used.last as usize].iter_mut().for_each(|row| *row += used.amount);
        }
        assert!(rows.iter().zip(&problem.limits).all(|(row, limit)| row <= limit));
        let is_chosen = |pick: &Pick| picks[pick.item as usize] == pick.option;
        assert!(problem.links.iter().all(|link| !is_chosen(&link.from) || link.to.iter().any(is_chosen)));
    }
}
