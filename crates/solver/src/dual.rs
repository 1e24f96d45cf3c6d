//! Dual bounds by Lagrangian relaxation (Geoffrion, 1974) of rows, links and cuts.
//!
//! Each of them has a price (a Lagrange multiplier) of at least 0. At any prices, the least priced cost of a choice, less the
//! value of the limits, is at most the cost of every solution. The minimum separates into one per item, so one pass over the
//! options checks a bound, whichever method found the prices.

use crate::compact::Compact;
use std::ops::Range;

/// The objective function, which is minimised.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Objective {
    /// The cost, subject to all limits.
    Cost,
    /// The largest excess over the limits of some rows, subject to the other limits.
    Excess(Range<usize>),
}

/// Dual prices.
#[derive(Clone, Debug)]
pub(crate) struct Prices {
    /// Per row, per unit of amount.
    pub(crate) rows: Vec<f64>,
    /// Per link.
    pub(crate) links: Vec<f64>,
    /// Per cut.
    pub(crate) cuts: Vec<f64>,
}

impl Prices {
    /// Returns trivial dual feasible prices.
    pub(crate) fn start(compact: &Compact, objective: &Objective) -> Prices {
        let mut rows = vec![0.0; compact.limits.len()];
        if let Objective::Excess(range) = objective {
            // The prices of these rows sum up to 1.
            let price = 1.0 / range.len().max(1) as f64;
            rows[range.clone()].fill(price);
        }
        Prices { rows, links: vec![0.0; compact.links.len()], cuts: vec![0.0; compact.cuts.len()] }
    }
}

/// The choice that minimises the Lagrangian.
#[derive(Clone, Debug)]
pub(crate) struct LagrangianSolution {
    pub(crate) picks: Vec<usize>,
    /// By option, its priced cost less that of its item's pick.
    pub(crate) reduced_costs: Vec<f64>,
}

/// Evaluates the Lagrangian at some prices: returns the dual bound over all choices of allowed options and the choice that
/// attains it, or `None` if an item has no allowed option.
pub(crate) fn evaluate_lagrangian(
    compact: &Compact,
    with_cost: bool,
    allowed: &[bool],
    prices: &Prices,
) -> Option<(f64, LagrangianSolution)> {
    let Compact { items, cost, spans, limits, links_from, links_to, cuts, .. } = compact;
    let mut sums = Vec::with_capacity(limits.len() + 1);
    let mut sum = 0.0;
    sums.push(0.0);
    for price in &prices.rows {
        sum += price;
        sums.push(sum);
    }
    let mut bound = -prices.rows.iter().zip(limits).map(|(price, limit)| price * limit).sum::<f64>();
    bound -= prices.cuts.iter().zip(cuts).map(|(price, cut)| price * cut.limit).sum::<f64>();
    let mut by_cuts = vec![0.0; cost.len()];
    for (price, cut) in prices.cuts.iter().zip(cuts).filter(|(price, _)| **price > 0.0) {
        cut.terms.iter().for_each(|&(option, coefficient)| by_cuts[option] += price * coefficient);
    }
    let mut reduced_costs = vec![f64::INFINITY; cost.len()];
    let mut picks = Vec::with_capacity(items.len());
    for item in items {
        let mut best = usize::MAX;
        for option in item.clone().filter(|&option| allowed[option]) {
            let by_rows: f64 = spans[option].iter().map(|s| s.amount * (sums[s.end] - sums[s.first])).sum();
            let outgoing: f64 = links_from[option].iter().map(|&link| prices.links[link]).sum();
            let incoming: f64 = links_to[option].iter().map(|&link| prices.links[link]).sum();
            let own = if with_cost { cost[option] } else { 0.0 };
            reduced_costs[option] = by_rows + outgoing - incoming + by_cuts[option] + own;
            if best == usize::MAX || reduced_costs[option] < reduced_costs[best] {
                best = option;
            }
        }
        let least = *reduced_costs.get(best)?;
        bound += least;
        item.clone().for_each(|option| reduced_costs[option] -= least);
        picks.push(best);
    }
    Some((bound, LagrangianSolution { picks, reduced_costs }))
}
