//! The search of a problem or subproblem: presolve, a relaxation tightened by cuts, first solutions by diving, then
//! neighbourhood search and branch and bound in turn.

use crate::branch::NodeLimits;
use crate::branching::Pseudocosts;
use crate::by_prices::{self, is_large};
use crate::compact::Compact;
use crate::cuts::separate_covers;
use crate::dive::Order;
use crate::dual::{Objective, Prices};
use crate::lp::{Failure, Lp};
use crate::neighbourhood;
use crate::node::Node;
use crate::probe::{Conflicts, probe};
use crate::propagate::{Domains, Propagation};
use crate::random::Random;
use crate::relaxation::{Bounded, Relaxation, relax};
use crate::search::{Incumbent, Search, limits};
use crate::stop::Stop;
use std::collections::BinaryHeap;
use std::time::Instant;

/// The number of rounds of cuts.
const ROUNDS: usize = 25;
/// The number of cuts of each kind per round.
const CUTS: usize = 40;
/// Cut rounds end when the dual bound rises by less than this fraction over a few of them.
const RISE: f64 = 2e-3;
/// The fraction of the time for probing.
const PROBING: f64 = 0.15;
/// The fraction of the time for cuts.
const CUTTING: f64 = 0.25;
/// The fraction of the remaining time for dives from the root.
const DIVING: f64 = 0.5;
/// The fraction of the remaining time for the fractional items of the root.
const FRACTIONAL: f64 = 0.25;
/// The fraction of the remaining time for the feasibility problem.
const FEASIBILITY: f64 = 0.4;
/// The fraction of the remaining time after which neighbourhood search and branch and bound take turns.
const TURN: f64 = 0.25;
/// The initial fraction of the items that a neighbourhood leaves open.
const NEIGHBOURHOOD_SIZE: f64 = 0.1;
/// The initial state of random numbers.
const RANDOM: Random = Random(0x9e37_79b9_7f4a_7c15);
/// The depth of subproblems from which no neighbourhoods are searched.
const DEPTH: usize = 1;

/// The result of a search.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) incumbent: Option<Incumbent>,
    /// The dual bound.
    pub(crate) bound: f64,
    /// The prices of the root's Lagrangian bound.
    pub(crate) prices: Prices,
}

/// Searches a problem for the least value of an objective.
pub(crate) fn solve(compact: &Compact, objective: &Objective, start: Option<Vec<usize>>, stop: Stop) -> Found {
    Session::new(compact, objective).run(compact, objective, start, stop, stop.seconds_left())
}

/// A resumable search of a problem, whose reserve may change in between.
pub(crate) struct Session {
    stage: Option<Stage>,
    prices: Prices,
    /// The relaxation of a large program.
    relaxed: Option<Bounded>,
}

/// The stage of a search.
enum Stage {
    /// The search is over: the problem is solved, or nothing is known of its relaxation.
    Closed(Option<Incumbent>, f64),
    /// The search can go on from the root node.
    Open(Box<Root>),
}

impl Session {
    /// Creates a search that has not begun.
    pub(crate) fn new(compact: &Compact, objective: &Objective) -> Session {
        Session { stage: None, relaxed: None, prices: Prices::start(compact, objective) }
    }

