//! Solutions: moves from option to option, with what the needs ask for, guided by prices.

use crate::compact::{Compact, Span};
use crate::dual::{Goal, loads};
use std::time::Instant;

/// A choice of options, and how far it is from keeping limits and needs.
#[derive(Clone, Debug)]
pub(crate) struct State<'a> {
    compact: &'a Compact,
    /// Whether the cost counts.
    with_cost: bool,
    /// The limits that hold.
    limits: Vec<f64>,
    pub(crate) picks: Vec<usize>,
    loads: Vec<f64>,
    /// Per need, how many of its `from` and of its `to` are chosen.
    asked: Vec<u32>,
    served: Vec<u32>,
    pub(crate) cost: f64,
}

/// What a choice is judged by: needs that are open, excess over limits, cost; the smaller the better.
pub(crate) type Score = (usize, f64, f64);

impl<'a> State<'a> {
    /// A choice; for [`Goal::Excess`] the limits of its rows are raised by `slack`.
    pub(crate) fn new(compact: &'a Compact, goal: &Goal, slack: f64, picks: Vec<usize>) -> State<'a> {
        let mut limits: Vec<f64> = compact.limits.iter().zip(&compact.free).map(|(limit, free)| limit - free).collect();
        if let Goal::Excess(range) = goal {
            limits[range.clone()].iter_mut().for_each(|limit| *limit += slack);
        }
        let mut state = State {
            compact,
            with_cost: *goal == Goal::Cost,
            limits,
            loads: loads(compact, &picks),
            asked: vec![0; compact.needs.len()],
            served: vec![0; compact.needs.len()],
            cost: picks.iter().map(|&option| compact.cost[option]).sum(),
            picks,
        };
        for at in 0..state.picks.len() {
            state.count(state.picks[at], true);
        }
        state
    }

    fn count(&mut self, option: usize, add: bool) {
        let change = |n: &mut u32| if add { *n += 1 } else { *n -= 1 };
        self.compact.needs_of[option].iter().for_each(|&need| change(&mut self.asked[need]));
        self.compact.served_by[option].iter().for_each(|&need| change(&mut self.served[need]));
    }

    /// Chooses an option of an item in place of another.
    fn set(&mut self, option: usize) -> usize {
        let item = self.compact.item_of[option];
        let old = std::mem::replace(&mut self.picks[item], option);
        self.count(old, false);
        self.count(option, true);
        self.cost += self.compact.cost[option] - self.compact.cost[old];
        for (option, sign) in [(old, -1.0), (option, 1.0)] {
            for span in &self.compact.spans[option] {
                self.loads[span.first..span.end].iter_mut().for_each(|load| *load += sign * span.amount);
            }
        }
        old
    }

    fn is_open(&self, need: usize) -> bool {
        self.asked[need] > 0 && self.served[need] == 0
    }

    /// The sum of what exceeds the limits.
    fn excess(&self) -> f64 {
        self.loads.iter().zip(&self.limits).map(|(load, limit)| (load - limit).max(0.0)).sum()
    }

    pub(crate) fn score(&self) -> Score {
        let open = (0..self.asked.len()).filter(|&need| self.is_open(need)).count();
        (open, self.excess(), if self.with_cost { self.cost } else { 0.0 })
    }

    pub(crate) fn is_feasible(&self) -> bool {
        self.score().1 <= 0.0 && self.score().0 == 0
    }

    /// The largest excess over the unraised limits of some rows.
    pub(crate) fn largest_excess(&self, rows: &std::ops::Range<usize>) -> f64 {
        let over = |row: usize| self.loads[row] - self.compact.limits[row];
        rows.clone().map(over).fold(f64::NEG_INFINITY, f64::max)
    }

    /// By how much the excess changes if an option is chosen.
    fn change_of_excess(&self, option: usize) -> f64 {
        let old = self.picks[self.compact.item_of[option]];
        let (gone, come) = (&self.compact.spans[old], &self.compact.spans[option]);
        let first = gone.iter().chain(come).map(|s| s.first).min().unwrap_or(0);
        let end = gone.iter().chain(come).map(|s| s.end).max().unwrap_or(0);
        let mut change = 0.0;
        for row in first..end {
            let of = |spans: &[Span]| -> f64 {
                spans.iter().filter(|s| s.first <= row && row < s.end).map(|s| s.amount).sum()
            };
            let over = self.loads[row] - self.limits[row];
            change += (over + of(come) - of(gone)).max(0.0) - over.max(0.0);
        }
        change
    }
}

/// What guides the search.
pub(crate) struct Guide<'a> {
    /// By option, whether it may be chosen.
    pub(crate) allowed: &'a [bool],
    /// By option, what it costs beyond the best of its item at the prices of a bound.
    pub(crate) reduced: &'a [f64],
}

