//! Searches near a relaxation and near the best solution: some items are open, others as they are there (Rothberg, 2007;
//! Danna, Rothberg and Le Pape, 2005).

use crate::branch::{Node, Search, Stop};
use crate::dive::SURE;
use crate::root::{Known, within};
use std::time::{Duration, Instant};

/// The part of the value that the search of a neighbourhood may leave open.
const NEAR_GAP: f64 = 0.005;
/// The part of the time that is left for one neighbourhood, and how long it takes to find anything in one at all.
const NEAR: f64 = 0.1;
const LEAST: Duration = Duration::from_millis(200);
/// Where effort is counted, one of so many of it is the number of neighbourhoods, and the effort for each.
const NEAR_EFFORT: usize = 10;
/// Neighbourhoods in a row without a better solution, after which there is probably none near.
const FRUITLESS: usize = 24;

impl Search<'_> {
    /// Searches the items that the shares leave undecided; returns the bound of what is left of that.
    pub(crate) fn support(&mut self, root: &Node, end: Instant) -> f64 {
        let mut allowed = self.fixed(&root.allowed);
        for item in &self.compact.items {
            if let Some(pick) = item.clone().find(|&option| root.shares[option] > SURE) {
                item.clone().for_each(|option| allowed[option] &= option == pick);
            }
        }
        self.part_of(root, allowed, end)
    }

    /// Searches a part like the whole; returns the bound of what is left of it.
    fn part_of(&mut self, root: &Node, allowed: Vec<bool>, end: Instant) -> f64 {
        let effort = self.stop.effort.map(|effort| effort / NEAR_EFFORT + 1);
        let stop = Stop { at: end, effort, gap: self.stop.gap.max(NEAR_GAP), ..self.stop };
        let known = Known {
            best: self.best.clone(),
            starts: Vec::new(),
            bound: root.bound,
            reduced: self.reduced.clone(),
            base: self.base,
            depth: self.depth + 1,
        };
        let (best, left) = within(self.compact, self.goal, allowed, known, stop);
        self.best = best;
        left
    }

    /// Looks for better solutions near the best one until there seem to be none, or the time given is over: each time some
    /// items are free, and all others as they are.
    pub(crate) fn near(&mut self, root: &Node, end: Instant) {
        let mut misses = 0;
        let mut left = self.stop.effort.map_or(usize::MAX, |effort| effort / NEAR_EFFORT + 1);
        while misses < FRUITLESS && left > 0 && !self.is_done(root.bound) && Instant::now() < end && !self.is_over() {
            let Some((picks, before)) = self.best.clone() else { return };
            left -= 1;
            let end = end.min(self.stop.part(NEAR).max(Instant::now() + LEAST));
            let parts = [(); 2].map(|()| self.neighbourhood(root, &picks));
            let bounds = self.all(parts, |search, part| search.part_of(root, part, end));
            let better = self.best.as_ref().is_some_and(|(_, value)| *value < before);
            misses = if better { 0 } else { misses + 1 };
            // Small enough to be searched, large enough to hold something.
            for bound in bounds {
                let is_searched = bound >= before - (NEAR_GAP * 2.0) * before.abs();
                self.width = if is_searched { self.width * 1.2 } else { self.width * 0.9 }.clamp(0.02, 1.0);
            }
        }
    }

    /// The options of a neighbourhood of a choice: some items are open, others as they are.
    fn neighbourhood(&mut self, root: &Node, picks: &[usize]) -> Vec<bool> {
        let mut allowed = self.fixed(&root.allowed);
        let open = |item: &usize| self.compact.items[*item].clone().filter(|&option| allowed[option]).count() > 1;
        let mut items: Vec<usize> = (0..picks.len()).filter(open).collect();
        let free = (items.len() as f64 * self.width) as usize + 1;
        // Those around a row, or any, rather those for which the shares are not clear.
        let row = self.random.below(self.compact.limits.len());
        let by_row = self.random.below(2) == 0;
        items.sort_by_cached_key(|&item| {
            let reach = &self.compact.reach[item];
            match by_row {
                true => row.abs_diff((reach.start + reach.end) / 2),
                false => self.random.below(1000) + if root.shares[picks[item]] < SURE { 0 } else { 500 },
            }
        });
        for &item in items.iter().skip(free) {
            self.compact.items[item].clone().for_each(|option| allowed[option] = option == picks[item]);
        }
        picks.iter().for_each(|&pick| allowed[pick] = true);
        allowed
    }
}
