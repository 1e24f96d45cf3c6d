//! How a problem, or a part of it, is searched: what follows from it, a tight relaxation, first solutions, and then in turn
//! the neighbourhood of the best solution and branch and bound.

use crate::branch::{Best, Limits, Node, Search, Stop, limits};
use crate::compact::Compact;
use crate::cuts::separate;
use crate::dive::Order;
use crate::dual::{Goal, Prices};
use crate::lp::{Failure, Lp, rows};
use crate::probe::{Conflicts, probe};
use crate::propagate::{Propagation, State};
use crate::random::Random;
use crate::relaxation::{Relaxation, relax};
use crate::split::History;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Rounds of cuts, and how many of them one round takes.
const ROUNDS: usize = 25;
const CUTS: usize = 40;
/// Cuts go on while the bound rises by this part of it in some rounds.
const RISE: f64 = 2e-3;
/// The part of the time that probing may take.
const PROBING: f64 = 0.15;
/// The part of the time that cuts may take.
const CUTTING: f64 = 0.25;
/// The part of what is left of it for the dives from the root, for what its shares leave undecided, and for the search of any
/// solution if they find none.
const DIVING: f64 = 0.5;
const SUPPORT: f64 = 0.25;
const FEASIBILITY: f64 = 0.4;
/// The part of what is left of it after which the neighbourhoods of the best solution give way to the bound, and back.
const TURN: f64 = 0.25;
/// The part of the items that a neighbourhood leaves open at first.
const WIDTH: f64 = 0.3;
/// Parts of parts that are searched like the whole.
const DEPTH: usize = 1;

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The best choice.
    pub(crate) best: Option<Best>,
    /// No choice has a smaller value.
    pub(crate) bound: f64,
    /// The prices of the whole problem's bound.
    pub(crate) prices: Prices,
}

/// The best choice, and a bound on all others.
pub(crate) fn solve(compact: &Compact, goal: &Goal, start: Option<Vec<usize>>, stop: Stop) -> Found {
    let none = Found { best: None, bound: f64::INFINITY, prices: Prices::start(compact, goal) };
    let whole = Propagation::new(compact).all(&limits(compact, goal, None), &vec![true; compact.cost.len()]);
    let Some(State { allowed, .. }) = whole else { return none };
    let Relaxation::Bounded(root) = relax(compact, goal, &allowed, stop.left()) else { return none };
    let prices = root.prices.clone();
    let known = Known {
        best: None,
        starts: start.into_iter().chain([root.relaxed.picks.clone()]).collect(),
        bound: root.bound,
        base: root.bound,
        reduced: root.relaxed.reduced,
        depth: 0,
    };
    let (best, bound) = within(compact, goal, allowed, known, stop);
    Found { best, bound, prices }
}

/// What is known of a part before it is searched.
pub(crate) struct Known {
    /// A choice and its value; only better ones are sought.
    pub(crate) best: Option<Best>,
    /// Choices to begin with.
    pub(crate) starts: Vec<Vec<usize>>,
    /// No choice in the part has a smaller value.
    pub(crate) bound: f64,
    /// By option, what it costs beyond the best of its item at the prices of a bound, and that bound.
    pub(crate) reduced: Vec<f64>,
    pub(crate) base: f64,
    /// How many parts this one is part of.
    pub(crate) depth: usize,
}

