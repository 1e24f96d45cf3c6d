//! Recurrent layers under budgets.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its functions too")]

use bitbudget::{Budget, Limit, Method, Options, compile};
use bitbudget_formats::Format;
use bitbudget_ir::{Op, Role};
use bitbudget_zoo::{Network, Spec, build};

const BATCH: usize = 64;

fn spec() -> Spec {
    Spec { width: 0.08, sequence: 24, vocabulary: 40, ..Spec::of(Network::Lstm) }
}

#[test]
fn an_lstm_trains_in_less_than_half_of_the_memory_of_fp32() {
    for share in [0.8, 0.45] {
        // Counted, so that the load of the machine ends nothing.
        let budget = Budget { effort: Some(50), ..Budget::new(Limit::Share(share), 1) };
        let options =
            Options { batch: BATCH, method: Method::Ilp, threads: 1, budget: Some(budget), ..Options::default() };
        let solved = compile(build(&spec()).unwrap(), &options).unwrap().solved.unwrap();
        assert!(solved.peak <= solved.budget, "{share}: {} of {}", solved.peak, solved.budget);
    }
}

/// The gradient of the gates is four times as large as that of the states; it, and the states that its products read, are stored as narrow
/// as any other tensor.
#[test]
fn gradients_of_gates_and_moved_states_have_formats() {
    let options = Options { batch: BATCH, method: Method::UniformLow, threads: 1, ..Options::default() };
    let compiled = compile(build(&spec()).unwrap(), &options).unwrap();
    let (graph, formats) = (&compiled.training, &compiled.assignment.formats);
    let of = |id: bitbudget_ir::NodeId| formats[id.index()];
    let mut found = 0;
    for id in graph.ids() {
        match graph.op(id) {
            Op::RecurrentGrad(_) => {
                assert_eq!(of(id), Format::PAPER_LOW_BACKWARD);
                found += 1;
            }
            Op::Slice(_) | Op::SliceScatter(_) if graph.node(id).role == Role::Internal => {
                assert_eq!(of(id), of(graph.operands(id)[0]));
                found += 1;
            }
            _ => {}
        }
    }
    assert!(found >= 6, "{found}");
}
