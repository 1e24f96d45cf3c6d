//! Reports: their numbers are those of the program, and every tensor says why it is stored as it is.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget::{Budget, Compiled, Limit, Options, compile, report};
use bitbudget_ir::Model;
use bitbudget_precision::Method;
use bitbudget_program::Footprint;
use bitbudget_report::{Life, Overflow, Promotion, Report, Storage, Tensor, Training, page};
use bitbudget_testkit::{NETWORK, numbers};
use bitbudget_zoo::{Network, Spec, build};

fn zoo(network: Network) -> Model {
    build(&Spec { network, width: 0.1, classes: 10, input: [3, 16, 16], seed: 0, ..Spec::default() }).unwrap()
}

fn small() -> Model {
    let graph: bitbudget_ir::Graph = NETWORK.parse().unwrap();
    let sources = graph.ids().filter(|&id| matches!(graph.op(id).source_name(), Some(name) if name != "x"));
    let values = sources.map(|id| {
        let name = graph.op(id).source_name().unwrap().to_string();
        (name, numbers(graph.ty(id).shape.elements(1), id.index()))
    });
    Model { values: values.collect(), graph: graph.clone() }
}

fn compiled(model: Model, method: Method, budget: Option<f64>) -> Compiled {
    let budget = budget.map(|share| Budget { seconds: 1.0, ..Budget::new(Limit::Share(share), 1) });
    compile(model, &Options { batch: 8, method, budget, ..Options::default() }).unwrap()
}

/// Bytes of tensors of a use at an instruction.
fn alive(report: &Report, usage: usize, instruction: usize) -> usize {
    let lives = report.tensors.iter().filter(|t| t.usage == Some(usage)).flat_map(|t| &t.lives);
    lives.filter(|Life(first, last, _)| (*first..=*last).contains(&instruction)).map(|Life(_, _, bytes)| bytes).sum()
}

fn tensor<'a>(report: &'a Report, kind: &str, name: &str) -> &'a Tensor {
    report.tensors.iter().find(|t| t.kind == kind && t.name == name).unwrap()
}

#[test]
fn the_numbers_are_those_of_the_program() {
    for network in [Network::SqueezeNet, Network::ResNet18, Network::ShuffleNetV2, Network::MobileNetV2] {
        for (method, budget) in [(Method::Fp32, None), (Method::Demote, None), (Method::Ilp, Some(0.9))] {
            let compiled = compiled(zoo(network), method, budget);
            let report = report(&compiled, 2, None).unwrap();
            let (memory, place) = (&report.memory, format!("{network} {method}"));
            let totals: Vec<usize> = memory.instructions.iter().map(|i| i.bytes.iter().sum()).collect();
            assert!(page(&report).unwrap().len() < 2_000_000, "{place}");
            assert_eq!(memory.total, Footprint::predicted(&compiled.train, 2).total(), "{place}");
            assert_eq!(memory.total, totals[memory.peak] + memory.gaps, "{place}");
            assert_eq!(totals[memory.peak], *totals.iter().max().unwrap(), "{place}");
            assert_eq!(memory.instructions.len(), compiled.peak.instructions, "{place}");
            assert_eq!(memory.instructions[memory.peak].computes, compiled.peak.computes, "{place}");
            assert!(0 < memory.backward && memory.backward < totals.len(), "{place}");
            for (at, instruction) in memory.instructions.iter().enumerate() {
                // Workspace belongs to no tensor.
                let tensors: Vec<usize> = (0..5).map(|usage| alive(&report, usage, at)).collect();
                assert_eq!(tensors, instruction.bytes[..5], "{place}: instruction {at}");
            }
            let assigned = report.tensors.iter().filter(|t| t.group.is_some());
            assert_eq!(assigned.count(), compiled.assignment.tensors.len(), "{place}");
            assert_eq!(report.verdict.budget, compiled.solved.as_ref().map(|solved| solved.budget));
            for (at, node) in report.nodes.iter().enumerate() {
                assert!(node.inputs.iter().all(|&input| input < at), "{place}: {node:?}");
                assert!(at == 0 || !node.inputs.is_empty(), "{place}: {node:?}");
            }
            let elements: u64 = report.groups.iter().map(|group| group.elements).sum();
            assert_eq!(elements, report.verdict.elements, "{place}");
            for tensor in &report.tensors {
                assert!(tensor.why.ends_with('.') && tensor.node.is_some(), "{place}: {tensor:?}");
                let stored = matches!(tensor.storage, Storage::Kept | Storage::Recomputed);
                assert_eq!(stored, tensor.bytes > 0, "{place}: {tensor:?}");
            }
        }
    }
}

