//! A complete choice, feasible or not, and moves that keep its links.

use crate::compact::{Compact, Span};
use crate::dual::Objective;

/// The number of options that one move may change.
const MOVE: usize = 24;

/// The rows' activities, in a form that a heuristic asks.
pub(crate) trait Activities {
    /// Adds `sign` times a span's amount to its rows.
    fn add(&mut self, span: &Span, sign: f64);
}

impl Activities for Vec<f64> {
    fn add(&mut self, span: &Span, sign: f64) {
        self[span.first..span.end].iter_mut().for_each(|activity| *activity += sign * span.amount);
    }
}

/// A choice of one option per item, feasible or not.
#[derive(Clone, Debug)]
pub(crate) struct Candidate<'a, A> {
    pub(crate) compact: &'a Compact,
    /// Whether the cost is the objective.
    pub(crate) with_cost: bool,
    /// The limits to keep.
    pub(crate) limits: Vec<f64>,
    pub(crate) picks: Vec<usize>,
    pub(crate) activities: A,
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

impl<'a, A: Activities> Candidate<'a, A> {
    /// Evaluates a choice; `form` makes the activities of the rows and their limits a form that heuristics ask. For
    /// [`Objective::Excess`] the limits of its rows are raised by `slack`.
    pub(crate) fn new(
        compact: &'a Compact,
        objective: &Objective,
        slack: f64,
        picks: Vec<usize>,
        form: impl FnOnce(Vec<f64>, &[f64]) -> A,
    ) -> Candidate<'a, A> {
        let reserve = compact.reserve.iter();
        let mut limits: Vec<f64> = compact.limits.iter().zip(reserve).map(|(limit, reserve)| limit - reserve).collect();
        if let Objective::Excess(range) = objective {
            limits[range.clone()].iter_mut().for_each(|limit| *limit += slack);
        }
        let mut candidate = Candidate {
            compact,
            with_cost: *objective == Objective::Cost,
            activities: form(compact.activities(&picks), &limits),
            limits,
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
            self.compact.spans[option].iter().for_each(|span| self.activities.add(span, sign));
        }
        old
    }

    /// Returns whether the choice violates a link.
    fn is_violated(&self, link: usize) -> bool {
        self.from_chosen[link] > 0 && self.to_chosen[link] == 0
    }

    /// Returns the links that the choice violates.
    pub(crate) fn violated_links(&self) -> impl Iterator<Item = usize> {
        (0..self.compact.links.len()).filter(|&link| self.is_violated(link))
    }

    /// Chooses an option, then repairs the links that this violates; undoes everything if that fails. Returns what to undo.
    ///
    /// Locked items keep their picks; changed items become locked.
    pub(crate) fn choose(&mut self, option: usize, guide: &Guide<'_>, locked: &mut [bool]) -> Option<Move> {
        let mut done = Move(Vec::new());
        let mut touched = Vec::new();
        let mut next = Some(option);
        while let Some(option) = next {
            let item = self.compact.item_of[option];
            let old = self.set(option);
            done.0.push((old, locked[item]));
            locked[item] = true;
            touched.extend(self.compact.links_from[option].iter().chain(&self.compact.links_to[old]));
            let Some(&link) = touched.iter().find(|&&link| self.is_violated(link)) else { return Some(done) };
            next = self.remedy(link, guide, locked).filter(|_| done.0.len() < MOVE);
        }
        self.undo(done, locked);
        None
    }

    /// Undoes the last move.
    pub(crate) fn undo(&mut self, done: Move, locked: &mut [bool]) {
        for (old, was_locked) in done.0.into_iter().rev() {
            locked[self.compact.item_of[old]] = was_locked;
            self.set(old);
        }
    }

    /// Frees the items that a move has locked.
    pub(crate) fn unlock(&self, done: &Move, locked: &mut [bool]) {
        done.0.iter().rev().for_each(|&(old, was_locked)| locked[self.compact.item_of[old]] = was_locked);
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

    /// Repairs violated links, in a few rounds.
    pub(crate) fn repair_links(&mut self, guide: &Guide<'_>, locked: &[bool]) {
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
                    if self.choose(option, guide, &mut trial).is_none() {
                        self.set(option);
                    }
                }
            }
        }
    }
}

/// The picks that a move replaced, with whether their items were locked.
pub(crate) struct Move(Vec<(usize, bool)>);
