//! The problem as flat arrays, after presolve: options are numbered, identical rows and links are merged.

use crate::problem::{Link, Pick, Problem, Use};
use std::collections::BTreeMap;
use std::ops::Range;

/// An amount in each of some adjacent rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) first: usize,
    /// The row behind the last one.
    pub(crate) end: usize,
    pub(crate) amount: f64,
}

/// A link from several options of one item: if one of `from` is chosen, so is one of `to`.
#[derive(Clone, Debug)]
pub(crate) struct MergedLink {
    pub(crate) from: Vec<usize>,
    pub(crate) to: Vec<usize>,
}

/// A valid inequality: the sum of coefficient times variable is at most the limit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cut {
    /// Options in ascending order, with their coefficients.
    pub(crate) terms: Vec<(usize, f64)>,
    pub(crate) limit: f64,
}

impl Cut {
    /// Returns the left-hand side at a solution of the relaxation.
    pub(crate) fn activity(&self, lp_values: &[f64]) -> f64 {
        self.terms.iter().map(|&(option, coefficient)| coefficient * lp_values[option]).sum()
    }
}

/// A problem as flat arrays.
#[derive(Clone, Debug)]
pub(crate) struct Compact {
    /// The options of each item.
    pub(crate) items: Vec<Range<usize>>,
    /// The item of each option.
    pub(crate) item_of: Vec<usize>,
    /// The cost of each option.
    pub(crate) cost: Vec<f64>,
    /// The amounts of each option.
    pub(crate) spans: Vec<Vec<Span>>,
    /// The limit of each row.
    pub(crate) limits: Vec<f64>,
    /// By row, the row of the original problem with the least limit among those it stands for.
    pub(crate) rows: Vec<usize>,
    pub(crate) links: Vec<MergedLink>,
    /// By option, the links whose `from` contains it.
    pub(crate) links_from: Vec<Vec<usize>>,
    /// By option, the links whose `to` contains it.
    pub(crate) links_to: Vec<Vec<usize>>,
    /// By item, the rows in which its options have amounts.
    pub(crate) rows_of_item: Vec<Range<usize>>,
    /// The cuts found so far.
    pub(crate) cuts: Vec<Cut>,
    /// By row, how much of its limit solutions leave unused. Dual bounds are those of the whole limits.
    pub(crate) reserve: Vec<f64>,
}

impl Compact {
    /// Flattens a problem. Rows inside the range `apart` are not merged with rows outside it.
    pub(crate) fn new(problem: &Problem, apart: Range<usize>) -> Compact {
        let (rows, row_of) = merged_rows(problem, apart);
        let mut compact = Compact {
            items: Vec::new(),
            item_of: Vec::new(),
            cost: Vec::new(),
            spans: Vec::new(),
            limits: rows.iter().map(|&row| problem.limits[row] as f64).collect(),
            reserve: vec![0.0; rows.len()],
            rows,
            links: Vec::new(),
            links_from: Vec::new(),
            links_to: Vec::new(),
            rows_of_item: Vec::new(),
            cuts: Vec::new(),
        };
        for (i, item) in problem.items.iter().enumerate() {
            let start = compact.cost.len();
            for choice in &item.options {
                let span = |used: &Use| Span {
                    first: row_of[used.first as usize],
                    end: row_of[used.last as usize] + 1,
                    amount: used.amount as f64,
                };
                compact.cost.push(choice.cost);
                compact.spans.push(choice.uses.iter().filter(|used| used.amount != 0).map(span).collect());
                compact.item_of.push(i);
            }
            let spans = || compact.spans[start..].iter().flatten();
            let first = spans().map(|span| span.first).min().unwrap_or(0);
            compact.rows_of_item.push(first..spans().map(|span| span.end).max().unwrap_or(first));
            compact.items.push(start..compact.cost.len());
        }
        compact.add_links(&problem.links);
        compact
    }

    /// Sets how much of the limits of some rows of the original problem solutions leave unused.
    pub(crate) fn set_reserve(&mut self, rows: &Range<u32>, amount: f64) {
        let rows = rows.start as usize..rows.end as usize;
        let inside = self.rows.iter().zip(&mut self.reserve).filter(|(row, _)| rows.contains(row));
        inside.for_each(|(_, reserve)| *reserve = amount);
    }

    /// Returns whether solutions leave anything unused.
    pub(crate) fn has_reserve(&self) -> bool {
        self.reserve.iter().any(|&reserve| reserve > 0.0)
    }

    /// Returns the problem with limits that are lower by the reserve.
    pub(crate) fn lowered(&self) -> Compact {
        let limits = self.limits.iter().zip(&self.reserve).map(|(limit, reserve)| limit - reserve).collect();
        Compact { limits, reserve: vec![0.0; self.reserve.len()], ..self.clone() }
    }