/// The best choice of allowed options, and a bound on all others.
pub(crate) fn within(
    uncut: &Compact,
    goal: &Goal,
    allowed: Vec<bool>,
    known: Known,
    stop: Stop,
) -> (Option<Best>, f64) {
    let mut compact = uncut.clone();
    let mut allowed = allowed;
    let Known { mut best, starts, bound, mut reduced, mut base, depth } = known;
    let propagation = &Propagation::new(uncut);
    // Solutions are sought where they leave enough free, bounds are found for all choices.
    let lowered = uncut.keeps_free().then(|| uncut.lowered());
    let lowered_propagation = lowered.as_ref().map(Propagation::new);
    let in_lowered = lowered_propagation.as_ref().unwrap_or(propagation);
    let random = Random(0x9e37_79b9_7f4a_7c15);
    let limits = limits(uncut, goal, best.as_ref().map(|(_, value)| *value));
    let search = |compact, propagation, best, reduced, base| {
        let history = History::new(uncut.items.len());
        let (width, floor) = (WIDTH, f64::INFINITY);
        Search { compact, propagation, goal, stop, best, random, history, reduced, base, depth, width, floor }
    };
    let mut finder = search(in_lowered.compact, in_lowered, best, reduced.clone(), base);
    for picks in &starts {
        finder.repair_and_offer(picks, &allowed);
    }
    best = finder.best;
    let tight = match goal {
        Goal::Cost => {
            let Some(conflicts) = probe(propagation, uncut, &limits, &mut allowed, stop.part(PROBING)) else {
                return (best, f64::INFINITY);
            };
            let tight = || tightened(&mut compact, &allowed, &conflicts, &stop);
            // A first solution, meanwhile.
            let first = || {
                (depth == 0).then(|| {
                    first(search(in_lowered.compact, in_lowered, best.clone(), reduced.clone(), base), &allowed, bound)
                })
            };
            let (lp, first) = rayon::join(tight, first);
            best = first.flatten().or(best);
            lp
        }
        Goal::Excess(_) => Lp::new(&compact, goal, &allowed, stop.left()),
    };
    let lp = match tight {
        Ok(lp) => Some(lp),
        Err(Failure::Infeasible) => return (best, f64::INFINITY),
        Err(Failure::Unknown) => None,
    };
    let mut shares = None;
    // The prices of a bound with cuts forbid more options.
    if depth == 0
        && (!compact.cuts.is_empty() || lp.is_none())
        && let Relaxation::Bounded(better) = relax(&compact, goal, &allowed, stop.left())
    {
        shares = Some(better.shares);
        if better.bound > base {
            (base, reduced) = (better.bound, better.relaxed.reduced);
        }
    }
    let Some(shares) = lp.as_ref().map(Lp::shares).or(shares) else { return (best, bound) };
    let mut bound = lp.as_ref().map_or(bound, |lp| lp.bound().max(bound));
    let node = Node { bound, allowed, shares, lp };
    let mut search = search(&compact, propagation, best, reduced, base);
    let lowered = lowered.is_some().then(|| compact.lowered());
    let mut finder = search.clone();
    let mut top = Some(node.clone());
    if let Some(lowered) = &lowered {
        (finder.compact, finder.propagation) = (lowered, in_lowered);
        top = finder.part(&Node { lp: None, ..node.clone() }, node.allowed.clone());
    }
    if let Some(top) = &top {
        let dives = Order::ALL.map(Some);
        let support = (depth == 0 && *goal == Goal::Cost).then_some(None);
        let (end, soon) = (stop.part(DIVING), stop.part(SUPPORT));
        finder.all(dives.into_iter().chain(support), |finder, order| match order {
            Some(order) => finder.dive(top, order, end),
            None => {
                finder.support(top, soon);
            }
        });
        if depth == 0 && *goal == Goal::Cost && finder.best.is_none() {
            // Feasibility is a question of its own: is the least excess over all limits at most 0?
            let stop = Stop { at: stop.part(FEASIBILITY), sign: true, ..stop };
            let goal = Goal::Excess(0..uncut.limits.len());
            let feasible = solve(finder.propagation.compact, &goal, starts.into_iter().next(), stop);
            if feasible.bound > 1e-3 && lowered.is_none() {
                return (None, f64::INFINITY);
            }
            feasible.best.into_iter().for_each(|(picks, _)| finder.repair_and_offer(&picks, &top.allowed));
        }
    }
    let mut open = BinaryHeap::from([node.clone()]);
    let mut left = bound;
    while !open.is_empty() && !search.is_done(left) && !search.is_over() {
        if let Some(top) = top.as_ref().filter(|_| depth < DEPTH) {
            finder.near(top, stop.part(TURN));
        }
        search.best = finder.best.take();
        left = search.explore(&mut open, Limits::NONE, stop.part(TURN));
        finder.best = search.best.clone();
        // Nothing better leaves as much free.
        if lowered.is_some() && top.as_ref().is_some_and(|top| finder.is_done(top.bound)) {
            break;
        }
    }
    search.best = finder.best;
    bound = bound.max(left);
    let is_closed = bound >= search.target();
    let bound = search.best.as_ref().map_or(bound, |(_, value)| if is_closed { *value } else { bound.min(*value) });
    (search.best, bound)
}

/// A solution by a dive from a relaxation without cuts.
fn first(mut search: Search<'_>, allowed: &[bool], bound: f64) -> Option<Best> {
    if let Ok(lp) = Lp::new(search.compact, search.goal, allowed, search.stop.left()) {
        let node = Node { bound, allowed: allowed.to_vec(), shares: lp.shares(), lp: Some(lp) };
        search.dive(&node, Order::Clearest, search.stop.part(DIVING));
    }
    search.best
}

/// Finds cuts and solves the relaxation with them.
fn tightened(compact: &mut Compact, allowed: &[bool], conflicts: &Conflicts, stop: &Stop) -> Result<Lp, Failure> {
    let end = stop.part(CUTTING);
    let mut lp = Lp::new(compact, &Goal::Cost, allowed, stop.left())?;
    let rows = rows(compact, allowed);
    let mut bounds = vec![lp.bound()];
    for _ in 0..ROUNDS {
        let shares = lp.shares();
        let mut found = conflicts.separate(compact, allowed, &shares, CUTS);
        found.extend(separate(compact, &rows, allowed, &shares, CUTS));
        if found.is_empty() || Instant::now() >= end {
            break;
        }
        compact.cuts.extend(found);
        // Those that do not bind make all further work slower.
        lp = Lp::new(compact, &Goal::Cost, allowed, stop.left())?;
        let shares = lp.shares();
        compact.cuts.retain(|cut| {
            let sum: f64 = cut.terms.iter().map(|&(option, factor)| factor * shares[option]).sum();
            sum > cut.limit - 1e-6
        });
        bounds.push(lp.bound());
        let before = bounds[bounds.len().saturating_sub(4)];
        if bounds.len() > 4 && lp.bound() - before <= RISE * lp.bound().abs() {
            break;
        }
    }
    Lp::new(compact, &Goal::Cost, allowed, stop.left())
}
