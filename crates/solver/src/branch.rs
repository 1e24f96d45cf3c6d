//! Branch and bound: the choice is split until bounds and solutions meet, or the time is over.

use crate::branching::{History, Split, splits};
use crate::compact::Compact;
use crate::dive::Order;
use crate::dual::Goal;
use crate::lp::{Failure, Lp};
use crate::propagate::Propagation;
use crate::random::Random;
use crate::relaxation::{Bounded, Relaxation, relax};
use crate::repair::{Guide, State as Choice};
use rayon::prelude::*;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// Parts up to this many keep their solved relaxation; it is computed anew for others.
pub(crate) const SOLVED: usize = 24;
/// The part of the cost to which an optimum is exact.
const EXACT: f64 = 3e-7;
/// The part of the gap that the bound of a part may close and still be promising.
const PROMISING: f64 = 0.5;
/// Splits whose bounds are computed in a row without finding a better one.
const MISSES: usize = 3;

/// A choice and its value: cost, or excess.
pub(crate) type Best = (Vec<usize>, f64);

/// When a search ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    pub(crate) at: Instant,
    /// How many parts and neighbourhoods may be searched, if that is counted.
    pub(crate) effort: Option<usize>,
    /// The part of the value that may be left open.
    pub(crate) gap: f64,
    /// Whether it is enough to know on which side of zero the value is.
    pub(crate) sign: bool,
}

impl Stop {
    pub(crate) fn after(seconds: f64, gap: f64) -> Stop {
        let seconds = if seconds.is_finite() { seconds.clamp(0.0, 1e6) } else { 1e6 };
        let at = Instant::now() + Duration::from_secs_f64(seconds);
        Stop { at, effort: None, gap, sign: false }
    }

    /// Seconds that are left.
    pub(crate) fn left(&self) -> f64 {
        self.at.saturating_duration_since(Instant::now()).as_secs_f64()
    }

    /// When a part of that will be over.
    pub(crate) fn part(&self, part: f64) -> Instant {
        Instant::now() + Duration::from_secs_f64(part * self.left())
    }
}

/// A part of the problem: the options that are left in it, and what is known of its relaxation.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) bound: f64,
    pub(crate) allowed: Vec<bool>,
    /// The share of each option.
    pub(crate) shares: Vec<f64>,
    pub(crate) lp: Option<Lp>,
}

