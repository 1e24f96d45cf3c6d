//! Small graphs by hand: relabelling, branches, shared parameters, ends, promotion, derived graphs.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own function fails the test")]

use bitbudget_autodiff::{Optimizer, evaluation, training};
use bitbudget_formats::Format;
use bitbudget_ir::{DType, Graph, NodeId, Op, Precision, Role};
use bitbudget_precision::summary::summary;
use bitbudget_precision::{AssignError, Assignment, Formats, Kind, Level, Method, assign, groups, tensors};
use bitbudget_zoo::{Network, Spec, build};

const HIGH: Format = Format::PAPER_HIGH;
const FORWARD: Format = Format::PAPER_LOW_FORWARD;
const BACKWARD: Format = Format::PAPER_LOW_BACKWARD;

/// A relabelled parameter, relabelling between operators, and one that reads the input only.
const RELABELLED: &str = r#"graph "relabelled" {
  %0 = input {name="x"} : f32[N,4]
  %1 = parameter {name="w1"} : f32[3,4]
  %2 = transpose(%1) {perm=[1,0]} : f32[4,3] output "w1.t"
  %3 = matmul(%0, %2) {trans_a=false, trans_b=false} : f32[N,3] output "fc1"
  %4 = reshape(%3) {shape=<N,3,1>} : f32[N,3,1] output "view"
  %5 = transpose(%4) {perm=[0,2,1]} : f32[N,1,3] output "swap"
  %6 = relu(%5) : f32[N,1,3] output "relu1"
  %7 = reshape(%6) {shape=<N,3>} : f32[N,3] output "flat"
  %8 = parameter {name="w2"} : f32[5,3]
  %9 = matmul(%7, %8) {trans_a=false, trans_b=true} : f32[N,5] output "fc2"
  %10 = relu(%9) : f32[N,5] output "relu2"
  %11 = parameter {name="w3"} : f32[6,5]
  %12 = matmul(%10, %11) {trans_a=false, trans_b=true} : f32[N,6] output "fc3"
  %13 = relu(%12) : f32[N,6] output "relu3"
  %14 = parameter {name="w4"} : f32[2,6]
  %15 = parameter {name="b4"} : f32[2]
  %16 = matmul(%13, %14, %15) {trans_a=false, trans_b=true} : f32[N,2] output "fc4"
  return "y" = %16
}"#;

/// Two branches with the same weight, added.
const SHARED: &str = r#"graph "shared" {
  %0 = input {name="x"} : f32[N,3]
  %1 = relu(%0) : f32[N,3] output "relu"
  %2 = parameter {name="w"} : f32[3,3]
  %3 = matmul(%1, %2) {trans_a=false, trans_b=true} : f32[N,3] output "left"
  %4 = matmul(%3, %2) {trans_a=false, trans_b=true} : f32[N,3] output "right"
  %5 = relu(%1) : f32[N,3] output "late"
  %6 = add(%5, %4) : f32[N,3] output "add"
  return "y" = %6
}"#;

fn train(forward: &str) -> Graph {
    training(&forward.parse().unwrap(), &Optimizer::sgd()).unwrap()
}

fn assigned(graph: &Graph, method: Method, low_ratio: f64) -> Assignment {
    assign(graph, 2, method, low_ratio, 0, Formats::PAPER).unwrap()
}

/// The forward node of a name: the operator, or a parameter's rounded copy.
fn named(graph: &Graph, name: &str) -> NodeId {
    let forward = |id: &NodeId| matches!(graph.node(*id).role, Role::Output | Role::Parameter);
    let found = graph.ids().find(|id| graph.node(*id).name == name && forward(id));
    found.unwrap_or_else(|| graph.ids().find(|id| graph.node(*id).name == name).unwrap())
}

fn names(graph: &Graph, ids: &[NodeId]) -> Vec<String> {
    ids.iter().map(|&id| graph.node(id).name.clone()).collect()
}

/// `P Y GY` levels of operators in order, as letters (`-` for no parameter).
fn levels(graph: &Graph, assignment: &Assignment) -> Vec<String> {
    let letter = |operator: NodeId, kind: Kind| {
        let of = |t: &&(&_, Level, Format)| {
            let tensor: &bitbudget_precision::Tensor = t.0;
            (tensor.operator, tensor.kind) == (operator, kind)
        };
        let all: Vec<_> = assignment.assigned().collect();
        match all.iter().find(of) {
            Some((_, Level::High, _)) => 'H',
            Some((_, Level::Low, _)) => 'l',
            None => '-',
        }
    };
    let operators = assignment.groups.iter().flat_map(|group| &group.operators);
    let kinds = [Kind::Parameter, Kind::Output, Kind::OutputGradient];
    operators
        .map(|&o| format!("{} {}", graph.node(o).name, kinds.map(|k| letter(o, k)).iter().collect::<String>()))
        .collect()
}

