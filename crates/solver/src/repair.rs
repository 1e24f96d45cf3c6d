//! Primal heuristics on a complete choice: repair, which removes violations, and 1-opt, which then lowers the cost
//! (Achterberg, "Constraint integer programming", 2007, chapter 9). Reduced costs guide them.

use crate::compact::{Compact, Span};
use crate::dual::Objective;
use std::ops::Range;
use std::time::Instant;

/// The number of options that one move may change.
const MOVE: usize = 24;

/// A choice of one option per item, feasible or not.
#[derive(Clone, Debug)]
pub(crate) struct Candidate<'a> {
    compact: &'a Compact,
    /// Whether the cost is the objective.
    with_cost: bool,
    /// The limits to keep.
    limits: Vec<f64>,
    pub(crate) picks: Vec<usize>,
    /// By row, the sum of the picks' amounts.
    activities: Vec<f64>,
    /// By link, how many of its `from` and of its `to` are chosen.
    from_chosen: Vec<u32>,
    to_chosen: Vec<u32>,
    pub(crate) cost: f64,
}

/// The guide of the heuristics.
pub(crate) struct Guide<'a> {
    /// By option, whether it may be chosen.
    pub(crate) allowed: &'a [bool],
    /// By option, its reduced cost.
    pub(crate) reduced_costs: &'a [f64],
}

impl<'a> Candidate<'a> {
    /// Evaluates a choice. For [`Objective::Excess`] the limits of its rows are raised by `slack`.
    pub(crate) fn new(compact: &'a Compact, objective: &Objective, slack: f64, picks: Vec<usize>) -> Candidate<'a> {
        let reserve = compact.reserve.iter();
        let mut limits: Vec<f64> = compact.limits.iter().zip(reserve).map(|(limit, reserve)| limit - reserve).collect();
        if let Objective::Excess(range) = objective {
            limits[range.clone()].iter_mut().for_each(|limit| *limit += slack);
        }
        let mut candidate = Candidate {
            compact,
            with_cost: *objective == Objective::Cost,
            limits,
            activities: compact.activities(&picks),
            from_chosen: vec![0; compact.links.len()],
            to_chosen: vec![0; compact.links.len()],
            cost: picks.iter().map(|&option| compact.cost[option]).sum(),
            picks,
        };
        for at in 0..candidate.picks.len() {
            candidate.count(candidate.picks[at], true);
        }
        candidate
    }

    /// Counts an option at its links, or no longer.
    fn count(&mut self, option: usize, add: bool) {
        let change = |n: &mut u32| if add { *n += 1 } else { *n -= 1 };
        self.compact.links_from[option].iter().for_each(|&link| change(&mut self.from_chosen[link]));
        self.compact.links_to[option].iter().for_each(|&link| change(&mut self.to_chosen[link]));
    }

    /// Sets the pick of an option's item; returns the pick before.
    fn set(&mut self, option: usize) -> usize {
        let item = self.compact.item_of[option];
        let old = std::mem::replace(&mut self.picks[item], option);
        self.count(old, false);
        self.count(option, true);
        self.cost += self.compact.cost[option] - self.compact.cost[old];
        for (option, sign) in [(old, -1.0), (option, 1.0)] {
            for span in &self.compact.spans[option] {
                let activities = &mut self.activities[span.first..span.end];
                activities.iter_mut().for_each(|activity| *activity += sign * span.amount);
            }
        }
        old
    }

    /// Returns whether the choice violates a link.
    fn is_violated(&self, link: usize) -> bool {
        self.from_chosen[link] > 0 && self.to_chosen[link] == 0
    }

    /// Returns the links that the choice violates.
    fn violated_links(&self) -> impl Iterator<Item = usize> {
        (0..self.compact.links.len()).filter(|&link| self.is_violated(link))
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

    /// Chooses an option, then repairs the links that this violates; undoes everything and returns false if that fails.
    ///
    /// Locked items keep their picks; changed items become locked.
    fn choose(&mut self, option: usize, guide: &Guide<'_>, locked: &mut [bool]) -> bool {
        let mut changes = Vec::new();
        let mut touched = Vec::new();
        let mut next = Some(option);
        while let Some(option) = next {
            let item = self.compact.item_of[option];
            let old = self.set(option);
            changes.push((old, locked[item]));
            locked[item] = true;
            touched.extend(self.compact.links_from[option].iter().chain(&self.compact.links_to[old]));
            let Some(&link) = touched.iter().find(|&&link| self.is_violated(link)) else { return true };
            next = self.remedy(link, guide, locked).filter(|_| changes.len() < MOVE);
        }
        for (old, was_locked) in changes.into_iter().rev() {
            locked[self.compact.item_of[old]] = was_locked;
            self.set(old);
        }
        false
    }

    /// Returns the option of least reduced cost that repairs a link: one of its `to`, or another for the item of its `from`.
    fn remedy(&self, link: usize, guide: &Guide<'_>, locked: &[bool]) -> Option<usize> {
        let link = &self.compact.links[link];
        let item = self.compact.item_of[*link.from.first()?];
        let to = link.to.iter().copied();
        let other = self.compact.items[item].clone().filter(|option| !link.from.contains(option));
        let free = |option: &usize| guide.allowed[*option] && !locked[self.compact.item_of[*option]];
        to.chain(other).filter(free).min_by(|&a, &b| guide.reduced_costs[a].total_cmp(&guide.reduced_costs[b]))
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
            if !self.choose(option, guide, &mut trial) || self.excess() >= excess {
                *self = before;
                failed[option] = true;
            } else {
                failed.fill(false);
            }
        }
        self.is_feasible()
    }

    /// Repairs violated links, in a few rounds.
    fn repair_links(&mut self, guide: &Guide<'_>, locked: &[bool]) {
        for _ in 0..4 {
            let violated: Vec<usize> = self.violated_links().collect();
            if violated.is_empty() {
                break;
            }
            for link in violated {
                if self.is_violated(link)
                    && let Some(option) = self.remedy(link, guide, locked)
                {
                    let mut trial = locked.to_vec();
                    if !self.choose(option, guide, &mut trial) {
                        self.set(option);
                    }
                }
            }
        }
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
                let chosen = self.choose(option, guide, &mut locked);
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
