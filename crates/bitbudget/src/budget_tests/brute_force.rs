//! Assignments under a budget against all assignments, one by one.

use super::Subject;
use crate::build::build;
use crate::{Budget, BudgetError, Limit, Shortage};
use bitbudget_autodiff::{Optimizer, training};
use bitbudget_budget::{Costs, Search};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId, Op, TrainingId};
use bitbudget_precision::{Assignment, Kind, Method, Pinned, Tensor};
use bitbudget_program::Footprint;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// Widths of the layers of a network.
fn widths(layers: RangeInclusive<usize>) -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(1usize..64, layers)
}

/// A network of matrix products with rectifiers between.
fn network(widths: &[usize]) -> Graph {
    let mut text = format!("graph \"g\" {{\n  %0 = input {{name=\"x\"}} : f32[N,{}]\n", widths[0]);
    let (mut id, mut last) = (1, 0);
    for (layer, pair) in widths.windows(2).chain([&[widths[widths.len() - 1], 3][..]]).enumerate() {
        let (from, to) = (pair[0], pair[1]);
        text += &format!("  %{id} = parameter {{name=\"w{layer}\"}} : f32[{to},{from}]\n");
        let op = format!("matmul(%{last}, %{id}) {{trans_a=false, trans_b=true}}");
        text += &format!("  %{} = {op} : f32[N,{to}] output \"fc{layer}\"\n", id + 1);
        (last, id) = (id + 1, id + 2);
        if layer + 1 < widths.len() {
            text += &format!("  %{id} = relu(%{last}) : f32[N,{to}] output \"relu{layer}\"\n");
            (last, id) = (id, id + 1);
        }
    }
    text += &format!("  return \"y\" = %{last}\n}}\n");
    training(&text.parse().unwrap(), &Optimizer::sgd()).unwrap()
}

/// The forward pass's results, any of which may be computed again if `recompute` says so.
fn repeatable(graph: &Graph, recompute: bool) -> Vec<TrainingId> {
    let backward = graph.backward();
    let is_result = |&id: &NodeId| {
        !backward[id.index()] && {
            matches!(graph.op(id), Op::Matmul(_) | Op::Conv(_) | Op::BatchNormalize(_) | Op::Relu(_))
        }
    };
    graph.ids().filter(|id| recompute && is_result(id)).filter_map(|id| graph.origin(id)).collect()
}

/// The cost of an assignment: its roundings and recomputations.
fn cost(search: &Search<'_>, costs: &Costs, assignment: &Assignment) -> f64 {
    search.cost(assignment).unwrap() + costs.again(&assignment.recomputed).0
}

/// What a program of an assignment takes; nothing if it has another order than the integer program knows: which of its terms a
/// gradient has may decide what comes first.
fn footprint(subject: &Subject<'_>, assignment: &Assignment) -> Option<Footprint> {
    let lowered = build(subject.training, assignment, subject.lowering).unwrap();
    let step = &subject.fp32.step;
    let known = step.steps.iter().flatten().map(|&id| step.graph.origin(id));
    let steps = lowered.schedule.steps.iter().flat_map(|step| &step.nodes);
    let is_known = once(known) == once(steps.map(|&id| lowered.graph.origin(id)));
    is_known.then(|| Footprint::predicted(&lowered.program, 1))
}

/// What an assignment in that order needs, with scratch memory as of the formats that need most.
fn needed(subject: &Subject<'_>, assignment: &Assignment) -> Option<usize> {
    Some(footprint(subject, assignment)?.arena + subject.fp32.step.beside)
}

/// The distinct elements, in order.
fn once(nodes: impl Iterator<Item = Option<TrainingId>>) -> Vec<TrainingId> {
    let mut found = BTreeSet::new();
    nodes.flatten().filter(|&id| found.insert(id)).collect()
}

/// The assignment of the least cost of all whose true peak fits, and that cost.
fn by_brute_force(
    subject: &Subject<'_>,
    search: &Search<'_>,
    recompute: bool,
    bytes: usize,
) -> Option<(f64, Assignment)> {
    let costs = search.costs().unwrap();
    let mut least: Option<(f64, Assignment)> = None;
    for_all(subject, search, recompute, |assignment| {
        let cost = cost(search, &costs, &assignment);
        if least.as_ref().is_none_or(|(least, _)| cost < *least)
            && needed(subject, &assignment).is_some_and(|needed| needed <= bytes)
        {
            least = Some((cost, assignment));
        }
    });
    least
}