#[test]
fn relabelling_has_no_tensor_and_passes_groups_on() {
    let graph = train(RELABELLED);
    let groups = groups(&graph, 2);
    let operators: Vec<_> = groups.iter().map(|g| names(&graph, &g.operators)).collect();
    assert_eq!(
        operators,
        [
            vec!["x"],
            vec!["fc1", "relu1"],
            vec!["fc2", "relu2"],
            vec!["fc3", "relu3"],
            vec!["fc4", "log_softmax", "nll_loss"]
        ]
    );
    let owners: Vec<_> = groups.iter().map(|g| names(&graph, &g.parameters_of)).collect();
    assert_eq!(owners, [vec!["fc1"], vec!["fc2"], vec!["fc3"], vec!["fc4"], vec![]]);
    // Twice (gradients) the outputs at batch 2 and the parameters; the loss counts one element per example.
    let expected = [8 + 12, 6 + 6 + 15, 10 + 10 + 30, 12 + 12 + 12 + 2, 4 + 4 + 2].map(|n: u64| 2 * n);
    assert_eq!(groups.iter().map(|g| g.elements).collect::<Vec<_>>(), expected);
}

#[test]
fn execution_order_makes_groups_and_a_shared_parameter_counts_once() {
    let graph = train(SHARED);
    let groups = groups(&graph, 4);
    let operators: Vec<_> = groups.iter().map(|g| names(&graph, &g.operators)).collect();
    let last = vec!["right", "late", "add", "log_softmax", "nll_loss"];
    assert_eq!(operators, [vec!["x", "relu"], vec!["left"], last]);
    assert_eq!(names(&graph, &groups[0].parameters_of), ["left"]);
    assert!(groups[1].parameters_of.is_empty() && groups[2].parameters_of.is_empty());
    let parameters: Vec<_> = tensors(&graph, 4).into_iter().filter(|t| t.kind == Kind::Parameter).collect();
    assert_eq!(parameters.len(), 1);
    assert_eq!((parameters[0].elements, graph.node(parameters[0].operator).name.as_str()), (9, "left"));
    // Both readers' contributions to its gradient have one format.
    let assignment = assign(&graph, 4, Method::UniformLow, 0.0, 0, Formats::PAPER).unwrap();
    let of = parameters[0].node;
    let gradients: Vec<_> = graph.ids().filter(|&g| graph.node(g).role == Role::ParameterGradient { of }).collect();
    assert_eq!(gradients.len(), 2);
    assert!(gradients.iter().all(|g| assignment.formats[g.index()] == HIGH));
    assert_eq!(assignment.formats[of.index()], FORWARD);
}

#[test]
fn the_largest_groups_go_first_and_of_equal_ones_the_earlier() {
    let graph = train(RELABELLED);
    let all: u64 = groups(&graph, 2).iter().map(|g| g.elements).sum();
    assert_eq!(all, 290);
    // Sizes 40, 54, 100, 76, 20.
    for (low_ratio, picked) in [
        (0.0, vec![]),
        (0.001, vec![2]),
        (100.0 / 290.0, vec![2]),
        (0.35, vec![2, 3]),
        (0.7, vec![2, 3, 1]),
        (1.0, vec![2, 3, 1, 0, 4]),
    ] {
        let ours = assigned(&graph, Method::Demote, low_ratio);
        assert_eq!(ours.demoted, picked, "{low_ratio}");
    }
    assert_eq!(assigned(&graph, Method::DemoteSmallest, 0.3).demoted, [4, 0, 1]);

    let equal = r#"graph "equal" {
  %0 = input {name="x"} : f32[N,2]
  %1 = parameter {name="w1"} : f32[2,2]
  %2 = matmul(%0, %1) {trans_a=false, trans_b=true} : f32[N,2] output "fc1"
  %3 = parameter {name="w2"} : f32[2,2]
  %4 = matmul(%2, %3) {trans_a=false, trans_b=true} : f32[N,2] output "fc2"
  %5 = parameter {name="w3"} : f32[2,2]
  %6 = matmul(%4, %5) {trans_a=false, trans_b=true} : f32[N,2] output "fc3"
  return "y" = %6
}"#;
    let graph = train(equal);
    assert_eq!(groups(&graph, 2).iter().map(|g| g.elements).collect::<Vec<_>>(), [16, 16, 16, 20]);
    assert_eq!(assigned(&graph, Method::Demote, 0.5).demoted, [3, 0]);
    assert_eq!(assigned(&graph, Method::DemoteSmallest, 0.3).demoted, [0, 1]);
}

#[test]
fn random_orders_follow_the_seed_and_reach_the_ratio() {
    let graph = train(RELABELLED);
    let mut orders = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let random = |ratio| assign(&graph, 2, Method::Random, ratio, seed, Formats::PAPER).unwrap();
        assert_eq!(random(0.6), random(0.6));
        assert!(random(0.6).low_ratio_elements() >= 0.6);
        assert!(random(0.0).demoted.is_empty());
        let mut all = random(1.0).demoted;
        orders.insert(all.clone());
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4]);
    }
    assert!(orders.len() > 5);
}

