//! Primal heuristics on a complete choice: repair, which removes violations, and 1-opt, which then lowers the cost
//! (Achterberg, "Constraint integer programming", 2007, chapter 9). Reduced costs guide them.

use crate::candidate::{Candidate, Guide};
use crate::compact::{Compact, Span};
use crate::dual::Objective;
use std::ops::Range;
use std::time::Instant;

/// A choice with the activity of each row.
pub(crate) type Listed<'a> = Candidate<'a, Vec<f64>>;

impl<'a> Listed<'a> {
    /// As [`Candidate::new`].
    pub(crate) fn listed(compact: &'a Compact, objective: &Objective, slack: f64, picks: Vec<usize>) -> Listed<'a> {
        Candidate::new(compact, objective, slack, picks, |activities, _| activities)
    }

    /// Returns the sum of the rows' excesses over their limits.
    fn excess(&self) -> f64 {
        self.activities.iter().zip(&self.limits).map(|(activity, limit)| (activity - limit).max(0.0)).sum()
    }

    /// Returns whether the choice keeps all limits and links.
    pub(crate) fn is_feasible(&self) -> bool {
        self.excess() <= 0.0 && self.violated_links().next().is_none()
    }

    /// Returns the largest excess over the original limits of some rows.
    pub(crate) fn largest_excess(&self, rows: &Range<usize>) -> f64 {
        let over = |row: usize| self.activities[row] - self.compact.limits[row];
        rows.clone().map(over).fold(f64::NEG_INFINITY, f64::max)
    }

    /// Returns by how much choosing an option changes the excess.
    fn change_of_excess(&self, option: usize) -> f64 {
        let old = self.picks[self.compact.item_of[option]];
        let (leaving, entering) = (&self.compact.spans[old], &self.compact.spans[option]);
        let first = leaving.iter().chain(entering).map(|s| s.first).min().unwrap_or(0);
        let end = leaving.iter().chain(entering).map(|s| s.end).max().unwrap_or(0);
        let mut change = 0.0;
        for row in first..end {
            let amount = |spans: &[Span]| -> f64 {
                spans.iter().filter(|s| s.first <= row && row < s.end).map(|s| s.amount).sum()
            };
            let over = self.activities[row] - self.limits[row];
            change += (over + amount(entering) - amount(leaving)).max(0.0) - over.max(0.0);
        }
        change
    }

    /// Repairs violated links, then reduces the excess greedily; returns whether the choice is feasible.
    pub(crate) fn repair(&mut self, guide: &Guide<'_>, locked: &mut [bool], end: Instant) -> bool {
        self.repair_links(guide, locked);
        let mut failed = vec![false; self.compact.cost.len()];
        for _ in 0..4 * self.picks.len() + 16 {
            let excess = self.excess();
            if excess <= 0.0 || Instant::now() >= end {
                break;
            }
            let Some(option) = self.relief(guide, locked, &failed) else { return false };
            let before = self.clone();
            let mut trial = locked.to_vec();
            if self.choose(option, guide, &mut trial).is_none() || self.excess() >= excess {
                *self = before;
                failed[option] = true;
            } else {
                failed.fill(false);
            }
        }
        self.is_feasible()
    }

    /// Returns the option that reduces the excess most per cost.
    fn relief(&self, guide: &Guide<'_>, locked: &[bool], failed: &[bool]) -> Option<usize> {
        let mut best: Option<(f64, usize)> = None;
        for (item, options) in self.compact.items.iter().enumerate() {
            let pick = self.picks[item];
            let helps = || {
                let spans = self.compact.spans[pick].iter();
                let over = |row: usize| self.activities[row] > self.limits[row];
                spans.clone().any(|s| (s.first..s.end).any(over)) || options.len() == 2
            };
            if locked[item] || options.len() < 2 || !helps() {
                continue;
            }
            for option in options.clone() {
                if option == pick || !guide.allowed[option] || failed[option] {
                    continue;
                }
                let relief = -self.change_of_excess(option);
                if relief <= 0.0 {
                    continue;
                }
                let cost =
                    if self.with_cost { (self.compact.cost[option] - self.compact.cost[pick]).max(0.0) } else { 0.0 };
                // Reduced costs break ties.
                let reduced_cost = (guide.reduced_costs[option] - guide.reduced_costs[pick]).max(0.0);
                let value = relief / (cost + 0.1 * reduced_cost + 1e-12);
                if best.is_none_or(|(most, _)| value > most) {
                    best = Some((value, option));
                }
            }
        }
        best.map(|(_, option)| option)
    }

    /// Lowers the cost of a feasible choice: changes one option at a time while limits and links hold, the largest saving
    /// first (1-opt).
    pub(crate) fn improve(&mut self, guide: &Guide<'_>, end: Instant) {
        loop {
            let saving =
                |option: usize| self.compact.cost[self.picks[self.compact.item_of[option]]] - self.compact.cost[option];
            let is_cheaper = |&option: &usize| {
                let pick = self.picks[self.compact.item_of[option]];
                guide.allowed[option] && self.compact.cost[option] < self.compact.cost[pick]
            };
            let mut options: Vec<usize> = (0..self.compact.cost.len()).filter(is_cheaper).collect();
            options.sort_by(|&a, &b| saving(b).total_cmp(&saving(a)));
            let mut improved = false;
            for option in options {
                let (pick, cost) = (self.picks[self.compact.item_of[option]], self.cost);
                if self.compact.cost[option] >= self.compact.cost[pick] {
                    continue;
                }
                if self.compact.links_from[option].is_empty() && self.change_of_excess(option) > 0.0 {
                    continue;
                }
                let before = self.clone();
                let mut locked = vec![false; self.picks.len()];
                let chosen = self.choose(option, guide, &mut locked).is_some();
                if chosen && self.excess() <= 0.0 && self.cost < cost - 1e-12 {
                    improved = true;
                } else if chosen {
                    *self = before;
                }
            }
            if !improved || Instant::now() >= end {
                break;
            }
        }
    }
}
