//! The state of a tree search: incumbent, reduced costs, pseudocosts.

use crate::branching::Pseudocosts;
use crate::candidate::Guide;
use crate::compact::Compact;
use crate::dual::Objective;
use crate::lp::{Failure, Lp};
use crate::node::Node;
use crate::propagate::Propagation;
use crate::random::Random;
use crate::relaxation::{Bounded, Relaxation, relax};
use crate::repair::Listed;
use crate::stop::Stop;
use rayon::prelude::*;
use std::time::Instant;

/// The relative difference within which an optimum is exact.
const EXACT: f64 = 3e-7;

/// The best feasible choice found so far, and its objective value.
pub(crate) type Incumbent = (Vec<usize>, f64);

/// The state of a tree search.
#[derive(Clone)]
pub(crate) struct Search<'a> {
    pub(crate) compact: &'a Compact,
    pub(crate) propagation: &'a Propagation<'a>,
    pub(crate) objective: &'a Objective,
    pub(crate) stop: Stop,
    pub(crate) incumbent: Option<Incumbent>,
    pub(crate) random: Random,
    pub(crate) pseudocosts: Pseudocosts,
    /// By option, its reduced cost at the prices of the Lagrangian bound.
    pub(crate) reduced_costs: Vec<f64>,
    /// The Lagrangian bound of the root.
    pub(crate) lagrangian_bound: f64,
    /// How many subproblems enclose this one.
    pub(crate) depth: usize,
    /// The fraction of the items that a neighbourhood leaves open.
    pub(crate) neighbourhood_size: f64,
    /// The least dual bound of leaves that were dropped because they keep no reserve.
    pub(crate) dropped_bound: f64,
}

/// Returns the limits that any solution better than the incumbent keeps.
pub(crate) fn limits(compact: &Compact, objective: &Objective, incumbent: Option<f64>) -> Vec<f64> {
    let mut limits = compact.limits.clone();
    if let Objective::Excess(range) = objective {
        let raised = incumbent.unwrap_or(f64::INFINITY);
        limits[range.clone()].iter_mut().for_each(|limit| *limit += raised);
    }
    limits
}

/// Rounds a relaxation's solution: the option of the largest value for each item.
pub(crate) fn rounded(compact: &Compact, lp_values: &[f64], allowed: &[bool]) -> Vec<usize> {
    let largest = |item: &std::ops::Range<usize>| {
        let options = item.clone().filter(|&option| allowed[option]);
        options.max_by(|&a, &b| lp_values[a].total_cmp(&lp_values[b]).then(b.cmp(&a))).unwrap_or(item.start)
    };
    compact.items.iter().map(largest).collect()
}

