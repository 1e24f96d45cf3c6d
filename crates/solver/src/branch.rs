//! Branch and bound: the choice is split until bounds and solutions meet, or the time is over.

use crate::compact::Compact;
use crate::dual::{Goal, Prices};
use crate::random::Random;
use crate::relaxation::{Bounded, Relaxation, relax};
use crate::search::{Guide, State};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// Parts that are kept at most; beyond that the time counts as over.
const NODES: usize = 200_000;
/// A dive decides this part of the open items at a time, one of so many.
const PART: usize = 8;
/// How many decisions of a dive are taken back.
const RETRACED: usize = 15;
/// Attempts in a row to improve a solution without success, after which only the bound is raised.
const ATTEMPTS: usize = 300;

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The best choice and its value: cost, or excess.
    pub(crate) best: Option<(Vec<usize>, f64)>,
    /// No choice has a smaller value.
    pub(crate) bound: f64,
    /// The prices of the whole problem's bound.
    pub(crate) prices: Prices,
}

/// When a search ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    pub(crate) at: Instant,
    /// The part of the value that may be left open.
    pub(crate) gap: f64,
    /// Whether it is enough to know on which side of zero the value is.
    pub(crate) sign: bool,
    /// When to give up if there is no solution yet.
    pub(crate) patience: Instant,
}

impl Stop {
    pub(crate) fn after(seconds: f64, gap: f64) -> Stop {
        let seconds = if seconds.is_finite() { seconds.clamp(0.0, 1e6) } else { 1e6 };
        let at = Instant::now() + Duration::from_secs_f64(seconds);
        Stop { at, gap, sign: false, patience: at }
    }

    /// Seconds that are left.
    fn left(&self) -> f64 {
        self.at.saturating_duration_since(Instant::now()).as_secs_f64()
    }
}

/// A part of the problem, not yet bounded by itself.
struct Node {
    bound: f64,
    allowed: Vec<bool>,
}

/// Options of an item that it is reduced to, and their share.
#[derive(Clone)]
struct Decision {
    item: usize,
    options: Vec<usize>,
    share: f64,
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

struct Search<'a> {
    compact: &'a Compact,
    goal: &'a Goal,
    stop: Stop,
    best: Option<(Vec<usize>, f64)>,
    random: Random,
}

/// The best choice, and a bound on all others.
pub(crate) fn solve(compact: &Compact, goal: &Goal, start: Option<Vec<usize>>, stop: Stop) -> Found {
    let mut search = Search { compact, goal, stop, best: None, random: Random(0x9e37_79b9_7f4a_7c15) };
    let mut allowed = vec![true; compact.cost.len()];
    let none = Found { best: None, bound: f64::INFINITY, prices: Prices::start(compact, goal) };
    if !search.propagate(&mut allowed) {
        return none;
    }
    let Relaxation::Bounded(root) = relax(compact, goal, &allowed, stop.left()) else { return none };
    let prices = root.prices.clone();
    for picks in start.iter().chain([&root.relaxed.picks]) {
        search.repair_and_offer(picks, &allowed, &root.relaxed.reduced);
    }
    for largest in [false, true] {
        search.dive(&allowed, &root, largest);
    }
    search.fix(&mut allowed, &root);
    search.polish(&allowed, &root);
    let mut bound = root.bound;
    if !search.is_done(bound) {
        let mut open = BinaryHeap::new();
        search.split(&mut open, allowed, &root);
        bound = bound.max(search.explore(&mut open));
    }
    let bound = search.best.as_ref().map_or(bound, |(_, value)| bound.min(*value));
    Found { best: search.best, bound, prices }
}

/// The option of the largest share for each item.
fn rounded(compact: &Compact, shares: &[f64], allowed: &[bool]) -> Vec<usize> {
    let largest = |item: &std::ops::Range<usize>| {
        let options = item.clone().filter(|&option| allowed[option]);
        options.max_by(|&a, &b| shares[a].total_cmp(&shares[b]).then(b.cmp(&a))).unwrap_or(item.start)
    };
    compact.items.iter().map(largest).collect()
}

