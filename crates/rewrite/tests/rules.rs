//! Rules on whole networks: each fires on one, and training steps keep their bits. Cases of single rules stand in
//! `tests/filetests/rules`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

mod common;

use bitbudget_autodiff::{Optimizer, training};
use bitbudget_precision::{Formats, Method, assign};
use bitbudget_rewrite::{Limits, Rules};
use bitbudget_testkit::NETWORK;
use bitbudget_zoo::{Network, Spec, build};
use std::collections::BTreeMap;

/// Rectifiers of other networks than those of the zoo: that of MobileNet-v2 as published, and that of YOLO.
const OTHERS: &str = r#"graph "others" {
  %0 = input {name="x"} : f32[N,8]
  %1 = parameter {name="w"} : f32[8,8]
  %2 = matmul(%0, %1) {trans_a=false, trans_b=true} : f32[N,8] output
  %3 = clip(%2) {min=0.0, max=6.0} : f32[N,8] output
  %4 = parameter {name="v"} : f32[5,8]
  %5 = matmul(%3, %4) {trans_a=false, trans_b=true} : f32[N,5] output
  %6 = leaky_relu(%5) {alpha=0.1} : f32[N,5] output
  %7 = reshape(%6) {shape=<N,5>} : f32[N,5] output
  return "scores" = %7
}"#;

#[test]
fn every_rule_fires_on_a_network() {
    let zoo = Network::OF_PAPER.map(|network| {
        let spec = Spec { network, width: 0.1, classes: 10, input: [3, 32, 32], seed: 0, ..Spec::default() };
        (network.to_string(), build(&spec).unwrap().graph)
    });
    let small = [("others".to_string(), OTHERS.parse().unwrap()), ("net".to_string(), NETWORK.parse().unwrap())];
    let mut all: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, forward) in zoo.into_iter().chain(small) {
        let graph = training(&forward, &Optimizer::sgd()).unwrap();
        let mixed = assign(&graph, 8, Method::Demote, 0.5, 0, Formats::PAPER).unwrap().formats;
        for graph in [graph.clone(), graph.stored_in(&mixed)] {
            let found = bitbudget_rewrite::alternatives(&graph, Rules::Reassociating, &Limits::default());
            println!("{name}: {:?}", found.fired.iter().filter(|(_, times)| *times > 0).collect::<Vec<_>>());
            found.fired.iter().for_each(|&(rule, times)| *all.entry(rule).or_default() += times);
        }
    }
    let never: Vec<&&str> = all.iter().filter(|(_, times)| **times == 0).map(|(rule, _)| rule).collect();
    assert!(never.is_empty(), "these earn nothing: {never:?}");
}

#[test]
fn a_whole_training_step_gives_the_same_bits() {
    for text in [NETWORK, OTHERS] {
        let graph = training(&text.parse().unwrap(), &Optimizer::sgd()).unwrap();
        for method in [Method::Fp32, Method::UniformHigh, Method::UniformLow, Method::Demote, Method::Operator] {
            let graph = graph.stored_in(&assign(&graph, 2, method, 0.5, 0, Formats::PAPER).unwrap().formats);
            let (_, rewritten) = common::check(&graph, 3, false);
            assert_ne!(rewritten.to_string(), graph.to_string());
        }
    }
}