    /// Searches for some seconds, not counting the first call's work at the root, at most until `stop`.
    pub(crate) fn run(
        &mut self,
        compact: &Compact,
        objective: &Objective,
        start: Option<Vec<usize>>,
        stop: Stop,
        seconds: f64,
    ) -> Found {
        if is_large(compact) {
            return self.run_by_prices(compact, objective, start, stop, seconds);
        }
        let lowered = compact.has_reserve().then(|| compact.lowered());
        let full = Propagation::new(compact);
        let lowered = lowered.as_ref().map(Propagation::new);
        let model = Model { objective, full: &full, lowered: lowered.as_ref().unwrap_or(&full) };
        let stage = match self.stage.take() {
            None => self.begin(&model, start, stop),
            Some(Stage::Open(mut root)) => {
                root.compact.reserve.clone_from(&compact.reserve);
                (root.known.incumbent, root.known.starts) = (None, start.into_iter().collect());
                root.known.incumbent = model.repaired(&root.known, &root.node.allowed, stop);
                Stage::Open(root)
            }
            Some(closed) => closed,
        };
        let stop = Stop { deadline: stop.deadline.min(Stop::after(seconds, 0.0).deadline), ..stop };
        let (incumbent, bound) = self.stage.insert(stage).resume(&model, stop);
        Found { incumbent, bound, prices: self.prices.clone() }
    }

    /// As [`Session::run`] where the program is large.
    fn run_by_prices(
        &mut self,
        compact: &Compact,
        objective: &Objective,
        start: Option<Vec<usize>>,
        stop: Stop,
        seconds: f64,
    ) -> Found {
        let Some(relaxed) = self.relaxed.take().or_else(|| by_prices::relaxed(compact, objective, &stop)) else {
            return Found { incumbent: None, bound: f64::INFINITY, prices: self.prices.clone() };
        };
        let stop = Stop { deadline: stop.deadline.min(Stop::after(seconds, 0.0).deadline), ..stop };
        let incumbent = by_prices::search(compact, objective, &relaxed, start, &stop);
        self.prices.clone_from(&relaxed.prices);
        let relaxed = self.relaxed.insert(relaxed);
        Found { incumbent, bound: relaxed.bound, prices: self.prices.clone() }
    }

    /// Propagates the problem, solves its relaxation and tightens it.
    fn begin(&mut self, model: &Model<'_>, start: Option<Vec<usize>>, stop: Stop) -> Stage {
        let (compact, objective) = (model.full.compact, model.objective);
        let infeasible = Stage::Closed(None, f64::INFINITY);
        let domains = model.full.propagate(&limits(compact, objective, None), &vec![true; compact.cost.len()]);
        let Some(Domains { allowed, .. }) = domains else { return infeasible };
        let relaxation = relax(compact, objective, &allowed, stop.seconds_left());
        let Relaxation::Bounded(relaxed) = relaxation else { return infeasible };
        let priced = by_prices::search(compact, objective, &relaxed, None, &stop).map(|(picks, _)| picks);
        self.prices = relaxed.prices;
        let known = Known {
            incumbent: None,
            starts: start.into_iter().chain(priced).chain([relaxed.lagrangian.picks]).collect(),
            bound: relaxed.bound,
            lagrangian_bound: relaxed.bound,
            reduced_costs: relaxed.lagrangian.reduced_costs,
            depth: 0,
        };
        tighten(model, allowed, known, stop)
    }
}

/// The problem with its whole limits, for dual bounds, and with limits lowered by the reserve, for solutions.
struct Model<'a> {
    objective: &'a Objective,
    full: &'a Propagation<'a>,
    /// The same as `full` where there is no reserve.
    lowered: &'a Propagation<'a>,
}

impl Model<'_> {
    /// Repairs the known starts; returns the best solution.
    fn repaired(&self, known: &Known, allowed: &[bool], stop: Stop) -> Option<Incumbent> {
        let mut heuristics = self.heuristics(known, stop);
        known.starts.iter().for_each(|picks| heuristics.repair_and_offer(picks, allowed));
        heuristics.incumbent
    }

    /// Creates a search for solutions by primal heuristics.
    fn heuristics(&self, known: &Known, stop: Stop) -> Search<'_> {
        Search {
            compact: self.lowered.compact,
            propagation: self.lowered,
            objective: self.objective,
            stop,
            incumbent: known.incumbent.clone(),
            random: RANDOM,
            pseudocosts: Pseudocosts::new(self.lowered.compact.items.len()),
            reduced_costs: known.reduced_costs.clone(),
            lagrangian_bound: known.lagrangian_bound,
            depth: known.depth,
            neighbourhood_size: NEIGHBOURHOOD_SIZE,
            dropped_bound: f64::INFINITY,
        }
    }
}