impl Search<'_> {
    /// Returns the cutoff: nodes whose dual bound reaches it are pruned.
    pub(crate) fn cutoff(&self) -> f64 {
        match (&self.incumbent, self.objective) {
            (Some((_, value)), Objective::Cost) => *value - EXACT * value.abs(),
            // Amounts are integers.
            (Some((_, value)), Objective::Excess(_)) => *value - 1.0 + 1e-3,
            (None, _) => f64::INFINITY,
        }
    }

    /// Returns whether the time limit is reached.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.stop.deadline
    }

    /// Returns whether a dual bound closes the gap as far as the stopping criteria ask.
    pub(crate) fn is_done(&self, bound: f64) -> bool {
        let sign = self.stop.sign && (bound > 1e-3 || self.incumbent.as_ref().is_some_and(|(_, value)| *value <= 0.0));
        let near = match (&self.incumbent, self.objective) {
            (Some((_, value)), Objective::Cost) => value - bound <= self.stop.gap * value.abs(),
            _ => false,
        };
        sign || near || bound >= self.cutoff()
    }

    /// Makes a choice the incumbent if it is feasible and better.
    pub(crate) fn offer(&mut self, picks: Vec<usize>) {
        let candidate = Listed::listed(self.compact, self.objective, f64::INFINITY, picks);
        if !candidate.is_feasible() {
            return;
        }
        let value = match self.objective {
            Objective::Cost => candidate.cost,
            Objective::Excess(rows) => candidate.largest_excess(rows),
        };
        if self.incumbent.as_ref().is_none_or(|(_, best)| value < best - 1e-12 * best.abs()) {
            self.incumbent = Some((candidate.picks, value));
        }
    }

    /// Runs several tasks in parallel on copies of the search, then takes the best of their incumbents.
    pub(crate) fn in_parallel<T: Send, U: Send>(
        &mut self,
        tasks: impl IntoIterator<Item = T>,
        work: impl Fn(&mut Self, T) -> U + Sync,
    ) -> Vec<U> {
        let forks: Vec<(Self, T)> = tasks.into_iter().map(|task| (self.clone(), task)).collect();
        let run = |(mut fork, task): (Self, T)| {
            let result = work(&mut fork, task);
            (fork.incumbent, result)
        };
        let found: Vec<(Option<Incumbent>, U)> = forks.into_par_iter().map(run).collect();
        let (incumbents, results): (Vec<_>, Vec<U>) = found.into_iter().unzip();
        for incumbent in incumbents.into_iter().flatten() {
            if self.incumbent.as_ref().is_none_or(|(_, value)| incumbent.1 < *value) {
                self.incumbent = Some(incumbent);
            }
        }
        results
    }

    /// Returns by how much limits are raised while the search looks for a smaller excess.
    fn slack(&self) -> f64 {
        match (&self.incumbent, self.objective) {
            (Some((_, value)), Objective::Excess(_)) => value - (value.abs() * 2e-3).max(1.0),
            _ => 0.0,
        }
    }

    /// Repairs a choice and offers it as incumbent.
    pub(crate) fn repair_and_offer(&mut self, picks: &[usize], allowed: &[bool]) {
        let guide = Guide { allowed, reduced_costs: &self.reduced_costs };
        let mut candidate = Listed::listed(self.compact, self.objective, self.slack(), picks.to_vec());
        let mut locked = vec![false; picks.len()];
        let feasible = candidate.repair(&guide, &mut locked, self.stop.deadline);
        if feasible && *self.objective == Objective::Cost {
            candidate.improve(&guide, self.stop.deadline);
        }
        // An excess can be measured for any choice that keeps the links.
        if feasible || matches!(self.objective, Objective::Excess(_)) {
            self.offer(candidate.picks);
        }
    }

    /// Fixes options by their reduced costs: a solution better than the incumbent has none whose reduced cost closes the gap.
    pub(crate) fn fix_by_reduced_cost(&self, allowed: &[bool]) -> Vec<bool> {
        let gap = self.cutoff() - self.lagrangian_bound;
        allowed.iter().zip(&self.reduced_costs).map(|(allowed, reduced_cost)| *allowed && *reduced_cost < gap).collect()
    }

    /// Creates a child node that has only the allowed options: propagates, then solves the relaxation. Returns `None` if the
    /// child is pruned.
    pub(crate) fn child(&self, node: &Node, allowed: Vec<bool>) -> Option<Node> {
        let incumbent = self.incumbent.as_ref().map(|(_, value)| *value);
        let limits = limits(self.compact, self.objective, incumbent);
        let allowed = self.propagation.propagate(&limits, &allowed)?.allowed;
        let fixed = || (0..allowed.len()).filter(|&option| node.allowed[option] && !allowed[option]);
        let solved = match &node.lp {
            Some(lp) => lp.fix_to_zero(fixed()),
            None => Lp::new(self.compact, self.objective, &allowed, self.stop.seconds_left()),
        };
        let child = match solved {
            Ok(lp) => Node { bound: lp.bound().max(node.bound), lp_values: lp.values(), allowed, lp: Some(lp) },
            Err(Failure::Infeasible) => return None,
            Err(Failure::Unknown) => match relax(self.compact, self.objective, &allowed, self.stop.seconds_left()) {
                Relaxation::Infeasible => return None,
                Relaxation::Bounded(Bounded { bound, lp_values, .. }) => {
                    Node { bound: bound.max(node.bound), lp_values, allowed, lp: None }
                }
            },
        };
        (child.bound < self.cutoff()).then_some(child)
    }
}
