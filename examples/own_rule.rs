//! A rewriting rule of one's own: an equation that holds bit for bit. The compiler uses it where that keeps less memory.
//!
//!     cargo run --release --example own_rule

use bitbudget::rules::Rule;
use bitbudget::{Array, Graph, Inputs, Method, Model, Options, Rules, Session, explain, rule};
use std::error::Error;

/// relu(relu(x)) == relu(x)
const OWN: &[&Rule] = &[rule!("relu-of-relu": |g| Relu(_)[y]; y: Relu(_)[_x]; => y)];

const NETWORK: &str = r#"graph "twice" {
  %0 = input {name="x"} : f32[N,16]
  %1 = parameter {name="w"} : f32[64,16]
  %2 = matmul(%0, %1) {trans_a=false, trans_b=true} : f32[N,64] output "fc1"
  %3 = relu(%2) : f32[N,64] output "once"
  %4 = relu(%3) : f32[N,64] output "twice"
  %5 = parameter {name="v"} : f32[4,64]
  %6 = matmul(%4, %5) {trans_a=false, trans_b=true} : f32[N,4] output "fc2"
  return "scores" = %6
}"#;

/// Numbers from -0.5 to 0.5 without a pattern.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + seed * 104_729) % 1000) as f32 / 1000.0 - 0.5).collect()
}

/// The losses of 10 steps; prints how often the rule fired.
fn losses(rules: Rules) -> Result<Vec<f32>, Box<dyn Error>> {
    let graph: Graph = NETWORK.parse()?;
    let values = [("w".to_string(), numbers(64 * 16, 1)), ("v".to_string(), numbers(4 * 64, 2))].into();
    let options = Options { batch: 8, method: Method::Fp32, rewrite: Some(rules), threads: 1, ..Options::default() };
    let mut session = Session::compile(Model { graph, values }, &options)?;
    let explained = explain(session.compiled(), 1)?;
    for firing in explained.rules.iter().filter(|firing| OWN.iter().any(|rule| rule.name == firing.rule)) {
        println!("{} fired: {}", firing.rule, firing.fired);
    }
    println!("bytes at the peak: {}", explained.peak);
    let (x, labels) = (numbers(8 * 16, 3), [0, 1, 2, 3, 0, 1, 2, 3]);
    let arrays = [("x", Array::f32(&[8, 16], &x)), ("labels", Array::integers(&[8], &labels))];
    let inputs = Inputs { learning_rate: 0.1, ..Inputs::new(arrays) };
    (0..10).map(|_| Ok(session.step(&inputs)?.loss)).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let (without, with) = (losses(Rules::Exact)?, losses(Rules::With(OWN))?);
    println!("the losses are the same bits: {}", without == with);
    println!("loss: {:.4} at first, {:.4} at last", with[0], with[9]);
    Ok(())
}
