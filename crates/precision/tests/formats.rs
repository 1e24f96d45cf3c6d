//! Formats of nodes: roles, relabelling, promotion, derived graphs, the record.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own function fails the test")]

mod graphs;

use bitbudget_autodiff::{Optimizer, evaluation, training};
use bitbudget_formats::Format;
use bitbudget_ir::{DType, Graph, NodeId, Op, Precision, Role};
use bitbudget_precision::summary::summary;
use bitbudget_precision::{Assignment, Kind, Level, Method};
use bitbudget_zoo::{Network, Spec, build};
use graphs::{RELABELLED, SHARED, assigned, train};

const HIGH: Format = Format::PAPER_HIGH;
const FORWARD: Format = Format::PAPER_LOW_FORWARD;
const BACKWARD: Format = Format::PAPER_LOW_BACKWARD;

/// The forward node of a name: the operator, or the rounded copy of a parameter.
fn named(graph: &Graph, name: &str) -> NodeId {
    let forward = |id: &NodeId| matches!(graph.node(*id).role, Role::Output | Role::Parameter);
    let found = graph.ids().find(|id| graph.node(*id).name == name && forward(id));
    found.unwrap_or_else(|| graph.ids().find(|id| graph.node(*id).name == name).unwrap())
}

/// What has to hold for the formats of every assignment of every graph.
fn check_formats(graph: &Graph, a: &Assignment) {
    let format_of = |kind, node| {
        let found = a.assigned().find(|(t, _, _)| (t.kind, t.node) == (kind, node));
        found.map(|(_, _, format)| format)
    };
    let owner = |mut id: NodeId| {
        while graph.op(id).precision() == Precision::Relabel {
            id = graph.operands(id)[0];
        }
        id
    };
    for id in graph.ids() {
        let node = graph.node(id);
        let format = a.formats[id.index()];
        let expected = match node.role {
            _ if node.ty.dtype != DType::F32 => Format::FP32,
            _ if let Some(format) = graph.moved(id, |operand| a.formats[operand.index()]) => format,
            Role::Output => format_of(Kind::Output, id).unwrap(),
            Role::Parameter => format_of(Kind::Parameter, id).unwrap(),
            Role::OutputGradient { of } => format_of(Kind::OutputGradient, owner(of)).unwrap(),
            Role::ParameterGradient { of } => format_of(Kind::ParameterGradient, owner(of)).unwrap(),
            Role::Internal if matches!(node.op, Op::Input(_)) => format_of(Kind::Output, id).unwrap(),
            Role::Internal => Format::FP32,
        };
        assert_eq!(format, expected, "{}: {id} {}", a.method, node.op.name());
    }
}

#[test]
fn formats_of_nodes_follow_roles() {
    let mut graphs = vec![train(RELABELLED), train(SHARED)];
    for network in Network::OF_PAPER {
        let spec = Spec { network, width: 0.1, classes: 10, input: [3, 32, 32], seed: 0, ..Spec::default() };
        graphs.push(training(&build(&spec).unwrap().graph, &Optimizer::sgd()).unwrap());
    }
    for graph in &graphs {
        for method in Method::ALL.into_iter().filter(|&method| method != Method::Ilp) {
            check_formats(graph, &assigned(graph, method, 0.4));
        }
        assert!(assigned(graph, Method::Fp32, 0.0).formats.iter().all(|&f| f == Format::FP32));
        let low = assigned(graph, Method::UniformLow, 0.0);
        assert_eq!(low.low_ratio_elements(), 1.0);
        for id in graph.ids().filter(|&id| graph.op(id).precision() != Precision::Relabel) {
            let expected = match graph.node(id).role {
                Role::Output | Role::Parameter => FORWARD,
                Role::OutputGradient { .. } => BACKWARD,
                Role::ParameterGradient { .. } => HIGH,
                Role::Internal => continue,
            };
            assert_eq!(low.formats[id.index()], expected);
        }
    }
}