/// Changes that one move may take along.
const CHANGES: usize = 24;

impl State<'_> {
    /// Chooses an option and what the needs ask for then; leaves everything as it was if that cannot be done.
    ///
    /// Items that are `locked` stay as they are; those that are changed are locked.
    pub(crate) fn choose(&mut self, option: usize, guide: &Guide<'_>, locked: &mut [bool]) -> bool {
        let mut changes = Vec::new();
        let mut touched = Vec::new();
        let mut next = Some(option);
        while let Some(option) = next {
            let item = self.compact.item_of[option];
            let old = self.set(option);
            changes.push((old, locked[item]));
            locked[item] = true;
            touched.extend(self.compact.needs_of[option].iter().chain(&self.compact.served_by[old]));
            let Some(&need) = touched.iter().find(|&&need| self.is_open(need)) else { return true };
            next = self.remedy(need, guide, locked).filter(|_| changes.len() < CHANGES);
        }
        for (old, was_locked) in changes.into_iter().rev() {
            locked[self.compact.item_of[old]] = was_locked;
            self.set(old);
        }
        false
    }

    /// The cheapest change that closes an open need: an option that serves it, or another for the item that asks.
    fn remedy(&self, need: usize, guide: &Guide<'_>, locked: &[bool]) -> Option<usize> {
        let need = &self.compact.needs[need];
        let asking = self.compact.item_of[*need.from.first()?];
        let serving = need.to.iter().copied();
        let other = self.compact.items[asking].clone().filter(|option| !need.from.contains(option));
        let free = |option: &usize| guide.allowed[*option] && !locked[self.compact.item_of[*option]];
        serving.chain(other).filter(free).min_by(|&a, &b| guide.reduced[a].total_cmp(&guide.reduced[b]))
    }

    /// Closes open needs and takes excess away, cheaply; whether that was possible.
    pub(crate) fn repair(&mut self, guide: &Guide<'_>, locked: &mut [bool], end: Instant) -> bool {
        for _ in 0..4 {
            let open: Vec<usize> = (0..self.asked.len()).filter(|&need| self.is_open(need)).collect();
            if open.is_empty() {
                break;
            }
            for need in open {
                if self.is_open(need)
                    && let Some(option) = self.remedy(need, guide, locked)
                {
                    let mut trial = locked.to_vec();
                    if !self.choose(option, guide, &mut trial) {
                        self.set(option);
                    }
                }
            }
        }
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

    /// The option that takes away most excess for what it costs.
    fn relief(&self, guide: &Guide<'_>, locked: &[bool], failed: &[bool]) -> Option<usize> {
        let mut best: Option<(f64, usize)> = None;
        for (item, options) in self.compact.items.iter().enumerate() {
            let pick = self.picks[item];
            let helps = || {
                let spans = self.compact.spans[pick].iter();
                let over = |row: usize| self.loads[row] > self.limits[row];
                spans.clone().any(|s| (s.first..s.end).any(over)) || options.len() == 2
            };
            if locked[item] || options.len() < 2 || !helps() {
                continue;
            }
            for option in options.clone() {
                if option == pick || !guide.allowed[option] || failed[option] {
                    continue;
                }
                let less = -self.change_of_excess(option);
                if less <= 0.0 {
                    continue;
                }
                let dearer =
                    if self.with_cost { (self.compact.cost[option] - self.compact.cost[pick]).max(0.0) } else { 0.0 };
                // What the prices say of the change, apart from the excess, breaks ties.
                let beside = (guide.reduced[option] - guide.reduced[pick]).max(0.0);
                let value = less / (dearer + 0.1 * beside + 1e-12);
                if best.is_none_or(|(most, _)| value > most) {
                    best = Some((value, option));
                }
            }
        }
        best.map(|(_, option)| option)
    }

    /// Takes cheaper options as long as limits and needs are kept, those that save most first.
    pub(crate) fn fill(&mut self, guide: &Guide<'_>, end: Instant) {
        loop {
            let cheaper = |&option: &usize| {
                let pick = self.picks[self.compact.item_of[option]];
                guide.allowed[option] && self.compact.cost[option] < self.compact.cost[pick]
            };
            let mut options: Vec<usize> = (0..self.compact.cost.len()).filter(cheaper).collect();
            let saved =
                |option: usize| self.compact.cost[self.picks[self.compact.item_of[option]]] - self.compact.cost[option];
            options.sort_by(|&a, &b| saved(b).total_cmp(&saved(a)));
            let mut improved = false;
            for option in options {
                let (pick, cost) = (self.picks[self.compact.item_of[option]], self.cost);
                if self.compact.cost[option] >= self.compact.cost[pick] {
                    continue;
                }
                if self.compact.needs_of[option].is_empty() && self.change_of_excess(option) > 0.0 {
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
