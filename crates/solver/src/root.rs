//! How a problem, or a part of it, is searched: what follows from it, a tight relaxation, first solutions, and then in turn
//! the neighbourhood of the best solution and branch and bound.

use crate::branch::{Best, Limits, Node, Search, Stop, limits};
use crate::branching::History;
use crate::compact::Compact;
use crate::cuts::separate;
use crate::dive::Order;
use crate::dual::{Goal, Prices};
use crate::lp::{Failure, Lp, rows};
use crate::probe::{Conflicts, probe};
use crate::propagate::{Propagation, State};
use crate::random::Random;
use crate::relaxation::{Relaxation, relax};
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
const WIDTH: f64 = 0.1;
/// Where random numbers begin.
const RANDOM: Random = Random(0x9e37_79b9_7f4a_7c15);
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
    Session::new(compact, goal).run(compact, goal, start, stop, stop.left())
}

/// The search of a whole problem, which can go on with other amounts that solutions leave free.
pub(crate) struct Session {
    stage: Option<Stage>,
    prices: Prices,
}

/// How far a search has come.
enum Stage {
    /// Nothing is left to be searched, or nothing is known of what is left: the best choice, and a bound on all others.
    Closed(Option<Best>, f64),
    Begun(Box<Begun>),
}

impl Session {
    pub(crate) fn new(compact: &Compact, goal: &Goal) -> Session {
        Session { stage: None, prices: Prices::start(compact, goal) }
    }

    /// Searches for some seconds beyond what the root takes at first, at most until `stop`.
    pub(crate) fn run(
        &mut self,
        compact: &Compact,
        goal: &Goal,
        start: Option<Vec<usize>>,
        stop: Stop,
        seconds: f64,
    ) -> Found {
        let lowered = compact.keeps_free().then(|| compact.lowered());
        let whole = Propagation::new(compact);
        let lowered = lowered.as_ref().map(Propagation::new);
        let ground = Ground { goal, whole: &whole, kept: lowered.as_ref().unwrap_or(&whole) };
        let stage = match self.stage.take() {
            None => self.begun(&ground, start, stop),
            Some(Stage::Begun(mut begun)) => {
                begun.compact.free.clone_from(&compact.free);
                (begun.known.best, begun.known.starts) = (None, start.into_iter().collect());
                begun.known.best = ground.repaired(&begun.known, &begun.top.allowed, stop);
                Stage::Begun(begun)
            }
            Some(closed) => closed,
        };
        let stop = Stop { at: stop.at.min(Stop::after(seconds, 0.0).at), ..stop };
        let (best, bound) = self.stage.insert(stage).go_on(&ground, stop);
        Found { best, bound, prices: self.prices.clone() }
    }

    fn begun(&mut self, ground: &Ground<'_>, start: Option<Vec<usize>>, stop: Stop) -> Stage {
        let (compact, goal) = (ground.whole.compact, ground.goal);
        let nothing = Stage::Closed(None, f64::INFINITY);
        let whole = ground.whole.all(&limits(compact, goal, None), &vec![true; compact.cost.len()]);
        let Some(State { allowed, .. }) = whole else { return nothing };
        let Relaxation::Bounded(root) = relax(compact, goal, &allowed, stop.left()) else { return nothing };
        self.prices = root.prices;
        let known = Known {
            best: None,
            starts: start.into_iter().chain([root.relaxed.picks]).collect(),
            bound: root.bound,
            base: root.bound,
            reduced: root.relaxed.reduced,
            depth: 0,
        };
        begin(ground, allowed, known, stop)
    }
}

/// What follows by itself: from the limits of the problem, for which bounds are found, and from those that solutions keep.
struct Ground<'a> {
    goal: &'a Goal,
    whole: &'a Propagation<'a>,
    /// The same where solutions leave nothing free.
    kept: &'a Propagation<'a>,
}

impl Ground<'_> {
    /// The best solution near what a part is begun with.
    fn repaired(&self, known: &Known, allowed: &[bool], stop: Stop) -> Option<Best> {
        let mut finder = self.finder(known, stop);
        known.starts.iter().for_each(|picks| finder.repair_and_offer(picks, allowed));
        finder.best
    }

    /// A search for solutions in a part of which so much is known.
    fn finder(&self, known: &Known, stop: Stop) -> Search<'_> {
        Search {
            compact: self.kept.compact,
            propagation: self.kept,
            goal: self.goal,
            stop,
            best: known.best.clone(),
            random: RANDOM,
            history: History::new(self.kept.compact.items.len()),
            reduced: known.reduced.clone(),
            base: known.base,
            depth: known.depth,
            width: WIDTH,
            floor: f64::INFINITY,
        }
    }
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

/// A part with a tight relaxation.
struct Begun {
    /// With cuts.
    compact: Compact,
    /// The whole part.
    top: Node,
    known: Known,
    history: History,
    random: Random,
    width: f64,
}

