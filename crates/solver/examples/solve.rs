//! Solves an instance from a file: `cargo run --release -p bitbudget-solver --example solve -- FILE [SECONDS [ENGINE]]`,
//! with the engine `embedded` or, if the feature is on, `highs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "an example says what is wrong by panicking"
)]

use bitbudget_solver::{Engine, Outcome, Settings, solve};

#[path = "../tests/instance/mod.rs"]
mod instance;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().expect("the path of an instance");
    let seconds = arguments.next().map_or(10.0, |seconds| seconds.parse().expect("seconds"));
    let engine: Engine = arguments.next().map_or_else(Engine::default, |name| name.parse().expect("an engine"));
    let problem = instance::read(path.as_ref());
    let settings = Settings { seconds, ..Settings::default() };
    match solve(&problem, engine, &settings).unwrap() {
        Outcome::Solved(found) => {
            let (cost, bound, gap) = (found.cost, found.bound, 100.0 * found.gap());
            println!("cost {cost:.6}, bound {bound:.6}, gap {gap:.2}%, {:.1} s, {}", found.seconds, found.engine);
        }
        Outcome::Infeasible => println!("infeasible"),
        Outcome::Unknown { bound } => println!("unknown, bound {bound:.6}"),
    }
}