/// The facts known about a problem before the search.
struct Known {
    /// The incumbent; the search looks for better solutions.
    incumbent: Option<Incumbent>,
    /// Choices to repair first.
    starts: Vec<Vec<usize>>,
    /// A dual bound.
    bound: f64,
    /// By option, its reduced cost at the prices of the Lagrangian bound.
    reduced_costs: Vec<f64>,
    lagrangian_bound: f64,
    /// How many subproblems enclose this one.
    depth: usize,
}

/// The root node with its tightened relaxation.
struct Root {
    /// The problem with cuts.
    compact: Compact,
    node: Node,
    known: Known,
    pseudocosts: Pseudocosts,
    random: Random,
    neighbourhood_size: f64,
}

/// Searches the subproblem of some allowed options like a whole problem; returns its dual bound.
fn search_subproblem(search: &mut Search<'_>, parent: &Node, allowed: Vec<bool>, end: Instant) -> f64 {
    let effort = search.stop.effort.map(neighbourhood::effort);
    let stop = Stop { deadline: end, effort, gap: search.stop.gap.max(neighbourhood::GAP), ..search.stop };
    let known = Known {
        incumbent: search.incumbent.clone(),
        starts: Vec::new(),
        bound: parent.bound,
        reduced_costs: search.reduced_costs.clone(),
        lagrangian_bound: search.lagrangian_bound,
        depth: search.depth + 1,
    };
    let full = Propagation::new(search.compact);
    let model = Model { objective: search.objective, full: &full, lowered: &full };
    let (incumbent, bound) = tighten(&model, allowed, known, stop).resume(&model, stop);
    search.incumbent = incumbent;
    bound
}

/// Dives from the nodes number 8, 16, 32, ... of branch and bound, in changing order.
fn dive_at_powers(search: &mut Search<'_>, node: &Node, count: usize, end: Instant) {
    if count.is_power_of_two() && count > 4 {
        search.dive(node, Order::ALL[count.ilog2() as usize % Order::ALL.len()], end);
    }
}

/// Creates the root node: repairs starts, probes, and tightens the relaxation by cuts while a dive looks for a solution.
fn tighten(model: &Model<'_>, allowed: Vec<bool>, known: Known, stop: Stop) -> Stage {
    let Model { objective, full, .. } = *model;
    let (mut compact, mut allowed, mut known) = (full.compact.clone(), allowed, known);
    let limits = limits(full.compact, objective, known.incumbent.as_ref().map(|(_, value)| *value));
    known.incumbent = model.repaired(&known, &allowed, stop);
    let solved = match objective {
        Objective::Cost => {
            let Some(conflicts) = probe(full, &limits, &mut allowed, stop.after_fraction(PROBING)) else {
                return Stage::Closed(known.incumbent, f64::INFINITY);
            };
            let cutting = || add_cuts(&mut compact, &allowed, &conflicts, &stop);
            let diving =
                || (known.depth == 0).then(|| first_dive(model.heuristics(&known, stop), &allowed, known.bound));
            let (lp, incumbent) = rayon::join(cutting, diving);
            known.incumbent = incumbent.flatten().or(known.incumbent);
            lp
        }
        Objective::Excess(_) => Lp::new(&compact, objective, &allowed, stop.seconds_left()),
    };
    let lp = match solved {
        Ok(lp) => Some(lp),
        Err(Failure::Infeasible) => return Stage::Closed(known.incumbent, f64::INFINITY),
        Err(Failure::Unknown) => None,
    };
    let mut lp_values = None;
    // The tighter Lagrangian bound with cuts fixes more options by reduced cost.
    if known.depth == 0
        && (!compact.cuts.is_empty() || lp.is_none())
        && let Relaxation::Bounded(relaxed) = relax(&compact, objective, &allowed, stop.seconds_left())
    {
        lp_values = Some(relaxed.lp_values);
        if relaxed.bound > known.lagrangian_bound {
            (known.lagrangian_bound, known.reduced_costs) = (relaxed.bound, relaxed.lagrangian.reduced_costs);
        }
    }
    let Some(lp_values) = lp.as_ref().map(Lp::values).or(lp_values) else {
        return Stage::Closed(known.incumbent, known.bound);
    };
    known.bound = lp.as_ref().map_or(known.bound, |lp| lp.bound().max(known.bound));
    let node = Node { bound: known.bound, allowed, lp_values, lp };
    let pseudocosts = Pseudocosts::new(compact.items.len());
    let (random, neighbourhood_size) = (RANDOM, NEIGHBOURHOOD_SIZE);
    Stage::Open(Box::new(Root { compact, node, known, pseudocosts, random, neighbourhood_size }))
}