#[test]
fn a_gradient_that_names_a_relabelling_node_is_that_of_the_tensor_it_shows() {
    let graph: Graph = r#"graph "backward" {
  %0 = input {name="x"} : f32[N,4]
  %1 = parameter {name="w"} : f32[3,4]
  %2 = cast(%1) : f32[3,4] parameter "w"
  %3 = transpose(%2) {perm=[1,0]} : f32[4,3] output
  %4 = matmul(%0, %3) {trans_a=false, trans_b=false} : f32[N,3] output
  %5 = reshape(%4) {shape=<3*N>} : f32[3*N] output
  %6 = relu(%5) : f32[3*N] output
  %7 = relu_grad(%6, %6) : f32[3*N] gradient of %5
  %8 = reshape(%7) {shape=<N,3>} : f32[N,3] gradient of %4
  %9 = matmul(%0, %8) {trans_a=true, trans_b=false} : f32[4,3] gradient of %3
  return "y" = %6
}"#
    .parse()
    .unwrap();
    let a = assigned(&graph, Method::UniformLow, 0.0);
    let expected =
        [FORWARD, Format::FP32, FORWARD, FORWARD, FORWARD, FORWARD, FORWARD, BACKWARD, BACKWARD, HIGH].to_vec();
    assert_eq!(a.formats, expected);
    assert_eq!(summary(&a, &graph).groups[1].operators, ["matmul:%4", "relu:%6"]);
}

#[test]
fn promotion_raises_forward_tensors_and_what_relabels_them_only() {
    let graph = train(RELABELLED);
    let mut a = assigned(&graph, Method::UniformLow, 0.0);
    let before = a.clone();
    let (w1, shown) = (named(&graph, "w1"), named(&graph, "w1.t"));
    let (relu, swap, flat) = (named(&graph, "relu1"), named(&graph, "swap"), named(&graph, "flat"));
    let loss_gradient = graph.ids().find(|&id| matches!(graph.node(id).role, Role::OutputGradient { .. })).unwrap();
    // A relabelling node stands for its tensor; gradients, masters and unknown nodes are not promoted.
    let reported = [flat, shown, loss_gradient, NodeId(u32::MAX), w1];
    let mut expected = vec![w1, relu];
    expected.sort();
    assert_eq!(a.promote(&graph, &reported), expected);
    for id in graph.ids() {
        let raised = [w1, shown, relu, flat].contains(&id);
        assert_eq!(a.formats[id.index()], if raised { HIGH } else { before.formats[id.index()] }, "{id}");
    }
    assert_eq!(a.formats[swap.index()], FORWARD);
    assert!(a.promote(&graph, &reported).is_empty());
    // w1 has 12 elements, relu1 6 at batch 2; each now takes 16 bits and not 8.
    assert_eq!(a.bits_total(), before.bits_total() + 8 * (12 + 6));
    assert!((a.low_ratio_elements() - (1.0 - 18.0 / 290.0)).abs() < 1e-12);
    assert_eq!(a.group_level(2), Some(Level::Low));
    assert_eq!(a.group_level(1), None);
    assert!(assigned(&graph, Method::Fp32, 0.0).promote(&graph, &reported).is_empty());
}

#[test]
fn the_evaluation_graph_takes_the_formats_over() {
    let spec =
        Spec { network: Network::SqueezeNet, width: 0.1, classes: 10, input: [3, 32, 32], seed: 0, ..Spec::default() };
    let graph = training(&build(&spec).unwrap().graph, &Optimizer::sgd()).unwrap();
    let a = assigned(&graph, Method::Demote, 0.5);
    let derived = evaluation(&graph).unwrap();
    let stored = derived.stored_in(&a.formats);
    for id in stored.ids() {
        assert_eq!(stored.format(id), a.formats[stored.origin(id).unwrap().index()]);
    }
    let formats: Vec<Format> = stored.ids().map(|id| stored.format(id)).collect();
    assert!(formats.contains(&FORWARD) && formats.contains(&HIGH));
    // Formats of fewer nodes are no reason to panic.
    assert_eq!(derived.stored_in(&a.formats[..1]).len(), derived.len());
}

#[test]
fn the_summary_says_it_in_json() {
    let graph = train(RELABELLED);
    let json = serde_json::to_value(summary(&assigned(&graph, Method::Operator, 0.0), &graph)).unwrap();
    assert_eq!(json["method"], "operator");
    assert_eq!(json["formats"]["low_forward"], "1-4-3");
    assert_eq!(json["groups"][0]["level"], "high");
    assert_eq!(json["groups"][1]["level"], "mixed");
    assert_eq!(json["groups"][0]["operators"][0], "input:x");
    assert_eq!(json["groups"][4]["level"], "high");
    assert!(json["groups"][4].get("tensors").is_none());
    let tensor = serde_json::json!({
        "kind": "output", "name": "relu2", "elements": 10, "level": "low", "format": "1-4-3",
    });
    assert!(json["groups"][2]["tensors"].as_array().unwrap().contains(&tensor), "{json:#}");
    assert_eq!(json["bits_total"], assigned(&graph, Method::Operator, 0.0).bits_total());
}
