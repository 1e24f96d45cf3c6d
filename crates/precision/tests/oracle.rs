//! Against the authors' own grouping and assignments (`../shared/oracle/groups.json`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failure in a test's own function fails the test")]

use bitbudget_autodiff::{Optimizer, training};
use bitbudget_formats::Format;
use bitbudget_ir::Graph;
use bitbudget_precision::summary::summary;
use bitbudget_precision::{Assignment, Formats, Level, Method, assign, groups, tensors};
use bitbudget_zoo::{Network, Spec, build};
use serde_json::Value;
use std::path::Path;

const BATCH: usize = 128;

fn training_graph(network: Network, width: f64) -> Graph {
    let forward =
        build(&Spec { network, width, classes: 10, input: [3, 32, 32], seed: 0, ..Spec::default() }).unwrap().graph;
    training(&forward, &Optimizer::sgd()).unwrap()
}

fn oracle(file: &str) -> Option<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracle").join(file);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: {} is absent", path.display());
        return None;
    };
    serde_json::from_str(&text).unwrap()
}

/// Runs `check` on every network that the oracle knows.
fn with_oracle(check: impl Fn(Network, &Graph, &Value)) {
    let Some(oracle) = oracle("groups.json") else { return };
    for (name, expected) in oracle.as_object().unwrap() {
        let network: Network = name.parse().unwrap();
        check(network, &training_graph(network, 1.0), expected);
    }
}

fn assigned(graph: &Graph, method: Method, low_ratio: f64) -> Assignment {
    assign(graph, BATCH, method, low_ratio, 0, Formats::PAPER).unwrap()
}

fn numbers(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|t| t.as_str().unwrap().to_string()).collect()
}

/// An operator's name as the oracle writes it, such as `Conv2d:conv1`, in ours.
fn renamed(operator: &str) -> String {
    let (kind, name) = operator.split_once(':').unwrap();
    let kind = match kind {
        "Input" => "input",
        "Conv2d" => "conv",
        "Linear" => "matmul",
        "BatchNorm2d" => "batch_normalize",
        "ReLU" => "relu",
        "MaxPool2d" => "max_pool",
        "AvgPool2d" => "average_pool",
        "Cat" => "concat",
        "SplitHalf" => "slice",
        "Add" => "add",
        "LogSoftmax" => return "log_softmax:log_softmax".into(),
        "NLLLoss" => return "nll_loss:nll_loss".into(),
        other => panic!("the oracle has an operator `{other}`"),
    };
    format!("{kind}:{name}")
}

#[test]
fn groups_are_those_of_the_authors() {
    with_oracle(|network, graph, expected| {
        let ours = summary(&assigned(graph, Method::UniformHigh, 0.0), graph);
        let theirs = expected["groups"].as_array().unwrap();
        assert_eq!(ours.groups.len(), theirs.len(), "{network}");
        for (group, theirs) in ours.groups.iter().zip(theirs) {
            let place = format!("{network}, group {}", group.id);
            assert_eq!(group.elements, theirs["elements"].as_u64().unwrap(), "{place}");
            let operators: Vec<String> = texts(&theirs["operators"]).iter().map(|o| renamed(o)).collect();
            assert_eq!(group.operators, operators, "{place}");
            assert_eq!(group.parameters_of, texts(&theirs["parameters_of"]), "{place}");
        }
        let operators: usize = groups(graph, BATCH).iter().map(|group| group.operators.len()).sum();
        assert_eq!(operators as u64, expected["operators"].as_u64().unwrap(), "{network}");
        let elements: u64 = tensors(graph, BATCH).iter().map(|tensor| tensor.elements).sum();
        assert_eq!(elements, expected["total_elements"].as_u64().unwrap(), "{network}");
    });
}

#[test]
fn demotion_picks_the_authors_groups() {
    with_oracle(|network, graph, expected| {
        for (method, key) in
            [(Method::Demote, "demotion_largest_first"), (Method::DemoteSmallest, "demotion_smallest_first")]
        {
            let ratios = expected[key].as_object().unwrap();
            assert_eq!(ratios.len(), 11);
            for (ratio, theirs) in ratios {
                let low_ratio: f64 = ratio.parse().unwrap();
                let ours = assigned(graph, method, low_ratio);
                let place = format!("{network}, {method}, {ratio}");
                assert_eq!(ours.demoted, numbers(&theirs["groups"]), "{place}");
                let ratio = theirs["ratio_elements"].as_f64().unwrap();
                assert!((ours.low_ratio_elements() - ratio).abs() < 1e-15, "{place}");
                assert!(ours.low_ratio_elements() >= low_ratio);
                if let Some(bits) = theirs["bits"].as_u64() {
                    assert_eq!(ours.bits_total(), bits, "{place}");
                }
                for id in 0..ours.groups.len() {
                    let level = if ours.demoted.contains(&id) { Level::Low } else { Level::High };
                    assert_eq!(ours.group_level(id), Some(level), "{place}");
                }
            }
        }
    });
}

#[test]
fn the_operator_baseline_is_that_of_the_authors() {
    with_oracle(|network, graph, expected| {
        let ours = assigned(graph, Method::Operator, 0.0);
        let theirs = &expected["operator_based"];
        assert_eq!(ours.bits_total(), theirs["bits"].as_u64().unwrap(), "{network}");
        let percent = theirs["ratio_bits_percent"].as_f64().unwrap();
        assert!((100.0 * ours.low_ratio_bits() - percent).abs() < 1e-9, "{network}");
        assert!((0..ours.groups.len()).any(|id| ours.group_level(id).is_none()), "{network}: no group is mixed");
    });
}

#[test]
fn uniform_totals_are_those_of_the_authors() {
    with_oracle(|network, graph, expected| {
        let eight = Format::PAPER_LOW_FORWARD;
        let all_low = Formats { low_parameter_gradient: eight, ..Formats::PAPER };
        for (method, formats, key) in [
            (Method::Fp32, Formats::PAPER, "FP32"),
            (Method::UniformHigh, Formats::PAPER, "FP_6_9_0"),
            (Method::UniformLow, Formats::PAPER, "FP8_uniform_paper_r1(GP=FP_6_9_0)"),
            (Method::UniformLow, all_low, "FP8_all4"),
        ] {
            let ours = assign(graph, BATCH, method, 0.0, 0, formats).unwrap();
            assert_eq!(ours.bits_total(), expected["total_bits"][key].as_u64().unwrap(), "{network}, {method}");
        }
    });
}

#[test]
fn narrow_networks_at_batch_16_are_assigned_as_by_the_authors() {
    let Some(oracle) = oracle("training/losses.json") else { return };
    for (name, network, width) in [("sqz_wm0.25", Network::SqueezeNet, 0.25), ("res18_wm0.1", Network::ResNet18, 0.1)] {
        let graph = training_graph(network, width);
        for (key, method, low_ratio) in [
            ("FP32", Method::Fp32, 0.0),
            ("r0", Method::Demote, 0.0),
            ("r05", Method::Demote, 0.5),
            ("r10", Method::Demote, 1.0),
            ("pi_op", Method::Operator, 0.0),
        ] {
            let ours = assign(&graph, 16, method, low_ratio, 0, Formats::PAPER).unwrap();
            let theirs = &oracle[name][key];
            let percent = theirs["low_bits_percent"][0].as_f64().unwrap();
            assert!((100.0 * ours.low_ratio_bits() - percent).abs() < 1e-9, "{network}, {key}");
            if !theirs["chosen_groups"].is_null() {
                assert_eq!(ours.demoted, numbers(&theirs["chosen_groups"]), "{network}, {key}");
            }
        }
    }
}
