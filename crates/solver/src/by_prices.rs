//! Solutions by the interior-point method's prices: repair and 1-opt, guided by priced costs. Large programs have no other search.
//!
//! The simplex method has an entry for every option in every row of its lifetime, which grows with the square of a network's
//! depth. The interior-point method has two entries per lifetime and needs the rows that bind only; its prices say what each option is worth: at the optimal
//! prices all options of a best choice cost the same, so a repair that keeps to options of least priced cost loses little. What it
//! loses is known, since the prices prove a bound.

use crate::activity::Excesses;
use crate::candidate::{Candidate, Guide};
use crate::compact::Compact;
use crate::dual::{Objective, Prices, evaluate_lagrangian};
use crate::relaxation::{Bounded, Relaxation, relax};
use crate::search::{Incumbent, rounded};
use crate::stop::Stop;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Matrix entries above which a program is large; its relaxations would take gigabytes.
const ENTRIES: usize = 3_000_000;
/// The number of times that the interval of the least excess is halved.
const HALVINGS: usize = 10;
/// A priced cost that counts as none, in parts of the largest cost.
const NOTHING: f64 = 1e-9;
/// The number of windows of adjacent rows; each adds at most one row to the relaxation at a time.
const WINDOWS: usize = 256;
/// The part of its limit by which the relaxation's solution may exceed a row that is left out.
const MISSED: f64 = 2e-3;
/// A rise of the bound by a smaller part ends row generation.
const RISE: f64 = 1e-3;
/// The fraction of the time for the relaxation, and the seconds per option that it and the search may take at least.
const RELAXING: f64 = 0.6;
const PATIENCE: f64 = 2e-4;

/// A choice with the excess of each row in a tree.
type Treed<'a> = Candidate<'a, Excesses>;

/// Returns whether a program is too large for the simplex method.
pub(crate) fn is_large(compact: &Compact) -> bool {
    let entries: usize = compact.spans.iter().flatten().map(|span| span.end - span.first).sum();
    entries > ENTRIES
}

/// Solves the relaxation by row generation (Dantzig, Fulkerson and Johnson, 1954): with the fullest row of each window of adjacent
/// rows, and with those that its solution exceeds, until there are none. Returns `None` if that proves infeasibility.
pub(crate) fn relaxed(compact: &Compact, objective: &Objective, stop: &Stop) -> Option<Bounded> {
    let (with_cost, allowed) = (*objective == Objective::Cost, vec![true; compact.cost.len()]);
    let end = stop.after_fraction(RELAXING).max(patience(compact));
    let mut rows = first_rows(compact);
    let mut best: Option<Bounded> = None;
    loop {
        let seconds = end.saturating_duration_since(Instant::now()).as_secs_f64();
        let of_rows = compact.with_rows(&rows);
        let objective = match objective {
            Objective::Cost => Objective::Cost,
            Objective::Excess(range) => Objective::Excess(
                rows.partition_point(|&row| row < range.start)..rows.partition_point(|&row| row < range.end),
            ),
        };
        let Relaxation::Bounded(found) = relax(&of_rows, &objective, &allowed, seconds) else { return None };
        let mut prices = Prices { rows: vec![0.0; compact.limits.len()], ..found.prices };
        rows.iter().zip(&found.prices.rows).for_each(|(&row, &price)| prices.rows[row] = price);
        let (bound, lagrangian) = evaluate_lagrangian(compact, with_cost, &allowed, &prices)?;
        let raised = match objective {
            Objective::Cost => 0.0,
            Objective::Excess(_) => bound.max(0.0),
        };
        let chosen = found.lp_values.iter().copied().enumerate().filter(|(_, value)| *value > 0.0);
        let activities = compact.weighted_activities(chosen);
        let is_missed =
            |row: usize| activities[row] - compact.limits[row] - raised > MISSED * compact.limits[row].abs();
        let missed = fullest_rows(compact, &activities, |row| is_missed(row) && rows.binary_search(&row).is_err());
        let rises = best.as_ref().is_none_or(|best| bound > best.bound + RISE * best.bound.abs());
        if best.as_ref().is_none_or(|best| best.bound < bound) {
            best = Some(Bounded { bound, lp_values: found.lp_values, prices, lagrangian });
        }
        if missed.is_empty() || !rises || Instant::now() >= end {
            return best;
        }
        rows.extend(missed);
        rows.sort_unstable();
    }
}

