//! Text form, verifier and dead-node removal on graphs with faults.

use bitbudget_ir::{Dim, Graph, Role, TensorType, ops, verify};

const TINY: &str = r#"graph "tiny" {
  %0 = input {name="x"} : f32[N,3]
  %1 = parameter {name="w"} : f32[2,3]
  %2 = cast(%1) : f32[2,3] parameter
  %3 = matmul(%0, %2) {trans_a=false, trans_b=true} : f32[N,2] output "fc \"1\"\n"
  %4 = scale(%3) {by=1e-5} : f32[N,2] gradient of %3
  %5 = reshape(%4) {shape=<2*N>} : f32[2*N]
  return "y" = %3
  return "z" = %5
}"#;

#[test]
fn text_round_trips() {
    let graph: Graph = TINY.parse().unwrap();
    verify(&graph).unwrap();
    assert_eq!(graph.to_string(), TINY);
}

#[test]
fn faults_in_text_name_the_line() {
    let cases = [
        ("graph \"g\" {\n  %0 = nonsense : f32[N]\n}", "line 2: there is no operator `nonsense`"),
        ("graph \"g\" {\n  %1 = input {name=\"x\"} : f32[N]\n}", "line 2: %1 is out of order; %0 expected"),
        ("graph \"g\" {\n  %0 = relu(%0) {} : f32[N]\n}", "line 2: %0 does not stand before this line"),
        ("graph \"g\" {\n  %0 = input {nam=\"x\"} : f32[N]\n}", "attribute `nam` is not known here; known are: name"),
        ("graph \"g\" {\n  %0 = input {} : f32[N]\n}", "attribute `name` is missing"),
        ("graph \"g\" {\n  %0 = input {name=3} : f32[N]\n}", "attribute `name` has the wrong type: 3"),
        ("graph \"g\" {\n  %0 = input {name=\"x} : f32[N]\n}", "line 2: a string does not end"),
        ("graph \"g\" {\n  %0 = input {name=\"x\"} : f64[N]\n}", "`f64` is not an element type"),
        ("graph \"g\" {\n  %0 = input {name=\"x\"} : f32[N,Q]\n}", "line 2: `` is not a dimension"),
        ("graph \"g\" {", "line 1: `}` is missing"),
        ("", "`}` is missing"),
        ("graph \"g\" {\n}\n}", "line 3: text after the closing brace"),
    ];
    for (text, message) in cases {
        let error = text.parse::<Graph>().unwrap_err().to_string();
        assert!(error.contains(message), "{text}\n{error}");
    }
}

#[test]
fn the_verifier_finds_each_fault() {
    let cases = [
        ("%1 = relu(%0) : f32[N,4]", "its type is f32[N,4], but its operands give f32[N,3]"),
        ("%1 = input {name=\"x\"} : f32[N]", "two sources are named `x`"),
        ("%1 = input {name=\"\"} : f32[N]", "a source needs a name"),
        ("%1 = add(%0) : f32[N,3]", "needs 2 operands, has 1"),
        ("%1 = relu(%0) : f32[N,3]\n  update %0 <- %1", "%0 is neither a parameter nor a state"),
        ("%1 = state {name=\"s\"} : f32[3]\n  update %1 <- %0", "f32[3] cannot take a value of type f32[N,3]"),
        ("%1 = state {name=\"s\"} : f32[N,3]\n  update %1 <- %0\n  update %1 <- %0", "%1 is updated twice"),
    ];
    for (lines, message) in cases {
        let text = format!("graph \"g\" {{\n  %0 = input {{name=\"x\"}} : f32[N,3]\n  {lines}\n}}");
        let faults = verify(&text.parse::<Graph>().unwrap()).unwrap_err();
        assert!(faults.iter().any(|f| f.to_string().contains(message)), "{lines}: {faults:?}");
    }
}

#[test]
fn batch_normalisation_with_foreign_statistics_is_refused() {
    let mut g = Graph::new("g");
    let ty = TensorType::f32([Dim::BATCH, Dim::fixed(2)]);
    let (a, b) = (g.source(ops::Input { name: "a".into() }, ty.clone()), g.source(ops::Input { name: "b".into() }, ty));
    let vector = TensorType::f32([Dim::fixed(2)]);
    let scale = g.source(ops::Parameter { name: "s".into() }, vector.clone());
    let mean = g.add(ops::BatchMean {}, &[b]).unwrap();
    let variance = g.add(ops::BatchVariance {}, &[b, mean]).unwrap();
    let op = ops::BatchNormalize { epsilon: bitbudget_ir::Real(1e-5) };
    g.add(op.clone(), &[b, mean, variance, scale, scale]).unwrap();
    assert!(verify(&g).is_ok());
    g.add(op, &[a, mean, variance, scale, scale]).unwrap();
    assert!(verify(&g).unwrap_err()[0].to_string().contains("neither those of its own input nor running ones"));
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
    let x = g.source(ops::Input { name: "x".into() }, TensorType::f32([Dim::BATCH, Dim::fixed(3)]));
    let w = g.source(ops::Parameter { name: "w".into() }, TensorType::f32([Dim::fixed(4), Dim::fixed(2)]));
    let error = g.add_named(ops::Matmul { trans_a: false, trans_b: false }, &[x, w], "head").unwrap_err();
    let text = "matmul `head` on (f32[N,3], f32[4,2]): [N,3] and [4,2] do not multiply: 3 against 4";
    assert_eq!(error.to_string(), text);
}
