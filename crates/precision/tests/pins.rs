//! Pins: what they mean, which one wins, what methods make of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

mod graphs;

use bitbudget_formats::Format;
use bitbudget_ir::Graph;
use bitbudget_precision::{
    Assignment, Formats, Kind, Level, Method, Pin, PinError, PinFormats, Pinned, Setting, assign_with, node_names,
    pins_of, tensors,
};
use graphs::{RELABELLED, SHARED, assigned, train};

const BATCH: usize = 2;
const HIGH: PinFormats = PinFormats { forward: Format::PAPER_HIGH, backward: Format::PAPER_HIGH };

fn pin(pattern: &str, formats: &str) -> Pin {
    Pin { pattern: pattern.into(), formats: Some(formats.parse().unwrap()) }
}

fn exclude(pattern: &str) -> Pin {
    Pin { pattern: pattern.into(), formats: None }
}

fn resolved(graph: &Graph, pins: &[Pin]) -> Result<Pinned, Vec<PinError>> {
    pins_of(pins, graph, &tensors(graph, BATCH), Method::Demote, &Formats::PAPER, HIGH)
}

/// The pinned tensors, as `name kind: format`.
fn shown(graph: &Graph, pins: &[Pin]) -> Vec<String> {
    let (tensors, names) = (tensors(graph, BATCH), node_names(graph));
    let line = |(at, format): (usize, Format)| {
        let name = names[tensors[at].node.index()].clone().unwrap();
        let kind = match tensors[at].kind {
            Kind::Parameter => "P",
            Kind::Output => "Y",
            Kind::OutputGradient => "GY",
            Kind::ParameterGradient => "GP",
        };
        format!("{name} {kind}: {format}")
    };
    resolved(graph, pins).unwrap().into_iter().map(line).collect()
}

#[test]
fn types_come_before_names_and_the_more_exact_pin_wins() {
    let graph = train(SHARED);
    assert_eq!(shown(&graph, &[pin("w", "bf16")]), ["w P: bf16", "w GP: bf16"]);
    assert_eq!(shown(&graph, &[pin("l*t", "1-4-3/1-5-2")]), ["left Y: 1-4-3", "left GY: 1-5-2"]);
    // There is an operator type `relu`, so that the tensor of that name is not meant alone.
    assert_eq!(
        shown(&graph, &[pin("relu", "bf16")]),
        ["relu Y: bf16", "relu GY: bf16", "late Y: bf16", "late GY: bf16"]
    );
    let gemm = ["w P: bf16", "left Y: bf16", "left GY: bf16", "w GP: bf16", "right Y: bf16", "right GY: bf16"];
    assert_eq!(shown(&graph, &[pin("mat*", "fp32"), pin("MatMul", "bf16")]), gemm);
    let mixed = ["w P: fp32", "left Y: 1-6-9", "left GY: 1-6-9", "w GP: fp32", "right Y: e5m2", "right GY: e5m2"];
    assert_eq!(shown(&graph, &[pin("righ?", "e5m2"), exclude("matmul"), pin("w", "fp32")]), mixed);
}

/// An operator is meant by its type in the file too, and only where the file has that.
#[test]
fn types_of_the_file_are_matched() {
    let mut graph = train(SHARED);
    assert!(matches!(resolved(&graph, &[pin("Gemm", "bf16")]).unwrap_err()[..], [PinError::Nothing { .. }]));
    let left = graph.ids().find(|&id| graph.node(id).name == "left").unwrap();
    graph.set_onnx_type(left, "Gemm");
    let left = ["w P: bf16", "left Y: bf16", "left GY: bf16", "w GP: bf16"];
    for pattern in ["Gemm", "gemm", "Ge*"] {
        assert_eq!(shown(&graph, &[pin(pattern, "bf16")]), left);
    }
    assert_eq!(shown(&graph, &[pin("MatMul", "bf16")]).len(), 6);
}

#[test]
fn all_pins_without_a_meaning_are_reported() {
    let graph = train(SHARED);
    let pins =
        [pin("matmull", "bf16"), pin("left", "bf16"), exclude("left"), pin("nll_loss", "e4m3"), pin("[", "fp32")];
    let errors = resolved(&graph, &pins).unwrap_err();
    let near = vec!["matmul".to_string()];
    let expected = [
        PinError::Nothing { pattern: "matmull".into(), near },
        PinError::Exact {
            pattern: "nll_loss".into(),
            name: "nll_loss".into(),
            format: Format::E4M3,
            allowed: vec![Format::FP32, Format::PAPER_HIGH, Format::PAPER_LOW_FORWARD],
        },
        PinError::Nothing { pattern: "[".into(), near: vec![] },
        PinError::Conflict {
            patterns: ["left".into(), "left".into()],
            name: "left".into(),
            formats: [Format::BF16, Format::PAPER_HIGH],
        },
    ];
    assert_eq!(errors, expected);
    // A pin of its own settles what others dispute, and a pin of everything passes over the loss.
    assert!(resolved(&graph, &[pin("l*t", "bf16"), pin("le*", "fp32"), pin("left", "fp32")]).is_ok());
    assert!(shown(&graph, &[pin("*", "bf16")]).iter().all(|line| !line.starts_with("nll_loss")));
}

fn assigned_with(graph: &Graph, method: Method, low_ratio: f64, pinned: &Pinned) -> Assignment {
    let setting = Setting { method, low_ratio, seed: 0, formats: Formats::PAPER };
    assign_with(graph, BATCH, &tensors(graph, BATCH), &setting, pinned).unwrap()
}

#[test]
fn methods_leave_pinned_tensors_alone() {
    let graph = train(RELABELLED);
    let pinned = resolved(&graph, &[exclude("relu"), pin("fc2", "bf16"), pin("w4", "1-4-3")]).unwrap();
    let methods = Method::ALL.into_iter().filter(|&method| method != Method::Ilp);
    let none = Pinned::new();
    for method in methods {
        let with = |pinned| assigned_with(&graph, method, 0.5, pinned);
        assert_eq!(with(&none), assigned(&graph, method, 0.5), "{method}");
        let assignment = with(&pinned);
        for (at, (tensor, level, format)) in assignment.assigned().enumerate() {
            match pinned.get(&at) {
                Some(&pinned) => assert_eq!(format, pinned, "{method} {tensor:?}"),
                None => assert_eq!(format, assignment.by_level.of(tensor.kind, level), "{method} {tensor:?}"),
            }
        }
        // Levels follow from formats, so that they can be told from a file.
        let Assignment { by_level, chosen, recomputed, .. } = assignment.clone();
        let again =
            Assignment::of_choices(&graph, BATCH, &tensors(&graph, BATCH), method, by_level, chosen, recomputed)
                .unwrap();
        assert_eq!(Assignment { demoted: assignment.demoted.clone(), ..again }, assignment, "{method}");
    }
    // More groups make up for what is excluded.
    for method in [Method::Demote, Method::DemoteSmallest, Method::Random] {
        for ratio in [0.0, 0.3, 0.6] {
            let assignment = assigned_with(&graph, method, ratio, &pinned);
            assert!(assignment.low_ratio_elements() >= ratio, "{method} {ratio}");
        }
        let all = assigned_with(&graph, method, 1.0, &pinned);
        assert_eq!(all.demoted.len(), all.groups.len());
        let relu = all.assigned().filter(|(t, ..)| graph.op(t.node).name() == "relu");
        assert!(relu.into_iter().all(|(_, level, _)| level == Level::High));
        assert_eq!(all.with_demoted(&graph, &all.demoted, &pinned), all);
    }
}