#[test]
fn baselines_by_operator_keep_the_ends_high() {
    let graph = train(RELABELLED);
    let hybrid = [
        "x -HH",
        "fc1 HHH",
        "relu1 -lH",
        "fc2 lHl",
        "relu2 -lH",
        "fc3 lHl",
        "relu3 -HH",
        "fc4 HHH",
        "log_softmax -HH",
        "nll_loss -HH",
    ];
    assert_eq!(levels(&graph, &assigned(&graph, Method::Operator, 0.0)), hybrid);
    let amp = [
        "x -HH",
        "fc1 HHH",
        "relu1 -ll",
        "fc2 lll",
        "relu2 -ll",
        "fc3 lll",
        "relu3 -HH",
        "fc4 HHH",
        "log_softmax -HH",
        "nll_loss -HH",
    ];
    assert_eq!(levels(&graph, &assigned(&graph, Method::Amp, 0.0)), amp);
}

#[test]
fn amp_operators_follow_only_where_all_inputs_are_low() {
    let graph = train(
        r#"graph "mixed" {
  %0 = input {name="x"} : f32[N,3]
  %1 = parameter {name="w1"} : f32[3,3]
  %2 = matmul(%0, %1) {trans_a=false, trans_b=true} : f32[N,3] output "fc1"
  %3 = parameter {name="w2"} : f32[3,3]
  %4 = matmul(%2, %3) {trans_a=false, trans_b=true} : f32[N,3] output "fc2"
  %5 = softmax(%4) : f32[N,3] output "softmax"
  %6 = add(%4, %4) : f32[N,3] output "low"
  %7 = add(%6, %5) : f32[N,3] output "high"
  %8 = parameter {name="w3"} : f32[3,3]
  %9 = matmul(%7, %8) {trans_a=false, trans_b=true} : f32[N,3] output "fc3"
  return "y" = %9
}"#,
    );
    let expected = [
        "x -HH",
        "fc1 HHH",
        "fc2 lll",
        "softmax -HH",
        "low -ll",
        "high -HH",
        "fc3 HHH",
        "log_softmax -HH",
        "nll_loss -HH",
    ];
    assert_eq!(levels(&graph, &assigned(&graph, Method::Amp, 0.0)), expected);
}

/// What has to hold for every assignment of every graph.
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
            _ if node.op.precision() == Precision::Relabel => a.formats[graph.operands(id)[0].index()],
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
    for network in Network::ALL {
        let spec = Spec { network, width: 0.1, classes: 10, input: [3, 32, 32], seed: 0 };
        graphs.push(training(&build(&spec).unwrap().graph, &Optimizer::sgd()).unwrap());
    }
    for graph in &graphs {
        for method in Method::ALL {
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
    let spec = Spec { network: Network::SqueezeNet, width: 0.1, classes: 10, input: [3, 32, 32], seed: 0 };
    let graph = training(&build(&spec).unwrap().graph, &Optimizer::sgd()).unwrap();
    let a = assigned(&graph, Method::Demote, 0.5);
    let derived = evaluation(&graph).unwrap();
    let formats = a.renamed(&derived.from_training, derived.graph.len());
    assert_eq!(formats.len(), derived.graph.len());
    let mut compared = 0;
    for id in graph.ids() {
        if let Some(new) = derived.from_training[id.index()] {
            assert_eq!(formats[new.index()], a.formats[id.index()]);
            compared += 1;
        }
    }
    assert_eq!(compared, derived.graph.len());
    assert!(formats.contains(&FORWARD) && formats.contains(&HIGH));
    // A map that points outside is no reason to panic.
    assert_eq!(a.renamed(&[Some(NodeId(7))], 1), [Format::FP32]);
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

#[test]
fn bad_requests_are_refused() {
    let graph = train(SHARED);
    let request = |graph: &Graph, batch, ratio| assign(graph, batch, Method::Demote, ratio, 0, Formats::PAPER);
    for ratio in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        let error = request(&graph, 1, ratio).unwrap_err();
        assert!(error.to_string().contains(&ratio.to_string()), "{error}");
    }
    assert_eq!(request(&graph, 0, 0.5), Err(AssignError::Batch));
    assert_eq!(request(&Graph::new("none"), 1, 0.5), Err(AssignError::Empty("none".into())));
    // A batch beyond all bounds saturates.
    assert!(request(&graph, usize::MAX, 1.0).unwrap().bits_total() == u64::MAX);
}

#[test]
fn methods_read_back() {
    for method in Method::ALL {
        assert_eq!(method.to_string().parse(), Ok(method));
    }
    let error = "greedy".parse::<Method>().unwrap_err().to_string();
    assert!(Method::ALL.iter().all(|m| error.contains(m.name())), "{error}");
}
