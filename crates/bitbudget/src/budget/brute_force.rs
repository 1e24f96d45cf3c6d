//! Assignments under a budget against all assignments, one by one.

use super::search::Search;
use super::*;
use crate::Storage;
use bitbudget_autodiff::{Optimizer, training};
use bitbudget_precision::{Formats, Pinned, tensors};
use proptest::prelude::*;

/// A network of two or three layers, with widths from 1 to 64.
fn networks() -> impl Strategy<Value = (Graph, usize)> {
    let widths = proptest::collection::vec(1usize..64, 2..4);
    (widths, 1usize..6).prop_map(|(widths, batch)| {
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
        (training(&text.parse().unwrap(), &Optimizer::sgd()).unwrap(), batch)
    })
}

fn assigned(search: &Search<'_>, formats: Vec<Format>) -> Assignment {
    Assignment::of_choices(search.training, search.batch, Method::Ilp, search.formats, formats, Vec::new()).unwrap()
}

/// The least cost of all assignments without recomputation whose true peak fits.
fn by_brute_force(search: &Search<'_>, choices: &[Vec<Format>], bytes: usize) -> Option<f64> {
    let mut picks = vec![0; choices.len()];
    let mut least: Option<f64> = None;
    loop {
        let formats: Vec<Format> =
            picks.iter().zip(choices).map(|(&pick, formats): (&usize, _)| formats[pick]).collect();
        let assignment = assigned(search, formats);
        let cost = search.cost(&assignment).unwrap();
        if least.is_none_or(|least| cost < least) && search.peak(&assignment).unwrap() <= bytes {
            least = Some(cost);
        }
        let Some(at) = (0..picks.len()).find(|&at| picks[at] + 1 < choices[at].len()) else { return least };
        picks[at] += 1;
        picks[..at].fill(0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_assignment_that_fits_costs_less_than_the_bound((training, batch) in networks(), share in 0.3f64..1.0) {
        let limit = Limit::Share(share);
        let formats = [Format::FP32, Format::PAPER_LOW_FORWARD];
        let (forward, backward) = (formats.to_vec(), vec![Format::FP32, Format::PAPER_LOW_BACKWARD]);
        let budget = Budget { forward, backward, recompute: false, seconds: 5.0, ..Budget::new(limit, 1) };
        let pinned = Pinned::new();
        let search =
            Search::new(&training, batch, Storage::Packed, &budget, Formats::PAPER, &Overflowed::new(), &pinned).unwrap();
        let all = tensors(&training, batch);
        let fp32 = search.peak(&assigned(&search, vec![Format::FP32; all.len()])).unwrap();
        let bytes = (fp32 as f64 * share) as usize;
        let least = by_brute_force(&search, &search.allowed, bytes);
        match search.solved(bytes, None) {
            Ok((assignment, peak, certificate)) => {
                let least = least.unwrap();
                prop_assert_eq!(peak, search.peak(&assignment).unwrap());
                prop_assert!(peak <= bytes);
                let cost = search.cost(&assignment).unwrap();
                prop_assert!((cost - certificate.cost).abs() < 1e-9 * (1.0 + cost), "{} said, {} true", certificate.cost, cost);
                prop_assert!(certificate.bound <= least + 1e-6, "bound {} of {}", certificate.bound, least);
                prop_assert!(least <= cost + 1e-9, "{} instead of {}", cost, least);
            }
            Err(CompileError::Budget(BudgetError::Infeasible { .. })) => prop_assert_eq!(least, None),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}
