//! Instances in files: JSON, packed or not, of a `cost` per binary variable and of `rows` with their bounds `lo` and `hi`
//! and terms `t`, each a variable and its factor.
//!
//! Rows that ask for a sum of one are items, those whose factors are all 1 or -1 with `hi` 0 are links, others are limits.

use bitbudget_solver::{Choice, Item, Link, Pick, Problem, Use};
use std::io::Read;
use std::path::Path;

/// Amounts are integers: this many to a unit of a file.
const UNITS: f64 = 1e6;

#[derive(serde::Deserialize)]
struct File {
    cost: Vec<f64>,
    rows: Vec<Row>,
}

#[derive(serde::Deserialize)]
struct Row {
    lo: f64,
    hi: f64,
    t: Vec<(usize, f64)>,
}

pub(crate) fn read(path: &Path) -> Problem {
    let bytes = std::fs::read(path).unwrap();
    let mut text = String::new();
    match path.extension().is_some_and(|extension| extension == "gz") {
        true => flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap(),
        false => (&bytes[..]).read_to_string(&mut text).unwrap(),
    };
    let File { cost, rows } = serde_json::from_str(&text).unwrap();
    let mut problem = Problem::default();
    let mut picks = vec![None; cost.len()];
    for row in rows.iter().filter(|row| row.lo == 1.0) {
        let item = problem.items.len() as u32;
        row.t
            .iter()
            .enumerate()
            .for_each(|(at, &(variable, _))| picks[variable] = Some(Pick { item, option: at as u32 }));
        let choice = |&(variable, _): &(usize, f64)| Choice { cost: cost[variable], uses: Vec::new() };
        problem.items.push(Item { options: row.t.iter().map(choice).collect() });
    }
    let pick = |variable: usize| picks[variable].expect("every variable is in an item");
    for row in rows.iter().filter(|row| row.lo != 1.0) {
        if row.hi == 0.0 && row.t.iter().all(|(_, factor)| factor.abs() == 1.0) {
            let of = |sign: f64| row.t.iter().filter(move |(_, f)| *f == sign).map(|&(variable, _)| pick(variable));
            let to: Vec<Pick> = of(-1.0).collect();
            problem.links.extend(of(1.0).map(|from| Link { from, to: to.clone() }));
            continue;
        }
        let at = problem.limits.len() as u32;
        problem.limits.push((row.hi * UNITS).floor() as i64);
        for &(variable, factor) in &row.t {
            let Pick { item, option } = pick(variable);
            let uses = &mut problem.items[item as usize].options[option as usize].uses;
            let amount = (factor * UNITS).round() as i64;
            match uses.last_mut() {
                Some(last) if last.last + 1 == at && last.amount == amount => last.last = at,
                _ => uses.push(Use { first: at, last: at, amount }),
            }
        }
    }
    problem
}