    /// Returns the problem with some of its rows, in ascending order: a relaxation.
    pub(crate) fn with_rows(&self, rows: &[usize]) -> Compact {
        let span = |span: &Span| Span {
            first: rows.partition_point(|&row| row < span.first),
            end: rows.partition_point(|&row| row < span.end),
            amount: span.amount,
        };
        let spans = |spans: &Vec<Span>| spans.iter().map(span).filter(|span| span.first < span.end).collect();
        let item =
            |of: &Range<usize>| rows.partition_point(|&row| row < of.start)..rows.partition_point(|&row| row < of.end);
        Compact {
            spans: self.spans.iter().map(spans).collect(),
            limits: rows.iter().map(|&row| self.limits[row]).collect(),
            rows: rows.iter().map(|&row| self.rows[row]).collect(),
            rows_of_item: self.rows_of_item.iter().map(item).collect(),
            reserve: rows.iter().map(|&row| self.reserve[row]).collect(),
            ..self.clone()
        }
    }

    /// Adds an option's amounts to an activity per row.
    pub(crate) fn add(&self, option: usize, activities: &mut [f64]) {
        for span in &self.spans[option] {
            activities[span.first..span.end].iter_mut().for_each(|activity| *activity += span.amount);
        }
    }

    /// Returns the activity of each row for a choice.
    pub(crate) fn activities(&self, picks: &[usize]) -> Vec<f64> {
        self.weighted_activities(picks.iter().map(|&option| (option, 1.0)))
    }

    /// Returns the activity of each row where options are chosen in part.
    pub(crate) fn weighted_activities(&self, chosen: impl Iterator<Item = (usize, f64)>) -> Vec<f64> {
        let mut changes = vec![0.0; self.limits.len() + 1];
        for (option, value) in chosen {
            for span in &self.spans[option] {
                changes[span.first] += value * span.amount;
                changes[span.end] -= value * span.amount;
            }
        }
        let mut activity = 0.0;
        changes[..self.limits.len()]
            .iter()
            .map(|change| {
                activity += change;
                activity
            })
            .collect()
    }

    /// Returns the amounts of the allowed options by row, the options in ascending order.
    pub(crate) fn amounts_by_row(&self, allowed: &[bool]) -> Vec<Vec<(usize, f64)>> {
        let mut rows: Vec<Vec<(usize, f64)>> = vec![Vec::new(); self.limits.len()];
        for option in (0..allowed.len()).filter(|&option| allowed[option]) {
            for span in &self.spans[option] {
                for row in &mut rows[span.first..span.end] {
                    match row.last_mut() {
                        Some((last, amount)) if *last == option => *amount += span.amount,
                        _ => row.push((option, span.amount)),
                    }
                }
            }
        }
        rows
    }

    /// Returns the maximal activity of a row, given as options in ascending order with their amounts.
    pub(crate) fn max_activity(&self, row: &[(usize, f64)]) -> f64 {
        let items = row.chunk_by(|(a, _), (b, _)| self.item_of[*a] == self.item_of[*b]);
        items.map(|item| item.iter().map(|(_, amount)| *amount).fold(0.0, f64::max)).sum()
    }

    /// Adds links. Those from one item to the same options are merged, which gives a tighter relaxation.
    fn add_links(&mut self, links: &[Link]) {
        let number = |pick: &Pick| self.items[pick.item as usize].start + pick.option as usize;
        let mut merged: BTreeMap<(u32, Vec<usize>), Vec<usize>> = BTreeMap::new();
        for link in links {
            let mut to: Vec<usize> = link.to.iter().map(number).collect();
            to.sort_unstable();
            to.dedup();
            let from = number(&link.from);
            if to.binary_search(&from).is_err() {
                merged.entry((link.from.item, to)).or_default().push(from);
            }
        }
        self.links_from = vec![Vec::new(); self.cost.len()];
        self.links_to = vec![Vec::new(); self.cost.len()];
        for ((_, to), mut from) in merged {
            from.sort_unstable();
            from.dedup();
            let link = self.links.len();
            from.iter().for_each(|&option| self.links_from[option].push(link));
            to.iter().for_each(|&option| self.links_to[option].push(link));
            self.links.push(MergedLink { from, to });
        }
    }
}

/// Merges adjacent rows with the same amounts: returns for each merged row the one with the least limit, and for each row
/// the merged row.
fn merged_rows(problem: &Problem, apart: Range<usize>) -> (Vec<usize>, Vec<usize>) {
    let mut starts = vec![false; problem.limits.len() + 1];
    for start in [0, apart.start, apart.end] {
        starts[start] = true;
    }
    for used in problem.items.iter().flat_map(|item| &item.options).flat_map(|choice| &choice.uses) {
        starts[used.first as usize] = true;
        starts[used.last as usize + 1] = true;
    }
    let mut rows: Vec<usize> = Vec::new();
    let mut row_of = Vec::with_capacity(problem.limits.len());
    for (row, &limit) in problem.limits.iter().enumerate() {
        if starts[row] {
            rows.push(row);
        } else if let Some(merged) = rows.last_mut()
            && limit < problem.limits[*merged]
        {
            *merged = row;
        }
        row_of.push(rows.len() - 1);
    }
    (rows, row_of)
}