impl Node {
    /// Without its solved relaxation, which takes much memory.
    pub(crate) fn unsolved(self) -> Node {
        Node { lp: None, ..self }
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Node {}
impl PartialOrd for Node {
    fn partial_cmp(&self, other: &Node) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Node {
    /// The least bound first.
    fn cmp(&self, other: &Node) -> Ordering {
        other.bound.total_cmp(&self.bound)
    }
}

/// How much work goes into branch and bound.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Parts that are split.
    pub(crate) parts: usize,
    /// Splits that are tried for each.
    pub(crate) tried: usize,
    /// Whether some of the parts are begun with a dive.
    pub(crate) dives: bool,
}

impl Limits {
    /// As much as it takes, or as many parts as that.
    pub(crate) fn of(effort: Option<usize>) -> Limits {
        Limits { parts: effort.unwrap_or(usize::MAX), tried: 8, dives: true }
    }
}

/// A search for the best choice.
#[derive(Clone)]
pub(crate) struct Search<'a> {
    pub(crate) compact: &'a Compact,
    pub(crate) propagation: &'a Propagation<'a>,
    pub(crate) goal: &'a Goal,
    pub(crate) stop: Stop,
    pub(crate) best: Option<Best>,
    pub(crate) random: Random,
    pub(crate) history: History,
    /// By option, what it costs beyond the best of its item at the prices of the whole problem's bound, and that bound.
    pub(crate) reduced: Vec<f64>,
    pub(crate) base: f64,
    /// How many parts this one is part of.
    pub(crate) depth: usize,
    /// The part of the items that a neighbourhood leaves open.
    pub(crate) width: f64,
    /// The least bound of choices that leave too little free to be solutions.
    pub(crate) floor: f64,
}

/// The limits that a solution which is better than the best has to keep.
pub(crate) fn limits(compact: &Compact, goal: &Goal, best: Option<f64>) -> Vec<f64> {
    let mut limits = compact.limits.clone();
    if let Goal::Excess(range) = goal {
        let raised = best.unwrap_or(f64::INFINITY);
        limits[range.clone()].iter_mut().for_each(|limit| *limit += raised);
    }
    limits
}

/// The option of the largest share for each item.
pub(crate) fn rounded(compact: &Compact, shares: &[f64], allowed: &[bool]) -> Vec<usize> {
    let largest = |item: &std::ops::Range<usize>| {
        let options = item.clone().filter(|&option| allowed[option]);
        options.max_by(|&a, &b| shares[a].total_cmp(&shares[b]).then(b.cmp(&a))).unwrap_or(item.start)
    };
    compact.items.iter().map(largest).collect()
}

impl Search<'_> {
    /// What a bound has to reach to end the search.
    pub(crate) fn target(&self) -> f64 {
        match (&self.best, self.goal) {
            (Some((_, value)), Goal::Cost) => *value - EXACT * value.abs(),
            // Amounts are integers.
            (Some((_, value)), Goal::Excess(_)) => *value - 1.0 + 1e-3,
            (None, _) => f64::INFINITY,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.stop.at
    }

    pub(crate) fn is_done(&self, bound: f64) -> bool {
        let sign = self.stop.sign && (bound > 1e-3 || self.best.as_ref().is_some_and(|(_, value)| *value <= 0.0));
        let near = match (&self.best, self.goal) {
            (Some((_, value)), Goal::Cost) => value - bound <= self.stop.gap * value.abs(),
            _ => false,
        };
        sign || near || bound >= self.target()
    }

    /// Takes a choice if it is feasible and better than what there is.
    fn offer(&mut self, picks: Vec<usize>) {
        let state = Choice::new(self.compact, self.goal, f64::INFINITY, picks);
        if !state.is_feasible() {
            return;
        }
        let value = match self.goal {
            Goal::Cost => state.cost,
            Goal::Excess(rows) => state.largest_excess(rows),
        };
        if self.best.as_ref().is_none_or(|(_, best)| value < best - 1e-12 * best.abs()) {
            self.best = Some((state.picks, value));
        }
    }

    /// Does several things on their own, each beginning with the best choice so far, and takes the best of all.
    pub(crate) fn all<T: Send, U: Send>(
        &mut self,
        of: impl IntoIterator<Item = T>,
        work: impl Fn(&mut Self, T) -> U + Sync,
    ) -> Vec<U> {
        let forks: Vec<(Self, T)> = of.into_iter().map(|of| (self.clone(), of)).collect();
        let best = |(mut fork, of): (Self, T)| {
            let result = work(&mut fork, of);
            (fork.best, result)
        };
        let found: Vec<(Option<Best>, U)> = forks.into_par_iter().map(best).collect();
        let (best, results): (Vec<_>, Vec<U>) = found.into_iter().unzip();
        for best in best.into_iter().flatten() {
            if self.best.as_ref().is_none_or(|(_, value)| best.1 < *value) {
                self.best = Some(best);
            }
        }
        results
    }

    /// What limits are raised by while a better solution is sought.
    fn slack(&self) -> f64 {
        match (&self.best, self.goal) {
            (Some((_, value)), Goal::Excess(_)) => value - (value.abs() * 2e-3).max(1.0),
            _ => 0.0,
        }
    }

    /// Makes a choice feasible and offers it.
    pub(crate) fn repair_and_offer(&mut self, picks: &[usize], allowed: &[bool]) {
        let guide = Guide { allowed, reduced: &self.reduced };
        let mut state = Choice::new(self.compact, self.goal, self.slack(), picks.to_vec());
        let mut locked = vec![false; picks.len()];
        let feasible = state.repair(&guide, &mut locked, self.stop.at);
        if feasible && *self.goal == Goal::Cost {
            state.fill(&guide, self.stop.at);
        }
        // A start for the excess: whatever the needs allow.
        if feasible || matches!(self.goal, Goal::Excess(_)) {
            self.offer(state.picks);
        }
    }

    /// The options that a better solution may have, going by what each costs at the prices of the whole problem's bound.
    pub(crate) fn fixed(&self, allowed: &[bool]) -> Vec<bool> {
        let most = self.target() - self.base;
        allowed.iter().zip(&self.reduced).map(|(allowed, reduced)| *allowed && *reduced < most).collect()
    }

    /// The part of a part that has only the options given; nothing if it has no solution that is better than the best.
    pub(crate) fn part(&self, node: &Node, allowed: Vec<bool>) -> Option<Node> {
        let best = self.best.as_ref().map(|(_, value)| *value);
        let allowed = self.propagation.all(&limits(self.compact, self.goal, best), &allowed)?.allowed;
        let gone = || (0..allowed.len()).filter(|&option| node.allowed[option] && !allowed[option]);
        let solved = match &node.lp {
            Some(lp) => lp.without(gone()),
            None => Lp::new(self.compact, self.goal, &allowed, self.stop.left()),
        };
        let part = match solved {
            Ok(lp) => Node { bound: lp.bound().max(node.bound), shares: lp.shares(), allowed, lp: Some(lp) },
            Err(Failure::Infeasible) => return None,
            Err(Failure::Unknown) => match relax(self.compact, self.goal, &allowed, self.stop.left()) {
                Relaxation::Infeasible => return None,
                Relaxation::Bounded(Bounded { bound, shares, .. }) => {
                    Node { bound: bound.max(node.bound), shares, allowed, lp: None }
                }
            },
        };
        (part.bound < self.target()).then_some(part)
    }

    /// Works off open parts, at most so many and so long; returns the least bound of what is left or leaves too little free.
    pub(crate) fn explore(&mut self, open: &mut BinaryHeap<Node>, limits: Limits, end: Instant) -> f64 {
        let mut count = 0usize;
        let mut next = None;
        while let Some(node) = next.take().or_else(|| open.pop()) {
            let late = self.is_over() || Instant::now() >= end || count >= limits.parts;
            let least = open.peek().map_or(node.bound, |other| other.bound.min(node.bound));
            if late || self.is_done(least) {
                open.push(node);
                return least.min(self.floor);
            }
            if node.bound >= self.target() {
                continue;
            }
            let is_one = node.allowed.iter().filter(|allowed| **allowed).count() == self.compact.items.len();
            if is_one && self.compact.keeps_free() {
                self.floor = self.floor.min(node.bound);
            }
            count += 1;
            if limits.dives && count.is_power_of_two() && count > 4 {
                self.dive(&node, Order::ALL[count.ilog2() as usize % Order::ALL.len()], end);
            }
            self.offer(rounded(self.compact, &node.shares, &node.allowed));
            let mut parts = self.branch(&node, limits.tried);
            parts.sort_by(|a, b| a.bound.total_cmp(&b.bound));
            let mut parts = parts.into_iter().peekable();
            // The better part at once, as long as it is promising: what is solved already stays near.
            let far = self.target() - least;
            next = parts.next_if(|part| far.is_infinite() || part.bound - least <= PROMISING * far);
            for mut part in parts {
                part.lp = part.lp.filter(|_| open.len() < SOLVED);
                open.push(part);
            }
        }
        self.floor
    }

    /// The parts of a part, split where that raises the bound most.
    fn branch(&mut self, node: &Node, most: usize) -> Vec<Node> {
        let allowed = self.fixed(&node.allowed);
        let mut best: Option<(f64, Vec<Node>)> = None;
        let (mut tried, mut misses) = (0, 0);
        for split in splits(self.compact, &node.allowed, &node.shares, &self.history) {
            if tried >= most || misses >= MISSES || self.is_over() && best.is_some() {
                break;
            }
            tried += 1;
            misses += 1;
            let parts = self.parts(node, &allowed, &split);
            let [with, without] = &parts[..] else { return parts };
            let gains = [with.bound - node.bound, without.bound - node.bound];
            self.history.add(&split, gains[0], gains[1]);
            let score = History::joined(gains[0], gains[1]);
            if best.as_ref().is_none_or(|(most, _)| score > *most) {
                best = Some((score, parts));
                misses = 0;
            }
        }
        best.map_or(Vec::new(), |(_, parts)| parts)
    }

    fn parts(&self, node: &Node, allowed: &[bool], split: &Split) -> Vec<Node> {
        let part = |inside: bool| {
            let mut allowed = allowed.to_vec();
            for option in self.compact.items[split.item].clone() {
                allowed[option] &= split.options.contains(&option) == inside;
            }
            self.part(node, allowed)
        };
        let (with, without) = rayon::join(|| part(true), || part(false));
        with.into_iter().chain(without).collect()
    }
}
