//! Lower bounds: the Lagrangian over rows, needs and cuts.
//!
//! Every row has a price of at least 0, every need and cut too. For all prices the least cost of any choice of options, each with
//! the price of what it takes and asks for, less the price of what the limits give, is at most the cost of any solution.
//! It falls apart into one minimum per item, so a bound is checked by one pass over the options, whoever found the prices.

use crate::compact::Compact;
use std::ops::Range;

/// What is made small.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Goal {
    /// The cost, within all limits.
    Cost,
    /// The largest excess over the limits of some rows, within the other limits.
    Excess(Range<usize>),
}

/// Prices.
#[derive(Clone, Debug)]
pub(crate) struct Prices {
    /// Per row, per unit of amount.
    pub(crate) rows: Vec<f64>,
    /// Per need.
    pub(crate) needs: Vec<f64>,
    /// Per cut.
    pub(crate) cuts: Vec<f64>,
}

impl Prices {
    /// Prices that prove something, if not much.
    pub(crate) fn start(compact: &Compact, goal: &Goal) -> Prices {
        let mut rows = vec![0.0; compact.limits.len()];
        if let Goal::Excess(range) = goal {
            // The prices of these rows are shares of 1.
            let share = 1.0 / range.len().max(1) as f64;
            rows[range.clone()].fill(share);
        }
        Prices { rows, needs: vec![0.0; compact.needs.len()], cuts: vec![0.0; compact.cuts.len()] }
    }
}

/// A choice of one option per item, with what each option costs at the prices beyond it.
#[derive(Clone, Debug)]
pub(crate) struct Relaxed {
    pub(crate) picks: Vec<usize>,
    /// By option: its price less that of the pick of its item.
    pub(crate) reduced: Vec<f64>,
}

/// The bound that prices prove for all choices of allowed options, with the choice at which it is reached; nothing if an
/// item has no option left.
pub(crate) fn evaluate(
    compact: &Compact,
    with_cost: bool,
    allowed: &[bool],
    prices: &Prices,
) -> Option<(f64, Relaxed)> {
    let Compact { items, cost, spans, limits, needs_of, served_by, cuts, .. } = compact;
    let mut sums = Vec::with_capacity(limits.len() + 1);
    let mut sum = 0.0;
    sums.push(0.0);
    for price in &prices.rows {
        sum += price;
        sums.push(sum);
    }
    let mut total = -prices.rows.iter().zip(limits).map(|(price, limit)| price * limit).sum::<f64>();
    total -= prices.cuts.iter().zip(cuts).map(|(price, cut)| price * cut.limit).sum::<f64>();
    let mut cut = vec![0.0; cost.len()];
    for (price, by) in prices.cuts.iter().zip(cuts).filter(|(price, _)| **price > 0.0) {
        by.terms.iter().for_each(|&(option, factor)| cut[option] += price * factor);
    }
    let mut reduced = vec![f64::INFINITY; cost.len()];
    let mut picks = Vec::with_capacity(items.len());
    for item in items {
        let mut best = usize::MAX;
        for option in item.clone().filter(|&option| allowed[option]) {
            let taken: f64 = spans[option].iter().map(|s| s.amount * (sums[s.end] - sums[s.first])).sum();
            let asked: f64 = needs_of[option].iter().map(|&need| prices.needs[need]).sum();
            let served: f64 = served_by[option].iter().map(|&need| prices.needs[need]).sum();
            reduced[option] = taken + asked - served + cut[option] + if with_cost { cost[option] } else { 0.0 };
            if best == usize::MAX || reduced[option] < reduced[best] {
                best = option;
            }
        }
        let least = *reduced.get(best)?;
        total += least;
        item.clone().for_each(|option| reduced[option] -= least);
        picks.push(best);
    }
    Some((total, Relaxed { picks, reduced }))
}

/// The sums of amounts in every row.
pub(crate) fn loads(compact: &Compact, picks: &[usize]) -> Vec<f64> {
    let mut changes = vec![0.0; compact.limits.len() + 1];
    for span in picks.iter().flat_map(|&option| &compact.spans[option]) {
        changes[span.first] += span.amount;
        changes[span.end] -= span.amount;
    }
    let mut load = 0.0;
    changes[..compact.limits.len()]
        .iter()
        .map(|change| {
            load += change;
            load
        })
        .collect()
}
