//! Groups and levels of small graphs by hand: relabelling, branches, shared parameters, ends.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own function fails the test")]

mod graphs;

use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId, Role};
use bitbudget_precision::{AssignError, Assignment, Formats, Kind, Level, Method, Tensor, assign, groups, tensors};
use graphs::{RELABELLED, SHARED, assigned, train};

fn names(graph: &Graph, ids: &[NodeId]) -> Vec<String> {
    ids.iter().map(|&id| graph.node(id).name.clone()).collect()
}

fn levels(graph: &Graph, assignment: &Assignment) -> Vec<String> {
    let letter = |operator: NodeId, kind: Kind| {
        let of = |t: &&(&_, Level, Format)| {
            let tensor: &Tensor = t.0;
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
    assert!(gradients.iter().all(|g| assignment.formats[g.index()] == Format::PAPER_HIGH));
    assert_eq!(assignment.formats[of.index()], Format::PAPER_LOW_FORWARD);
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
