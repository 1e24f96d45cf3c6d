//! Removal of dead nodes, and faults of operators. Text form and verifier have their cases in `tests/filetests`.

use bitbudget_ir::{Dim, Graph, Role, TensorType, ops, verify};

const TINY: &str = r#"graph "tiny" {
  %0 = input {name="x", target=false} : f32[N,3]
  %1 = parameter {name="w"} : f32[2,3]
  %2 = cast(%1) : f32[2,3] parameter
  %3 = matmul(%0, %2) {trans_a=false, trans_b=true} : f32[N,2] output "fc \"1\"\n"
  %4 = scale(%3) {by=1e-5} : f32[N,2] gradient of %3
  %5 = reshape(%4) {shape=<2*N>} : f32[2*N]
  return "y" = %3
  return "z" = %5
}"#;

/// Profiles and records of comparisons name a network by the hash of this text.
#[test]
fn the_whole_text_has_all_attributes_and_no_version() {
    let graph: Graph = TINY.parse().unwrap();
    assert_eq!(graph.whole_text(), TINY);
    assert!(!graph.to_string().contains("trans_a"));
    assert_eq!(graph.to_string().parse::<Graph>().unwrap().whole_text(), TINY);
}

#[test]
fn dead_nodes_go_and_roles_follow() {
    let mut graph: Graph = TINY.parse().unwrap();
    graph.clear_outputs();
    let fc = graph.ids().nth(3).unwrap();
    graph.set_output("y", fc);
    let (smaller, renamed) = graph.without_dead_nodes();
    assert_eq!(smaller.len(), 4);
    assert_eq!(renamed[4], None);
    assert_eq!(smaller.node(smaller.output("y").unwrap()).role, Role::Output);
    verify(&smaller).unwrap();
}

#[test]
fn errors_name_operator_place_and_shapes() {
    let mut g = Graph::new("g");
    let x = g.source(ops::Input { name: "x".into(), target: false }, TensorType::f32([Dim::BATCH, Dim::fixed(3)]));
    let w = g.source(ops::Parameter { name: "w".into() }, TensorType::f32([Dim::fixed(4), Dim::fixed(2)]));
    let error = g.add_named(ops::Matmul { trans_a: false, trans_b: false }, &[x, w], "head").unwrap_err();
    let text = "matmul `head` on (f32[N,3], f32[4,2]): [N,3] and [4,2] do not multiply: 3 against 4";
    assert_eq!(error.to_string(), text);
}