/// Looks at all assignments, one by one.
fn for_all(subject: &Subject<'_>, search: &Search<'_>, recompute: bool, mut look: impl FnMut(Assignment)) {
    let choices = search.allowed();
    let again = repeatable(subject.training, recompute);
    for subset in 0..1usize << again.len() {
        let recomputed = || (0..again.len()).filter(|bit| subset >> bit & 1 == 1).map(|bit| again[bit]).collect();
        let mut picks = vec![0usize; choices.len()];
        loop {
            let formats: Vec<Format> = picks.iter().zip(choices).map(|(&pick, formats)| formats[pick]).collect();
            look(subject.assigned(formats, recomputed()));
            let Some(at) = (0..picks.len()).find(|&at| picks[at] + 1 < choices[at].len()) else { break };
            picks[at] += 1;
            picks[..at].fill(0);
        }
    }
}

/// The assignment for a share of the memory that a budget can change, against all assignments.
fn check(training: &Graph, batch: usize, share: f64, recompute: bool, pinned: &Pinned) -> Result<(), TestCaseError> {
    let limit = Limit::Share(share);
    let forward = vec![Format::FP32, Format::PAPER_LOW_FORWARD];
    // With recomputation there are more choices, so gradients have one.
    let backward = if recompute { vec![Format::FP32] } else { vec![Format::FP32, Format::PAPER_LOW_BACKWARD] };
    let budget = Budget { forward, backward, recompute, seconds: 5.0, ..Budget::new(limit, 1) };
    let subject = Subject::new(training, batch, 1, pinned);
    let (search, beside) = (subject.search(&budget), subject.fp32.step.beside);
    let (costs, fp32) = (search.costs().unwrap(), subject.exact_peak());
    let bytes = beside + ((fp32 - beside) as f64 * share) as usize;
    let least = by_brute_force(&subject, &search, recompute, bytes);
    match search.solved(bytes, 1.0) {
        Ok((assignment, peak, certificate)) => {
            prop_assert_eq!(peak, subject.peak(&assignment));
            prop_assert!(peak <= bytes);
            let cost = cost(&search, &costs, &assignment);
            let said = certificate.cost;
            prop_assert!((cost - said).abs() < 1e-9 * (1.0 + cost), "{} said, {} true", said, cost);
            // Those that are tried here leave out other methods' assignments, which fit where none with input and loss in FP32 does, and
            // those that recompute other results, such as statistics. One that fits because its formats need less scratch memory than
            // others do counts as one that does not.
            let tried = repeatable(training, recompute);
            let is_known = assignment.method == Method::Ilp
                && assignment.recomputed.iter().all(|again| tried.contains(again))
                && needed(&subject, &assignment).is_some_and(|n| n <= bytes);
            prop_assert!(least.is_some() || !is_known);
            let Some((least, best)) = least.map(|(least, best)| (least, described(&best))) else { return Ok(()) };
            prop_assert!(certificate.bound <= least + 1e-6, "bound {} of {}: {}", certificate.bound, least, best);
            let found = described(&assignment);
            prop_assert!(
                !is_known || least <= cost + 1e-9,
                "{} instead of {}: {} instead of {}",
                cost,
                least,
                found,
                best
            );
        }
        Err(BudgetError::Infeasible(_) | BudgetError::Unknown(_)) => {
            prop_assert_eq!(least.map(|(_, best)| described(&best)), None);
        }
        Err(other) => prop_assert!(false, "{}", other),
    }
    Ok(())
}