/// Returns the fullest rows of all, and the fullest one of each window, when every item takes its first option.
fn first_rows(compact: &Compact) -> Vec<usize> {
    let first: Vec<usize> = compact.items.iter().map(|item| item.start).collect();
    let activities = compact.activities(&first);
    let excess = |row: &usize| activities[*row] - compact.limits[*row];
    let mut rows: Vec<usize> = (0..compact.limits.len()).collect();
    rows.sort_by(|a, b| excess(b).total_cmp(&excess(a)).then(a.cmp(b)));
    rows.truncate(WINDOWS);
    rows.extend(fullest_rows(compact, &activities, |_| true));
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// Returns the row that exceeds its limit most, or leaves least of it, of each window of adjacent rows, among those that are meant.
fn fullest_rows(compact: &Compact, activities: &[f64], is_meant: impl Fn(usize) -> bool) -> Vec<usize> {
    let excess = |row: usize| activities[row] - compact.limits[row];
    let rows = compact.limits.len();
    let window = |at: usize| at * rows / WINDOWS..(at + 1) * rows / WINDOWS;
    let fullest = |window: Range<usize>| {
        window.filter(|&row| is_meant(row)).max_by(|&a, &b| excess(a).total_cmp(&excess(b)).then(b.cmp(&a)))
    };
    (0..WINDOWS).filter_map(|at| fullest(window(at))).collect()
}

/// Returns the instant before which no search of a program ends: without prices, and a choice by them, nothing is found.
fn patience(compact: &Compact) -> Instant {
    Instant::now() + Duration::from_secs_f64(PATIENCE * compact.cost.len() as f64)
}

/// Looks for the best choice by the relaxation's prices, beginning with `start` and what the relaxation says.
pub(crate) fn search(
    compact: &Compact,
    objective: &Objective,
    relaxed: &Bounded,
    start: Option<Vec<usize>>,
    stop: &Stop,
) -> Option<Incumbent> {
    let end = stop.deadline.max(patience(compact));
    let allowed = vec![true; compact.cost.len()];
    let guide = Guide { allowed: &allowed, reduced_costs: &relaxed.lagrangian.reduced_costs };
    let starts =
        start.into_iter().chain([relaxed.lagrangian.picks.clone(), rounded(compact, &relaxed.lp_values, &allowed)]);
    match objective {
        Objective::Cost => {
            let solved = starts.filter_map(|picks| cheapest(compact, picks, &guide, end));
            solved.min_by(|(_, a), (_, b)| a.total_cmp(b))
        }
        Objective::Excess(_) => least_excess(compact, objective, relaxed.bound, starts.collect(), &guide, end),
    }
}

/// Repairs a choice and lowers its cost.
fn cheapest(compact: &Compact, picks: Vec<usize>, guide: &Guide<'_>, end: Instant) -> Option<Incumbent> {
    let mut candidate = Treed::treed(compact, &Objective::Cost, 0.0, picks);
    if !candidate.keep_limits(guide, end) {
        return None;
    }
    candidate.lower_cost(guide, end);
    Some((candidate.picks, candidate.cost))
}

/// Halves the interval between the bound and the least excess that a repair reaches.
fn least_excess(
    compact: &Compact,
    objective: &Objective,
    bound: f64,
    starts: Vec<Vec<usize>>,
    guide: &Guide<'_>,
    end: Instant,
) -> Option<Incumbent> {
    let Objective::Excess(rows) = objective else { return None };
    let within = |slack: f64, picks: &[usize]| {
        let mut candidate = Treed::treed(compact, objective, slack, picks.to_vec());
        let is_kept = candidate.keep_limits(guide, end);
        is_kept.then(|| {
            let excess = slack + candidate.activities.largest(rows.clone());
            (candidate.picks, excess)
        })
    };
    let widest = compact.limits.iter().map(|limit| limit.abs()).sum::<f64>()
        + compact.activities(starts.first()?).iter().fold(0.0, |a, &b| f64::max(a, b));
    let mut best = starts.iter().filter_map(|picks| within(widest, picks)).min_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let mut low = bound;
    for _ in 0..HALVINGS {
        // Amounts are integers.
        if best.1 - low < 1.0 || Instant::now() >= end {
            break;
        }
        let middle = f64::midpoint(low, best.1).floor();
        let found = starts.iter().chain([&best.0]).filter_map(|picks| within(middle, picks));
        match found.min_by(|(_, a), (_, b)| a.total_cmp(b)) {
            Some(found) => best = found,
            None => low = middle + 1.0,
        }
    }
    Some(best)
}

impl<'a> Treed<'a> {
    /// As [`Candidate::new`].
    fn treed(compact: &'a Compact, objective: &Objective, slack: f64, picks: Vec<usize>) -> Treed<'a> {
        let form = |activities: Vec<f64>, limits: &[f64]| {
            Excesses::new(activities.into_iter().zip(limits).map(|(activity, limit)| activity - limit))
        };
        Candidate::new(compact, objective, slack, picks, form)
    }

    /// Repairs links, then limits, the fullest row first; returns whether all are kept.
    fn keep_limits(&mut self, guide: &Guide<'_>, end: Instant) -> bool {
        let mut locked = vec![false; self.picks.len()];
        // What is chosen once for a row is not chosen again for another one, so this ends.
        let mut spent = vec![false; self.compact.cost.len()];
        self.repair_links(guide, &locked);
        loop {
            let (row, excess) = self.activities.fullest();
            if excess <= 0.0 {
                return self.violated_links().next().is_none();
            }
            if Instant::now() >= end || !self.relieve(row, guide, &mut locked, &mut spent) {
                return false;
            }
        }
    }

    /// Chooses options that need less in a row until it keeps its limit, those of the least priced cost per amount first; no other row
    /// comes to exceed its limit more than the fullest one does. Returns whether any was chosen.
    fn relieve(&mut self, row: usize, guide: &Guide<'_>, locked: &mut [bool], spent: &mut [bool]) -> bool {
        let mut relieved = false;
        for (_, option) in self.reliefs(row, guide) {
            let (_, largest) = self.activities.fullest();
            let before = self.activities.largest(row..row + 1);
            if before <= 0.0 {
                break;
            }
            if spent[option] || self.relief(row, option) <= 0.0 {
                continue;
            }
            let Some(done) = self.choose(option, guide, locked) else { continue };
            self.unlock(&done, locked);
            if self.activities.largest(row..row + 1) < before && self.activities.fullest().1 <= largest {
                (relieved, spent[option]) = (true, true);
            } else {
                self.undo(done, locked);
            }
        }
        relieved
    }

    /// By how much an option needs less in a row than its item's pick.
    fn relief(&self, row: usize, option: usize) -> f64 {
        let amount = |option: usize| -> f64 {
            let spans = self.compact.spans[option].iter().filter(|span| span.first <= row && row < span.end);
            spans.map(|span| span.amount).sum()
        };
        amount(self.picks[self.compact.item_of[option]]) - amount(option)
    }

    /// The options that need less in a row, with their priced cost per amount, the cheapest first.
    fn reliefs(&self, row: usize, guide: &Guide<'_>) -> Vec<(f64, usize)> {
        let nothing =
            NOTHING * guide.reduced_costs.iter().filter(|cost| cost.is_finite()).fold(1e-12, |a, &b| f64::max(a, b));
        let mut found: Vec<(f64, usize)> = Vec::new();
        for (item, options) in self.compact.items.iter().enumerate() {
            let rows = &self.compact.rows_of_item[item];
            if row < rows.start || rows.end <= row || options.len() < 2 {
                continue;
            }
            for option in options.clone().filter(|&option| option != self.picks[item]) {
                let relief = self.relief(row, option);
                if relief > 0.0 {
                    let loss = guide.reduced_costs[option] - guide.reduced_costs[self.picks[item]];
                    found.push(((loss.max(0.0) + nothing) / relief, option));
                }
            }
        }
        found.sort_by(|(a, i), (b, j)| a.total_cmp(b).then(i.cmp(j)));
        found
    }

    /// Lowers the cost of a choice that keeps limits and links, an option at a time, those of the least priced cost first.
    fn lower_cost(&mut self, guide: &Guide<'_>, end: Instant) {
        let mut locked = vec![false; self.picks.len()];
        loop {
            let gain = |option: usize, of: &Self| {
                guide.reduced_costs[option] - guide.reduced_costs[of.picks[of.compact.item_of[option]]]
            };
            let is_cheaper = |of: &Self, option: usize| {
                of.compact.cost[option] < of.compact.cost[of.picks[of.compact.item_of[option]]]
            };
            let mut options: Vec<(f64, usize)> = (0..self.compact.cost.len())
                .filter(|&option| is_cheaper(self, option))
                .map(|option| (gain(option, self), option))
                .collect();
            options.sort_by(|(a, i), (b, j)| a.total_cmp(b).then(i.cmp(j)));
            let mut improved = false;
            for (_, option) in options {
                if !is_cheaper(self, option) || Instant::now() >= end {
                    continue;
                }
                let cost = self.cost;
                let Some(done) = self.choose(option, guide, &mut locked) else { continue };
                self.unlock(&done, &mut locked);
                if self.activities.fullest().1 <= 0.0 && self.cost < cost - 1e-12 {
                    improved = true;
                } else {
                    self.undo(done, &mut locked);
                }
            }
            if !improved || Instant::now() >= end {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::{Choice, Item, Link, Pick, Problem, Use};
    use crate::random::Random;
    use crate::repair::Listed;
    use crate::root;

    /// Items that are alive over some of many rows, each with options of less and less memory and higher and higher cost; some
    /// ask for an option of another one.
    fn problem(random: &mut Random, items: usize) -> Problem {
        let rows = 2 * items;
        let item = |random: &mut Random| {
            let (first, size) = (random.below(rows), 10 + random.below(90) as i64);
            let last = (first + random.below(rows)).min(rows - 1);
            let used = |amount| Use { first: first as u32, last: last as u32, amount };
            let harm = size as f64 * (1.0 + random.below(9) as f64);
            let option = |part: i64, cost: f64| Choice { cost, uses: vec![used(size * part / 4)] };
            Item { options: vec![option(4, 0.0), option(2, harm), option(1, 3.0 * harm)] }
        };
        let of: Vec<Item> = (0..items).map(|_| item(random)).collect();
        let links = (0..items as u32 / 4).map(|link| {
            let pick = |item, option| Pick { item, option };
            Link { from: pick(4 * link, 2), to: vec![pick(4 * link + 1, 1), pick(4 * link + 1, 2)] }
        });
        Problem { items: of, limits: vec![items as i64 * 14; rows], links: links.collect() }
    }

    #[test]
    fn prices_lead_close_to_the_optimum() {
        let mut random = Random(11);
        for items in [12, 20, 28] {
            let problem = problem(&mut random, items);
            let compact = Compact::new(&problem, 0..0);
            let optimum = root::solve(&compact, &Objective::Cost, None, Stop::after(20.0, 0.0)).incumbent.unwrap();
            let stop = Stop::after(20.0, 0.0);
            let relaxed = relaxed(&compact, &Objective::Cost, &stop).unwrap();
            let (picks, cost) = search(&compact, &Objective::Cost, &relaxed, None, &stop).unwrap();
            let listed = Listed::listed(&compact, &Objective::Cost, 0.0, picks);
            assert!(listed.is_feasible() && (listed.cost - cost).abs() < 1e-6);
            assert!(relaxed.bound <= optimum.1 + 1e-6 && optimum.1 <= cost + 1e-6, "{} {cost}", optimum.1);
            assert!(cost <= 1.2 * optimum.1, "{items} items: {cost}, but {} is possible", optimum.1);
        }
    }

    #[test]
    fn the_least_excess_is_close_to_what_is_possible() {
        let mut random = Random(5);
        for items in [12, 20, 28] {
            let problem = problem(&mut random, items);
            let compact = Compact::new(&problem, 0..0);
            let objective = Objective::Excess(0..compact.limits.len());
            let (_, least) = root::solve(&compact, &objective, None, Stop::after(20.0, 0.0)).incumbent.unwrap();
            let stop = Stop::after(20.0, 0.0);
            let relaxed = relaxed(&compact, &objective, &stop).unwrap();
            let (picks, excess) = search(&compact, &objective, &relaxed, None, &stop).unwrap();
            let listed = Listed::listed(&compact, &objective, 0.0, picks);
            assert!(listed.violated_links().next().is_none());
            assert_eq!(listed.largest_excess(&(0..compact.limits.len())), excess);
            let limit = compact.limits[0];
            assert!(relaxed.bound <= least && least <= excess, "{} {least} {excess}", relaxed.bound);
            assert!(excess + limit <= 1.05 * (least + limit), "{items} items: {excess}, but {least} is possible");
        }
    }
}