#[test]
fn every_choice_is_explained_with_its_runner_up() {
    let report = report(&compiled(zoo(Network::SqueezeNet), Method::Ilp, Some(0.75)), 1, None).unwrap();
    let solver = report.verdict.solver.as_ref().unwrap();
    assert!(solver.price > 0.0 && !solver.binds.is_empty());
    let with_runner_up: Vec<&Tensor> = report.tensors.iter().filter(|t| t.choices.len() > 1).collect();
    assert!(with_runner_up.len() > 10);
    for tensor in with_runner_up {
        assert!(tensor.choices[0].chosen && tensor.choices[0].format == tensor.format, "{tensor:?}");
        assert!(tensor.choices[1..].iter().all(|choice| !choice.chosen));
        assert!(tensor.why.contains(&format!("The runner-up, {}", tensor.choices[1].format)), "{}", tensor.why);
    }
    let binding = |t: &&Tensor| t.choices.first().is_some_and(|choice| choice.memory > 0.0);
    let binding = report.tensors.iter().find(binding).unwrap();
    assert!(binding.why.contains("The budget of ") && binding.why.contains(&solver.binds[0]), "{}", binding.why);
    let recomputed = report.tensors.iter().filter(|t| t.storage == Storage::Recomputed).count();
    assert!(recomputed <= report.verdict.recomputed.len());
}

#[test]
fn a_run_tells_of_overflows_and_promotions() {
    let compiled = compiled(small(), Method::UniformLow, None);
    let overflow = |tensor: &str, ratio| Overflow { tensor: tensor.into(), ratio, step: 3 };
    let promotion = Promotion {
        step: 3,
        tensor: "bn".into(),
        overflow: 0.25,
        from: "1-4-3".into(),
        to: "1-6-9".into(),
        peak: 4096,
        low_ratio: 0.5,
    };
    let training = Training {
        overflows: vec![overflow("bn", 0.25), overflow("w", 0.125)],
        promotions: vec![promotion],
        ..Training::default()
    };
    let report = report(&compiled, 1, Some(training.clone())).unwrap();
    assert_eq!(report.training.as_ref(), Some(&training));
    assert_eq!(tensor(&report, "parameter", "w").overflow, Some(0.125));
    assert_eq!(tensor(&report, "output", "add").overflow, Some(0.0));
    assert_eq!(tensor(&report, "output gradient", "bn").overflow, None);
    let bn = tensor(&report, "output", "bn");
    let why = "After training step 3 25.00% of it had overflowed in 1-4-3, so it was promoted to 1-6-9";
    assert!(bn.overflow == Some(0.25) && bn.why.contains(why), "{}", bn.why);
}

#[test]
fn the_report_of_a_small_network() {
    let report = report(&compiled(small(), Method::Demote, None), 1, None).unwrap();
    let line = |value: serde_json::Value| format!("{value}\n");
    let mut text = line(serde_json::to_value(&report.verdict).unwrap());
    let memory = &report.memory;
    text += &format!(
        "{} bytes, {} in gaps, peak at {}, backward from {}\n",
        memory.total, memory.gaps, memory.peak, memory.backward
    );
    memory.instructions.iter().for_each(|one| text += &line(serde_json::to_value(one).unwrap()));
    report.nodes.iter().for_each(|one| text += &line(serde_json::to_value(one).unwrap()));
    report.groups.iter().for_each(|one| text += &line(serde_json::to_value(one).unwrap()));
    report.tensors.iter().for_each(|one| text += &line(serde_json::to_value(one).unwrap()));
    insta::assert_snapshot!(text);
}