impl Search<'_> {
    /// What a bound has to reach to end the search.
    fn target(&self) -> f64 {
        match (&self.best, self.goal) {
            (Some((_, value)), Goal::Cost) => *value - 1e-9 * value.abs(),
            // Amounts are integers.
            (Some((_, value)), Goal::Excess(_)) => *value - 1.0 + 1e-3,
            (None, _) => f64::INFINITY,
        }
    }

    fn is_over(&self) -> bool {
        let now = Instant::now();
        now >= self.stop.at || self.best.is_none() && now >= self.stop.patience
    }

    fn is_done(&self, bound: f64) -> bool {
        let sign = self.stop.sign && (bound > 1e-3 || self.best.as_ref().is_some_and(|(_, value)| *value <= 0.0));
        let near = match (&self.best, self.goal) {
            (Some((_, value)), Goal::Cost) => value - bound <= self.stop.gap * value.abs(),
            _ => false,
        };
        sign || near || bound >= self.target()
    }

    /// Takes a choice if it is feasible and better than what there is.
    fn offer(&mut self, picks: Vec<usize>) -> bool {
        let state = State::new(self.compact, self.goal, f64::INFINITY, picks);
        if !state.is_feasible() {
            return false;
        }
        let value = match self.goal {
            Goal::Cost => state.cost,
            Goal::Excess(rows) => state.largest_excess(rows),
        };
        let better = self.best.as_ref().is_none_or(|(_, best)| value < best - 1e-12 * best.abs());
        if better {
            self.best = Some((state.picks, value));
        }
        better
    }

    /// What limits are raised by while a better solution is sought.
    fn slack(&self) -> f64 {
        match (&self.best, self.goal) {
            (Some((_, value)), Goal::Excess(_)) => value - (value.abs() * 2e-3).max(1.0),
            _ => 0.0,
        }
    }

    /// Makes a choice feasible and offers it.
    fn repair_and_offer(&mut self, picks: &[usize], allowed: &[bool], reduced: &[f64]) -> bool {
        let guide = Guide { allowed, reduced };
        let mut state = State::new(self.compact, self.goal, self.slack(), picks.to_vec());
        let mut locked = vec![false; picks.len()];
        let feasible = state.repair(&guide, &mut locked, self.stop.at);
        if feasible && *self.goal == Goal::Cost {
            state.fill(&guide, self.stop.at);
        }
        // A start for the excess: whatever the needs allow.
        if feasible || matches!(self.goal, Goal::Excess(_)) { self.offer(state.picks) } else { false }
    }

    /// Improves the best solution: takes a cheaper option, pays for it elsewhere, and keeps what is better.
    fn polish(&mut self, allowed: &[bool], root: &Bounded) {
        let guide = Guide { allowed, reduced: &root.relaxed.reduced };
        let mut misses = 0;
        // The bound needs time too.
        let end = self.stop.left() / 2.0;
        while misses < ATTEMPTS && !self.is_done(root.bound) && self.stop.left() > end {
            let Some((picks, _)) = self.best.clone() else { return };
            misses += 1;
            let mut state = State::new(self.compact, self.goal, self.slack(), picks);
            let mut locked = vec![false; state.picks.len()];
            // One to three options that the prices favour.
            for _ in 0..1 + self.random.below(3) {
                if let Some(option) = self.favoured(&state, &guide) {
                    state.choose(option, &guide, &mut locked);
                }
            }
            if state.repair(&guide, &mut locked, self.stop.at) {
                if *self.goal == Goal::Cost {
                    state.fill(&guide, self.stop.at);
                }
                if self.offer(state.picks) {
                    misses = 0;
                }
            }
        }
    }

    /// An option that prices favour over the one that is chosen.
    fn favoured(&mut self, state: &State<'_>, guide: &Guide<'_>) -> Option<usize> {
        let better = |&option: &usize| {
            let pick = state.picks[self.compact.item_of[option]];
            let (cost, old) = (self.compact.cost[option], self.compact.cost[pick]);
            option != pick && guide.allowed[option] && (guide.reduced[option] < guide.reduced[pick] || cost < old)
        };
        let options: Vec<usize> = (0..self.compact.cost.len()).filter(better).collect();
        options.get(self.random.below(options.len())).copied()
    }

    /// Forbids options whose price alone exceeds the best solution.
    fn fix(&self, allowed: &mut [bool], at: &Bounded) {
        let target = self.target();
        for (allowed, reduced) in allowed.iter_mut().zip(&at.relaxed.reduced) {
            *allowed &= at.bound + reduced < target;
        }
    }

    /// Follows the relaxation down: decides items as their shares say until all are decided, either a part of them at a
    /// time, the clearest first, or one at a time beside the clear ones, that of the largest amounts first. When amounts
    /// are taken is decided before how large they are.
    ///
    /// A part that leaves no solution is made smaller. A single decision that leaves none is forbidden; where that leaves
    /// none either, an earlier one is.
    fn dive(&mut self, allowed: &[bool], at: &Bounded, largest: bool) {
        let mut allowed = allowed.to_vec();
        let (mut shares, mut reduced) = (at.shares.clone(), at.relaxed.reduced.clone());
        let mut part = PART;
        let mut before: Vec<(Vec<bool>, Decision)> = Vec::new();
        let mut retraced = 0;
        while !self.is_over() {
            let mut open = self.decisions(&allowed, &shares);
            if open.is_empty() {
                let top = rounded(self.compact, &shares, &allowed);
                self.repair_and_offer(&top, &allowed, &reduced);
                return;
            }
            let sure = if part > PART { 0 } else { open.iter().filter(|decision| decision.share > 0.999).count() };
            if largest {
                let weight = |decision: &Decision| self.weight(decision.item);
                let heaviest = (sure..open.len()).max_by(|&a, &b| weight(&open[a]).total_cmp(&weight(&open[b])));
                let heaviest = heaviest.map(|at| open[at].clone());
                open.truncate(sure);
                open.extend(heaviest);
            } else {
                let count = sure.max(open.len().div_ceil(part));
                open.truncate(count);
            }
            let mut trial = allowed.clone();
            for decision in &open {
                let options = self.compact.items[decision.item].clone();
                options.for_each(|option| trial[option] &= decision.options.contains(&option));
            }
            let Some(last) = open.last().cloned() else { return };
            match self.bounded(&mut trial) {
                Some(found) => {
                    before.push((std::mem::replace(&mut allowed, trial), last));
                    (shares, reduced) = (found.shares, found.relaxed.reduced);
                    part = (part / 2).max(PART);
                }
                None if open.len() > 1 => part = part.saturating_mul(8),
                None => {
                    before.push((allowed, last));
                    loop {
                        let Some((mut earlier, decision)) = before.pop() else { return };
                        decision.options.iter().for_each(|&option| earlier[option] = false);
                        if let Some(found) = self.bounded(&mut earlier) {
                            (allowed, shares, reduced) = (earlier, found.shares, found.relaxed.reduced);
                            break;
                        }
                        retraced += 1;
                        if retraced > RETRACED {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// What is undecided, the clearest first: of an item whose options take amounts at different times those of the largest
    /// share together, of another one the option of the largest share.
    fn decisions(&self, allowed: &[bool], shares: &[f64]) -> Vec<Decision> {
        let mut found = Vec::new();
        for (item, options) in self.compact.items.iter().enumerate() {
            let open: Vec<usize> = options.clone().filter(|&option| allowed[option]).collect();
            if open.len() < 2 {
                continue;
            }
            let times = |option: usize| self.compact.spans[option].iter().map(|span| (span.first, span.end));
            let mut groups: Vec<Decision> = Vec::new();
            for &option in &open {
                match groups.iter_mut().find(|group| times(group.options[0]).eq(times(option))) {
                    Some(group) => {
                        group.options.push(option);
                        group.share += shares[option];
                    }
                    None => groups.push(Decision { item, options: vec![option], share: shares[option] }),
                }
            }
            if groups.len() == 1 {
                groups = open
                    .iter()
                    .map(|&option| Decision { item, options: vec![option], share: shares[option] })
                    .collect();
            }
            found.extend(groups.into_iter().max_by(|a, b| a.share.total_cmp(&b.share)));
        }
        found.sort_by(|a, b| b.share.total_cmp(&a.share));
        found
    }

    /// By how much the options of an item differ in what they take.
    fn weight(&self, item: usize) -> f64 {
        let size = |option: usize| -> f64 {
            self.compact.spans[option].iter().map(|s| s.amount * (s.end - s.first) as f64).sum()
        };
        let sizes = self.compact.items[item].clone().map(size);
        sizes.clone().fold(f64::NEG_INFINITY, f64::max) - sizes.fold(f64::INFINITY, f64::min)
    }

    /// What is left of a part of the problem and its relaxation; nothing if it has no solution.
    fn bounded(&self, allowed: &mut [bool]) -> Option<Bounded> {
        if !self.propagate(allowed) {
            return None;
        }
        match relax(self.compact, self.goal, allowed, self.stop.left()) {
            Relaxation::Bounded(found) => Some(found),
            Relaxation::Infeasible => None,
        }
    }

    /// Forbids options that limits or needs rule out; whether every item has one left.
    fn propagate(&self, allowed: &mut [bool]) -> bool {
        let compact = self.compact;
        let mut limits = compact.limits.clone();
        if let Goal::Excess(range) = self.goal {
            let raised = self.best.as_ref().map_or(f64::INFINITY, |(_, value)| *value);
            limits[range.clone()].iter_mut().for_each(|limit| *limit += raised);
        }
        loop {
            let mut changed = false;
            for need in &compact.needs {
                if !need.to.iter().any(|&option| allowed[option]) {
                    for &option in need.from.iter() {
                        changed |= std::mem::replace(&mut allowed[option], false);
                    }
                }
            }
            changed |= self.forbid_excess(allowed, &limits);
            if compact.items.iter().any(|item| !item.clone().any(|option| allowed[option])) {
                return false;
            }
            if !changed {
                return true;
            }
        }
    }

    /// Forbids options that exceed a limit even if all other items take as little as they can.
    fn forbid_excess(&self, allowed: &mut [bool], limits: &[f64]) -> bool {
        let compact = self.compact;
        let rows = limits.len();
        let mut least = vec![0.0; rows];
        let mut own: Vec<Vec<f64>> = Vec::with_capacity(compact.items.len());
        for item in &compact.items {
            let mut lowest = vec![f64::INFINITY; rows];
            for option in item.clone().filter(|&option| allowed[option]) {
                let taken = taken(compact, option);
                lowest.iter_mut().zip(&taken).for_each(|(lowest, taken)| *lowest = lowest.min(*taken));
            }
            least.iter_mut().zip(&lowest).for_each(|(least, lowest)| *least += lowest);
            own.push(lowest);
        }
        let mut changed = false;
        for (item, own) in compact.items.iter().zip(&own) {
            for option in item.clone() {
                if allowed[option] {
                    let taken = taken(compact, option);
                    let over = (0..rows).any(|row| least[row] - own[row] + taken[row] > limits[row]);
                    if over {
                        (allowed[option], changed) = (false, true);
                    }
                }
            }
        }
        changed
    }

    /// Puts two parts of a problem on the heap: the option of the largest share of an undecided item chosen, or forbidden.
    fn split(&mut self, open: &mut BinaryHeap<Node>, allowed: Vec<bool>, at: &Bounded) {
        let shares = &at.shares;
        let mut chosen: Option<(f64, usize)> = None;
        for item in &self.compact.items {
            let options: Vec<usize> = item.clone().filter(|&option| allowed[option]).collect();
            let Some(&top) = options.iter().max_by(|&&a, &&b| shares[a].total_cmp(&shares[b]).then(b.cmp(&a))) else {
                continue;
            };
            if options.len() < 2 {
                continue;
            }
            // Large tensors first among those that are undecided.
            let size = |option: usize| {
                self.compact.spans[option].iter().map(|s| s.amount.abs() * (s.end - s.first) as f64).sum::<f64>()
            };
            let sizes = options.iter().map(|&option| size(option));
            let spread = sizes.clone().fold(0.0, f64::max) - sizes.fold(f64::INFINITY, f64::min);
            let value = (1.0 - shares[top] + 1e-6) * (spread + 1.0);
            if chosen.is_none_or(|(most, _)| value > most) {
                chosen = Some((value, top));
            }
        }
        let Some((_, option)) = chosen else {
            self.offer(rounded(self.compact, shares, &allowed));
            return;
        };
        let mut without = allowed.clone();
        without[option] = false;
        let mut with = allowed;
        for other in self.compact.items[self.compact.item_of[option]].clone() {
            with[other] &= other == option;
        }
        for mut allowed in [with, without] {
            if self.propagate(&mut allowed) {
                open.push(Node { bound: at.bound, allowed });
            }
        }
    }

    /// Works off the open parts; returns the least bound of what is left.
    fn explore(&mut self, open: &mut BinaryHeap<Node>) -> f64 {
        let mut count = 0usize;
        while let Some(Node { bound, mut allowed }) = open.pop() {
            if self.is_done(bound) || self.is_over() || open.len() >= NODES {
                return bound;
            }
            count += 1;
            let Relaxation::Bounded(mut at) = relax(self.compact, self.goal, &allowed, self.stop.left()) else {
                continue;
            };
            at.bound = at.bound.max(bound);
            if at.bound >= self.target() {
                continue;
            }
            if count.is_power_of_two() {
                self.dive(&allowed, &at, count.is_multiple_of(4));
            }
            self.offer(rounded(self.compact, &at.shares, &allowed));
            self.fix(&mut allowed, &at);
            if self.propagate(&mut allowed) {
                self.split(open, allowed, &at);
            }
        }
        f64::INFINITY
    }
}

/// What an option takes in every row.
fn taken(compact: &Compact, option: usize) -> Vec<f64> {
    let mut taken = vec![0.0; compact.limits.len()];
    for span in &compact.spans[option] {
        taken[span.first..span.end].iter_mut().for_each(|taken| *taken += span.amount);
    }
    taken
}
