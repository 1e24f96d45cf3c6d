//! Neighbourhood search: subproblems near the relaxation's solution (RENS; Berthold, 2014) or near the incumbent (RINS;
//! Danna, Rothberg and Le Pape, 2005; mutation: Rothberg, 2007). Some items are open, all others are fixed.

use crate::node::{INTEGRAL, Node};
use crate::search::Search;
use std::time::{Duration, Instant};

/// The relative gap that the search of a neighbourhood may leave open.
pub(crate) const GAP: f64 = 0.005;
/// The fraction of the remaining time for one neighbourhood, and the least time in which a search finds anything.
const TIME: f64 = 0.1;
const LEAST: Duration = Duration::from_millis(200);
/// Where effort is counted: the effort per neighbourhood, and per number of neighbourhoods.
const EFFORT: usize = 10;
/// The number of neighbourhoods in a row without improvement after which the search stops.
const FRUITLESS: usize = 24;

/// Searches the subproblem of some allowed options until an instant; returns its dual bound.
pub(crate) type SubproblemSearch = fn(&mut Search<'_>, &Node, Vec<bool>, Instant) -> f64;

/// Returns the effort for a neighbourhood, or the number of neighbourhoods, out of the effort for the whole.
pub(crate) fn effort(effort: usize) -> usize {
    effort / EFFORT + 1
}

impl Search<'_> {
    /// Searches the items that are fractional in the relaxation's solution (RENS).
    pub(crate) fn search_fractional(&mut self, root: &Node, subproblem: SubproblemSearch, end: Instant) {
        let mut allowed = self.fix_by_reduced_cost(&root.allowed);
        for item in &self.compact.items {
            if let Some(pick) = item.clone().find(|&option| root.lp_values[option] > INTEGRAL) {
                item.clone().for_each(|option| allowed[option] &= option == pick);
            }
        }
        subproblem(self, root, allowed, end);
    }

    /// Searches neighbourhoods of the incumbent, two at a time, until several in a row bring no improvement or time is over.
    pub(crate) fn search_neighbourhoods(&mut self, root: &Node, subproblem: SubproblemSearch, end: Instant) {
        let mut misses = 0;
        let mut left = self.stop.effort.map_or(usize::MAX, effort);
        while misses < FRUITLESS && left > 0 && !self.is_done(root.bound) && Instant::now() < end && !self.is_over() {
            let Some((picks, before)) = self.incumbent.clone() else { return };
            left -= 1;
            let end = end.min(self.stop.after_fraction(TIME).max(Instant::now() + LEAST));
            let neighbourhoods = [(); 2].map(|()| self.neighbourhood(root, &picks));
            let bounds = self.in_parallel(neighbourhoods, |search, allowed| subproblem(search, root, allowed, end));
            let better = self.incumbent.as_ref().is_some_and(|(_, value)| *value < before);
            misses = if better { 0 } else { misses + 1 };
            // Adapts the size: small enough to be solved, large enough to hold an improvement.
            for bound in bounds {
                let is_solved = bound >= before - (GAP * 2.0) * before.abs();
                let size = self.neighbourhood_size;
                self.neighbourhood_size = if is_solved { size * 1.2 } else { size * 0.9 }.clamp(0.02, 1.0);
            }
        }
    }

    /// Returns the allowed options of a random neighbourhood of a choice.
    fn neighbourhood(&mut self, root: &Node, picks: &[usize]) -> Vec<bool> {
        let mut allowed = self.fix_by_reduced_cost(&root.allowed);
        let is_open = |item: &usize| self.compact.items[*item].clone().filter(|&option| allowed[option]).count() > 1;
        let mut items: Vec<usize> = (0..picks.len()).filter(is_open).collect();
        let open = (items.len() as f64 * self.neighbourhood_size) as usize + 1;
        // Items around a row, or random ones, those first on which relaxation and incumbent disagree.
        let row = self.random.below(self.compact.limits.len());
        let by_row = self.random.below(2) == 0;
        items.sort_by_cached_key(|&item| {
            let rows = &self.compact.rows_of_item[item];
            match by_row {
                true => row.abs_diff((rows.start + rows.end) / 2),
                false => self.random.below(1000) + if root.lp_values[picks[item]] < INTEGRAL { 0 } else { 500 },
            }
        });
        for &item in items.iter().skip(open) {
            self.compact.items[item].clone().for_each(|option| allowed[option] = option == picks[item]);
        }
        picks.iter().for_each(|&pick| allowed[pick] = true);
        allowed
    }
}