impl Stage {
    /// Goes on with the search; returns incumbent and dual bound.
    fn resume(&mut self, model: &Model<'_>, stop: Stop) -> (Option<Incumbent>, f64) {
        match self {
            Stage::Closed(incumbent, bound) => (incumbent.take(), *bound),
            Stage::Open(root) => root.search(model, stop),
        }
    }
}

impl Root {
    /// Searches from the root; returns incumbent and dual bound. The next call keeps the bound, but not the incumbent.
    fn search(&mut self, model: &Model<'_>, stop: Stop) -> (Option<Incumbent>, f64) {
        let Model { full, lowered, .. } = *model;
        let lowered_compact = self.compact.has_reserve().then(|| self.compact.lowered());
        let mut search = model.heuristics(&self.known, stop);
        (search.compact, search.propagation) = (&self.compact, full);
        search.neighbourhood_size = self.neighbourhood_size;
        (search.pseudocosts, search.random) = (self.pseudocosts.clone(), self.random);
        let mut heuristics = search.clone();
        let mut top = Some(self.node.clone());
        if let Some(lowered_compact) = &lowered_compact {
            (heuristics.compact, heuristics.propagation) = (lowered_compact, lowered);
            top = heuristics.child(&self.node.clone().without_lp(), self.node.allowed.clone());
        }
        if let Some(top) = &top
            && !self.find_first(&mut heuristics, top, model)
        {
            return (None, f64::INFINITY);
        }
        let bound = self.alternate(&mut search, &mut heuristics, top.as_ref());
        search.incumbent = heuristics.incumbent;
        let is_closed = bound >= search.cutoff();
        let proved =
            search.incumbent.as_ref().map_or(bound, |(_, value)| if is_closed { *value } else { bound.min(*value) });
        let (pseudocosts, incumbent) = (search.pseudocosts, search.incumbent);
        let (random, neighbourhood_size) = (heuristics.random, heuristics.neighbourhood_size);
        self.known.bound = self.known.bound.max(proved);
        (self.pseudocosts, self.random, self.neighbourhood_size) = (pseudocosts, random, neighbourhood_size);
        (incumbent, proved)
    }

    /// Looks for a first solution by dives, the fractional items of the root and, if these fail, the feasibility problem.
    /// Returns false if that proves infeasibility.
    fn find_first(&self, heuristics: &mut Search<'_>, top: &Node, model: &Model<'_>) -> bool {
        let stop = heuristics.stop;
        let at_root = self.known.depth == 0 && *model.objective == Objective::Cost;
        let (end, soon) = (stop.after_fraction(DIVING), stop.after_fraction(FRACTIONAL));
        let tasks = Order::ALL.map(Some).into_iter().chain(at_root.then_some(None));
        heuristics.in_parallel(tasks, |heuristics, order| match order {
            Some(order) => heuristics.dive(top, order, end),
            None => heuristics.search_fractional(top, search_subproblem, soon),
        });
        if at_root && heuristics.incumbent.is_none() {
            // The feasibility problem: is the least excess over all limits at most 0?
            let stop = Stop { deadline: stop.after_fraction(FEASIBILITY), sign: true, ..stop };
            let objective = Objective::Excess(0..model.full.compact.limits.len());
            let feasible = solve(model.lowered.compact, &objective, self.known.starts.first().cloned(), stop);
            if feasible.bound > 1e-3 && !self.compact.has_reserve() {
                return false;
            }
            let found = feasible.incumbent.into_iter();
            found.for_each(|(picks, _)| heuristics.repair_and_offer(&picks, &top.allowed));
        }
        true
    }