/// What is said of budgets below the least true peak of all assignments, and of those that it says are enough.
fn check_least(training: &Graph, batch: usize, recompute: bool, pinned: &Pinned) -> Result<(), TestCaseError> {
    let forward = vec![Format::FP32, Format::PAPER_LOW_FORWARD];
    let backward = if recompute { vec![Format::FP32] } else { vec![Format::FP32, Format::PAPER_LOW_BACKWARD] };
    let budget = Budget { forward, backward, recompute, seconds: 5.0, ..Budget::new(Limit::Share(1.0), 1) };
    let subject = Subject::new(training, batch, 1, pinned);
    let search = subject.search(&budget);
    let (mut least, mut least_in_order) = (usize::MAX, usize::MAX);
    for_all(&subject, &search, recompute, |assignment| {
        let in_order = footprint(&subject, &assignment).map(|footprint| footprint.total());
        least_in_order = least_in_order.min(in_order.unwrap_or(usize::MAX));
        least = least.min(in_order.unwrap_or_else(|| subject.peak(&assignment)));
    });
    // Other methods round the input too.
    let others: Vec<usize> = search.others(1).unwrap().0.into_iter().map(|(_, peak)| peak).collect();
    least = others.iter().copied().fold(least, usize::min);
    let (kept, beside) = (subject.fp32.step.kept, subject.fp32.step.beside);
    let mut said = BTreeSet::new();
    for bytes in [1, kept / 2, kept, kept + 1, beside, (kept + least) / 2, least - least / 50, least - 1] {
        let error = search.solved(bytes, 1.0).map(|(_, peak, _)| peak).unwrap_err();
        let (shortage, is_proven) = match error {
            BudgetError::Infeasible(shortage) => (shortage, true),
            BudgetError::Unknown(shortage) => (shortage, false),
            other => return Err(TestCaseError::fail(other.to_string())),
        };
        let Shortage { budget, fp32, smallest, bound, kept: stated, .. } = *shortage;
        let smallest = smallest.unwrap();
        prop_assert!(others.iter().all(|&other| smallest <= other), "{} {:?}", smallest, others);
        prop_assert!(bound <= least_in_order, "{} is proven, {} is enough", bound, least_in_order);
        prop_assert!(kept.min(least) <= bound && least <= smallest, "{} {} {}", kept, bound, smallest);
        prop_assert_eq!((budget, stated, is_proven), (bytes, kept, bound > bytes));
        prop_assert_eq!(fp32, subject.exact_peak());
        said.insert(smallest);
    }
    prop_assert_eq!(said.len(), 1, "{:?}", said);
    let smallest = said.into_iter().next().unwrap();
    prop_assert!(smallest as f64 <= 1.1 * least as f64, "{} is found, {} is enough", smallest, least);
    for bytes in [smallest, smallest + 1, smallest + smallest / 20] {
        let found = search.solved(bytes, 1.0).map(|(_, peak, _)| peak);
        prop_assert!(matches!(found, Ok(peak) if peak <= bytes), "{}: {:?}", bytes, found.map_err(|e| e.to_string()));
    }
    Ok(())
}

/// An assignment in words.
fn described(assignment: &Assignment) -> String {
    let of = |(tensor, format): (&Tensor, &Format)| format!("{:?} %{} {format}", tensor.kind, tensor.node.0);
    let tensors: Vec<String> = assignment.tensors.iter().zip(&assignment.chosen).map(of).collect();
    let again: Vec<String> = assignment.recomputed.iter().map(|id| format!("%{}", id.0)).collect();
    format!("{}; again {}", tensors.join(", "), again.join(", "))
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn no_formats_that_fit_cost_less_than_the_bound(
        widths in widths(2..=3), batch in 1usize..6, share in 0.3f64..1.0
    ) {
        check(&network(&widths), batch, share, false, &Pinned::new())?;
    }
}

proptest! {
    #![proptest_config(cases(30))]

    #[test]
    fn no_formats_and_recomputation_that_fit_cost_less_than_the_bound(
        widths in widths(2..=3), batch in 64usize..256, share in 0.3f64..1.0
    ) {
        check(&network(&widths), batch, share, true, &Pinned::new())?;
    }
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn less_than_the_proven_peak_is_not_enough_and_the_stated_one_is(
        widths in widths(2..=2), batch in 1usize..256, recompute in any::<bool>()
    ) {
        check_least(&network(&widths), batch, recompute, &Pinned::new())?;
    }
}