/// The best choice of allowed options, and a bound on all others.
pub(crate) fn within(
    compact: &Compact,
    goal: &Goal,
    allowed: Vec<bool>,
    known: Known,
    stop: Stop,
) -> (Option<Best>, f64) {
    let whole = Propagation::new(compact);
    let ground = Ground { goal, whole: &whole, kept: &whole };
    begin(&ground, allowed, known, stop).go_on(&ground, stop)
}

/// Makes the relaxation of a part tight.
fn begin(ground: &Ground<'_>, allowed: Vec<bool>, known: Known, stop: Stop) -> Stage {
    let Ground { goal, whole, .. } = *ground;
    let (mut compact, mut allowed, mut known) = (whole.compact.clone(), allowed, known);
    let limits = limits(whole.compact, goal, known.best.as_ref().map(|(_, value)| *value));
    known.best = ground.repaired(&known, &allowed, stop);
    let tight = match goal {
        Goal::Cost => {
            let Some(conflicts) = probe(whole, whole.compact, &limits, &mut allowed, stop.part(PROBING)) else {
                return Stage::Closed(known.best, f64::INFINITY);
            };
            let tight = || tightened(&mut compact, &allowed, &conflicts, &stop);
            // A first solution, meanwhile.
            let first = || (known.depth == 0).then(|| first(ground.finder(&known, stop), &allowed, known.bound));
            let (lp, first) = rayon::join(tight, first);
            known.best = first.flatten().or(known.best);
            lp
        }
        Goal::Excess(_) => Lp::new(&compact, goal, &allowed, stop.left()),
    };
    let lp = match tight {
        Ok(lp) => Some(lp),
        Err(Failure::Infeasible) => return Stage::Closed(known.best, f64::INFINITY),
        Err(Failure::Unknown) => None,
    };
    let mut shares = None;
    // The prices of a bound with cuts forbid more options.
    if known.depth == 0
        && (!compact.cuts.is_empty() || lp.is_none())
        && let Relaxation::Bounded(better) = relax(&compact, goal, &allowed, stop.left())
    {
        shares = Some(better.shares);
        if better.bound > known.base {
            (known.base, known.reduced) = (better.bound, better.relaxed.reduced);
        }
    }
    let Some(shares) = lp.as_ref().map(Lp::shares).or(shares) else {
        return Stage::Closed(known.best, known.bound);
    };
    known.bound = lp.as_ref().map_or(known.bound, |lp| lp.bound().max(known.bound));
    let top = Node { bound: known.bound, allowed, shares, lp };
    let history = History::new(compact.items.len());
    Stage::Begun(Box::new(Begun { compact, top, known, history, random: RANDOM, width: WIDTH }))
}

impl Stage {
    /// The best choice, and a bound on all others.
    fn go_on(&mut self, ground: &Ground<'_>, stop: Stop) -> (Option<Best>, f64) {
        match self {
            Stage::Closed(best, bound) => (best.take(), *bound),
            Stage::Begun(begun) => begun.search(ground, stop),
        }
    }
}

impl Begun {
    /// Searches from the top. The bound stays for another time, what was found does not.
    fn search(&mut self, ground: &Ground<'_>, stop: Stop) -> (Option<Best>, f64) {
        let Ground { goal, whole, kept } = *ground;
        let Begun { compact, top: node, known, history, random, width } = self;
        let depth = known.depth;
        let leaves_free = compact.keeps_free();
        let lowered = leaves_free.then(|| compact.lowered());
        let mut search = ground.finder(known, stop);
        (search.compact, search.propagation, search.width) = (compact, whole, *width);
        (search.history, search.random) = (history.clone(), *random);
        let mut finder = search.clone();
        let mut top = Some(node.clone());
        if let Some(lowered) = &lowered {
            (finder.compact, finder.propagation) = (lowered, kept);
            top = finder.part(&node.clone().unsolved(), node.allowed.clone());
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
                let goal = Goal::Excess(0..whole.compact.limits.len());
                let feasible = solve(kept.compact, &goal, known.starts.first().cloned(), stop);
                if feasible.bound > 1e-3 && !leaves_free {
                    return (None, f64::INFINITY);
                }
                feasible.best.into_iter().for_each(|(picks, _)| finder.repair_and_offer(&picks, &top.allowed));
            }
        }
        let mut open = BinaryHeap::from([node.clone()]);
        let mut left = known.bound;
        while !open.is_empty() && !search.is_done(left) && !search.is_over() {
            if let Some(top) = top.as_ref().filter(|_| depth < DEPTH) {
                finder.near(top, stop.part(TURN));
            }
            search.best = finder.best.take();
            left = search.explore(&mut open, Limits::of(stop.effort), stop.part(TURN));
            finder.best = search.best.clone();
            // Nothing better leaves as much free.
            if stop.effort.is_some() || leaves_free && top.as_ref().is_some_and(|top| finder.is_done(top.bound)) {
                break;
            }
        }
        search.best = finder.best;
        let bound = known.bound.max(left);
        let is_closed = bound >= search.target();
        let proved =
            search.best.as_ref().map_or(bound, |(_, value)| if is_closed { *value } else { bound.min(*value) });
        known.bound = known.bound.max(proved);
        (*history, *random, *width) = (search.history, finder.random, finder.width);
        (search.best, proved)
    }
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