    /// Searches neighbourhoods and the branch-and-bound tree in turn; returns the dual bound.
    fn alternate(&self, search: &mut Search<'_>, heuristics: &mut Search<'_>, top: Option<&Node>) -> f64 {
        let stop = search.stop;
        let mut open = BinaryHeap::from([self.node.clone()]);
        let mut bound = self.known.bound;
        while !open.is_empty() && !search.is_done(bound) && !search.is_over() {
            if let Some(top) = top.filter(|_| self.known.depth < DEPTH) {
                heuristics.search_neighbourhoods(top, search_subproblem, stop.after_fraction(TURN));
            }
            search.incumbent = heuristics.incumbent.take();
            let nodes = stop.effort.unwrap_or(usize::MAX);
            let limits = NodeLimits { nodes, candidates: 8, heuristic: Some(dive_at_powers) };
            bound = search.explore(&mut open, limits, stop.after_fraction(TURN));
            heuristics.incumbent = search.incumbent.clone();
            // No better solution keeps the reserve.
            let is_optimal = || top.is_some_and(|top| heuristics.is_done(top.bound));
            if stop.effort.is_some() || self.compact.has_reserve() && is_optimal() {
                break;
            }
        }
        self.known.bound.max(bound)
    }
}

/// Dives from a relaxation without cuts.
fn first_dive(mut search: Search<'_>, allowed: &[bool], bound: f64) -> Option<Incumbent> {
    if let Ok(lp) = Lp::new(search.compact, search.objective, allowed, search.stop.seconds_left()) {
        let node = Node { bound, allowed: allowed.to_vec(), lp_values: lp.values(), lp: Some(lp) };
        search.dive(&node, Order::LeastFractional, search.stop.after_fraction(DIVING));
    }
    search.incumbent
}

/// Adds cuts in rounds, keeping those that are tight; returns the relaxation with them.
fn add_cuts(compact: &mut Compact, allowed: &[bool], conflicts: &Conflicts, stop: &Stop) -> Result<Lp, Failure> {
    let end = stop.after_fraction(CUTTING);
    let mut lp = Lp::new(compact, &Objective::Cost, allowed, stop.seconds_left())?;
    let rows = compact.amounts_by_row(allowed);
    let mut bounds = vec![lp.bound()];
    for _ in 0..ROUNDS {
        let lp_values = lp.values();
        let mut found = conflicts.separate_cliques(compact, allowed, &lp_values, CUTS);
        found.extend(separate_covers(compact, &rows, allowed, &lp_values, CUTS));
        if found.is_empty() || Instant::now() >= end {
            break;
        }
        compact.cuts.extend(found);
        lp = Lp::new(compact, &Objective::Cost, allowed, stop.seconds_left())?;
        let lp_values = lp.values();
        compact.cuts.retain(|cut| cut.activity(&lp_values) > cut.limit - 1e-6);
        bounds.push(lp.bound());
        let before = bounds[bounds.len().saturating_sub(4)];
        if bounds.len() > 4 && lp.bound() - before <= RISE * lp.bound().abs() {
            break;
        }
    }
    Lp::new(compact, &Objective::Cost, allowed, stop.seconds_left())
}