/// Two convolutions of some widths with a normalisation and a rectifier between, which need not be stored.
fn normalized(from: usize, width: usize, to: usize) -> Graph {
    let conv = "{strides=[1,1], pads_begin=[1,1], pads_end=[1,1], dilations=[1,1], groups=1}";
    let text = format!(
        "graph \"g\" {{
  %0 = input {{name=\"x\"}} : f32[N,{from},4,4]
  %1 = parameter {{name=\"w\"}} : f32[{width},{from},3,3]
  %2 = conv(%0, %1) {conv} : f32[N,{width},4,4] output \"conv\"
  %3 = batch_mean(%2) : f32[{width}]
  %4 = batch_variance(%2, %3) : f32[{width}]
  %5 = parameter {{name=\"scale\"}} : f32[{width}]
  %6 = parameter {{name=\"bias\"}} : f32[{width}]
  %7 = batch_normalize(%2, %3, %4, %5, %6) {{epsilon=1e-5}} : f32[N,{width},4,4] output \"bn\"
  %8 = relu(%7) : f32[N,{width},4,4] output \"relu\"
  %9 = parameter {{name=\"v\"}} : f32[{to},{width},3,3]
  %10 = conv(%8, %9) {conv} : f32[N,{to},4,4] output \"last\"
  %11 = reduce_mean(%10) {{axes=[2,3], keep=false}} : f32[N,{to}] output \"mean\"
  return \"y\" = %11
}}
"
    );
    training(&text.parse().unwrap(), &Optimizer::sgd()).unwrap()
}

/// Parameters keep FP32, so that there are fewer choices.
fn pinned_parameters(training: &Graph, batch: usize) -> Pinned {
    let tensors = bitbudget_precision::tensors(training, batch);
    let is_parameter = |(_, tensor): &(usize, &Tensor)| tensor.kind == Kind::Parameter;
    tensors.iter().enumerate().filter(is_parameter).map(|(at, _)| (at, Format::FP32)).collect()
}

proptest! {
    #![proptest_config(cases(4))]

    #[test]
    fn no_formats_terms_and_recomputation_of_a_normalised_network_cost_less_than_the_bound(
        from in 1usize..8, width in 1usize..24, to in 1usize..24, batch in 2usize..32, share in 0.3f64..1.0
    ) {
        let training = normalized(from, width, to);
        check(&training, batch, share, true, &pinned_parameters(&training, batch))?;
    }
}

/// Outputs of some nodes keep one format.
fn pinned(training: &Graph, batch: usize, format: Format, is_meant: impl Fn(NodeId) -> bool) -> Pinned {
    let tensors = bitbudget_precision::tensors(training, batch);
    let is_output = |(_, tensor): &(usize, &Tensor)| tensor.kind == Kind::Output && is_meant(tensor.node);
    tensors.iter().enumerate().filter(is_output).map(|(at, _)| (at, format)).collect()
}

/// Inputs of rectifiers keep FP32.
fn pinned_inputs(training: &Graph, batch: usize) -> Pinned {
    let is_relu = |id: NodeId| matches!(training.op(id), Op::Relu(_));
    pinned(training, batch, Format::FP32, |of| training.ids().any(|id| is_relu(id) && training.operands(id) == [of]))
}

/// Outputs of rectifiers have a format that no other tensor may have.
fn pinned_outputs(training: &Graph, batch: usize) -> Pinned {
    pinned(training, batch, Format::BF16, |id| matches!(training.op(id), Op::Relu(_)))
}

proptest! {
    #![proptest_config(cases(30))]

    #[test]
    fn no_formats_terms_and_recomputation_of_rectifiers_cost_less_than_the_bound(
        widths in widths(2..=3), batch in 64usize..256, share in 0.3f64..1.0
    ) {
        let training = network(&widths);
        check(&training, batch, share, true, &pinned_inputs(&training, batch))?;
    }
}

proptest! {
    #![proptest_config(cases(20))]

    #[test]
    fn no_formats_of_inputs_that_share_none_with_their_rectifiers_cost_less_than_the_bound(
        widths in widths(2..=2), batch in 64usize..256, share in 0.3f64..1.0, recompute in any::<bool>()
    ) {
        let training = network(&widths);
        check(&training, batch, share, recompute, &pinned_outputs(&training, batch))?;
    }
}

#[test]
fn a_rectifier_has_a_narrower_format_than_its_input() {
    let (training, batch) = (network(&[1, 25, 19]), 64);
    let pinned = pinned_inputs(&training, batch);
    for recompute in [true, false] {
        let backward = vec![Format::FP32];
        let budget = Budget { backward, recompute, seconds: 5.0, ..Budget::new(Limit::Share(1.0), 1) };
        let subject = Subject::new(&training, batch, 1, &pinned);
        let (search, beside) = (subject.search(&budget), subject.fp32.step.beside);
        let bytes = beside + (subject.exact_peak() - beside) * 3 / 4;
        let solved = search.solved(bytes, 1.0);
        assert_eq!(solved.is_ok(), recompute, "{:?}", solved.map(|(assignment, ..)| described(&assignment)));
        let Ok((assignment, peak, _)) = solved else { continue };
        assert!(peak <= bytes);
        assert_eq!(assignment.recomputed, [TrainingId(3)]);
        let said = described(&assignment);
        assert!(said.contains("Output %3 fp32") && said.contains("Output %4 1-4-3"), "{said}");
    }
}

#[test]
fn statistics_that_are_recomputed_cost_less_than_what_is_tried() {
    let training = normalized(1, 12, 1);
    check(&training, 4, 0.757_098_325_774_956_7, true, &pinned_parameters(&training, 4)).unwrap();
}
