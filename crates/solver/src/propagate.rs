//! Propagation: fixes options to 0 that no feasible choice can have, by the minimal activities of rows (activity-based bound
//! tightening; Savelsbergh, 1994) and by links.

use crate::compact::Compact;
use std::ops::Range;

/// The tables of propagation.
pub(crate) struct Propagation<'a> {
    pub(crate) compact: &'a Compact,
    /// By row, the options with an amount in it.
    rows: Vec<Vec<(usize, f64)>>,
    /// By row, the largest difference between an option's amount and the least amount of its item.
    max_increase: Vec<f64>,
    /// By item, the links from its options.
    outgoing: Vec<Vec<usize>>,
}

/// The options that are not fixed to 0, and minimal activities.
#[derive(Clone)]
pub(crate) struct Domains {
    pub(crate) allowed: Vec<bool>,
    /// By item, the number of allowed options.
    open: Vec<usize>,
    /// By item, its least amount in each of its rows.
    item_min: Vec<Vec<f64>>,
    /// By row, its minimal activity: the sum of the items' least amounts.
    row_min: Vec<f64>,
    /// The items, links and rows to be propagated.
    dirty_items: Vec<usize>,
    dirty_links: Vec<usize>,
    dirty_rows: Vec<bool>,
}

impl Propagation<'_> {
    /// Builds the tables of a problem.
    pub(crate) fn new(compact: &Compact) -> Propagation<'_> {
        let all = vec![true; compact.cost.len()];
        let mut max_increase = vec![0.0; compact.limits.len()];
        for (item, rows) in compact.items.iter().zip(&compact.rows_of_item) {
            let mut most = vec![0.0; max_increase.len()];
            let item_min = least_amounts(compact, item, rows, &all);
            for option in item.clone() {
                let mut amounts = vec![0.0; max_increase.len()];
                compact.add(option, &mut amounts);
                most.iter_mut().zip(&amounts).for_each(|(most, amount)| *most = f64::max(*most, *amount));
            }
            for (row, item_min) in rows.clone().zip(item_min) {
                max_increase[row] = f64::max(max_increase[row], most[row] - item_min);
            }
        }
        let mut outgoing = vec![Vec::new(); compact.items.len()];
        for (at, link) in compact.links.iter().enumerate() {
            link.from.first().into_iter().for_each(|&option| outgoing[compact.item_of[option]].push(at));
        }
        Propagation { compact, rows: compact.amounts_by_row(&all), max_increase, outgoing }
    }

    /// Propagates all limits and links; returns `None` if that proves infeasibility.
    pub(crate) fn propagate(&self, limits: &[f64], allowed: &[bool]) -> Option<Domains> {
        let compact = self.compact;
        let mut row_min = vec![0.0; limits.len()];
        let mut item_min = Vec::with_capacity(compact.items.len());
        let mut open = Vec::with_capacity(compact.items.len());
        for (item, rows) in compact.items.iter().zip(&compact.rows_of_item) {
            open.push(item.clone().filter(|&option| allowed[option]).count());
            if open.last() == Some(&0) {
                return None;
            }
            let least = least_amounts(compact, item, rows, allowed);
            row_min[rows.clone()].iter_mut().zip(&least).for_each(|(sum, least)| *sum += least);
            item_min.push(least);
        }
        let mut domains = Domains {
            allowed: allowed.to_vec(),
            open,
            item_min,
            row_min,
            dirty_items: Vec::new(),
            dirty_links: (0..compact.links.len()).collect(),
            dirty_rows: vec![true; limits.len()],
        };
        self.run_to_fixpoint(limits, &mut domains).then_some(domains)
    }

    /// Fixes an option to 1 and propagates that; returns `None` if that proves infeasibility.
    pub(crate) fn fix_to_one(&self, limits: &[f64], domains: &Domains, option: usize) -> Option<Domains> {
        let mut domains = domains.clone();
        let item = self.compact.items[self.compact.item_of[option]].clone();
        let mut others = item.filter(|&other| other != option);
        let feasible =
            others.all(|other| self.fix_to_zero(&mut domains, other)) && self.run_to_fixpoint(limits, &mut domains);
        feasible.then_some(domains)
    }

    /// Fixes an option to 0; returns whether its item still has an option.
    fn fix_to_zero(&self, domains: &mut Domains, option: usize) -> bool {
        if !std::mem::replace(&mut domains.allowed[option], false) {
            return true;
        }
        let item = self.compact.item_of[option];
        domains.open[item] -= 1;
        domains.dirty_items.push(item);
        domains.dirty_links.extend(self.compact.links_to[option].iter().chain(&self.outgoing[item]));
        domains.open[item] > 0
    }

    /// Propagates until nothing changes; returns false if that proves infeasibility.
    fn run_to_fixpoint(&self, limits: &[f64], domains: &mut Domains) -> bool {
        loop {
            while let Some(link) = domains.dirty_links.pop() {
                if !self.propagate_link(domains, link) {
                    return false;
                }
            }
            domains.dirty_items.sort_unstable();
            domains.dirty_items.dedup();
            while let Some(item) = domains.dirty_items.pop() {
                let rows = &self.compact.rows_of_item[item];
                let item_min = least_amounts(self.compact, &self.compact.items[item], rows, &domains.allowed);
                for ((row, old), new) in rows.clone().zip(&domains.item_min[item]).zip(&item_min) {
                    if new > old {
                        domains.row_min[row] += new - old;
                        domains.dirty_rows[row] = true;
                    }
                }
                domains.item_min[item] = item_min;
            }
            for row in 0..limits.len() {
                if std::mem::replace(&mut domains.dirty_rows[row], false)
                    && !self.propagate_row(domains, row, limits[row])
                {
                    return false;
                }
            }
            if domains.dirty_links.is_empty() && domains.dirty_items.is_empty() {
                return true;
            }
        }
    }

    /// Fixes options to 0 that exceed a limit even if all other items take their least amounts.
    fn propagate_row(&self, domains: &mut Domains, row: usize, limit: f64) -> bool {
        let left = limit - domains.row_min[row];
        // Sums of integers are exact.
        if left < 0.0 {
            return false;
        }
        if left >= self.max_increase[row] {
            return true;
        }
        for &(option, amount) in &self.rows[row] {
            let item = self.compact.item_of[option];
            let item_min = domains.item_min[item][row - self.compact.rows_of_item[item].start];
            if domains.allowed[option] && amount - item_min > left && !self.fix_to_zero(domains, option) {
                return false;
            }
        }
        true
    }

    /// Fixes the options `from` of a link to 0 if none of `to` is left. If one of `from` is certain and only one item can serve
    /// the link, fixes that item's other options to 0.
    fn propagate_link(&self, domains: &mut Domains, link: usize) -> bool {
        let link = &self.compact.links[link];
        let mut serving = link.to.iter().copied().filter(|&option| domains.allowed[option]);
        let Some(first) = serving.next() else {
            return link.from.iter().all(|&option| self.fix_to_zero(domains, option));
        };
        let item = self.compact.item_of[first];
        if serving.any(|option| self.compact.item_of[option] != item) {
            return true;
        }
        let Some(&from) = link.from.first() else { return true };
        let mut from_options = self.compact.items[self.compact.item_of[from]].clone();
        if from_options.any(|option| domains.allowed[option] && link.from.binary_search(&option).is_err()) {
            return true;
        }
        let mut others = self.compact.items[item].clone().filter(|option| link.to.binary_search(option).is_err());
        others.all(|option| self.fix_to_zero(domains, option))
    }
}

/// Returns an item's least amount in each of its rows.
fn least_amounts(compact: &Compact, item: &Range<usize>, rows: &Range<usize>, allowed: &[bool]) -> Vec<f64> {
    let mut least = vec![f64::INFINITY; rows.len()];
    let mut amounts = vec![0.0; rows.len()];
    for option in item.clone().filter(|&option| allowed[option]) {
        amounts.fill(0.0);
        for span in &compact.spans[option] {
            let inside = span.first - rows.start..span.end - rows.start;
            amounts[inside].iter_mut().for_each(|amount| *amount += span.amount);
        }
        least.iter_mut().zip(&amounts).for_each(|(least, amount)| *least = least.min(*amount));
    }
    least
}
