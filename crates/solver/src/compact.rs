//! A problem as flat arrays: options and links by number, and rows that are alike as one.

use crate::problem::{Link, Pick, Problem, Use};
use std::collections::BTreeMap;
use std::ops::Range;

/// An amount in each of some rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) first: usize,
    /// The row behind the last one.
    pub(crate) end: usize,
    pub(crate) amount: f64,
}

/// If one of the options `from`, which are of one item, is chosen, then one of `to` is.
#[derive(Clone, Debug)]
pub(crate) struct Need {
    pub(crate) from: Vec<usize>,
    pub(crate) to: Vec<usize>,
}

/// An inequality that all solutions keep, but not all mixtures of them: factor times share, summed up, is at most the limit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cut {
    /// Options in ascending order, with their factors.
    pub(crate) terms: Vec<(usize, f64)>,
    pub(crate) limit: f64,
}

/// A problem as flat arrays.
#[derive(Clone, Debug)]
pub(crate) struct Compact {
    /// The options of each item.
    pub(crate) items: Vec<Range<usize>>,
    /// The item of each option.
    pub(crate) item_of: Vec<usize>,
    pub(crate) cost: Vec<f64>,
    pub(crate) spans: Vec<Vec<Span>>,
    pub(crate) limits: Vec<f64>,
    /// The original row that each row stands for: that of the least limit.
    pub(crate) rows: Vec<usize>,
    pub(crate) needs: Vec<Need>,
    /// The needs that name each option as `from` and as `to`.
    pub(crate) needs_of: Vec<Vec<usize>>,
    pub(crate) served_by: Vec<Vec<usize>>,
    /// The rows in which the options of each item take anything.
    pub(crate) reach: Vec<Range<usize>>,
    /// What was found to hold beside limits and needs.
    pub(crate) cuts: Vec<Cut>,
    /// What solutions leave free of each row's limit, though bounds are those of the whole limits.
    pub(crate) free: Vec<f64>,
}

impl Compact {
    /// The flat form; rows from which no limit may be merged with one outside are given as `apart`.
    pub(crate) fn new(problem: &Problem, apart: Range<usize>) -> Compact {
        let mut cuts = vec![false; problem.limits.len() + 1];
        for cut in [0, apart.start, apart.end] {
            cuts[cut] = true;
        }
        for used in problem.items.iter().flat_map(|item| &item.options).flat_map(|choice| &choice.uses) {
            cuts[used.first as usize] = true;
            cuts[used.last as usize + 1] = true;
        }
        let mut rows: Vec<usize> = Vec::new();
        let mut row_of = Vec::with_capacity(problem.limits.len());
        for (row, &limit) in problem.limits.iter().enumerate() {
            if cuts[row] {
                rows.push(row);
            } else if let Some(merged) = rows.last_mut()
                && limit < problem.limits[*merged]
            {
                *merged = row;
            }
            row_of.push(rows.len() - 1);
        }
        let mut compact = Compact {
            items: Vec::new(),
            item_of: Vec::new(),
            cost: Vec::new(),
            spans: Vec::new(),
            limits: rows.iter().map(|&row| problem.limits[row] as f64).collect(),
            rows,
            needs: Vec::new(),
            needs_of: Vec::new(),
            served_by: Vec::new(),
            reach: Vec::new(),
            cuts: Vec::new(),
            free: Vec::new(),
        };
        compact.free = vec![0.0; compact.limits.len()];
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
            compact.reach.push(first..spans().map(|span| span.end).max().unwrap_or(first));
            compact.items.push(start..compact.cost.len());
        }
        compact.add_needs(&problem.links);
        compact
    }

    /// Has solutions leave an amount of some of the original rows' limits free.
    pub(crate) fn keep_free(&mut self, rows: &Range<u32>, amount: f64) {
        let rows = rows.start as usize..rows.end as usize;
        let inside = self.rows.iter().zip(&mut self.free).filter(|(row, _)| rows.contains(row));
        inside.for_each(|(_, free)| *free = amount);
    }

    /// Whether solutions leave anything free.
    pub(crate) fn keeps_free(&self) -> bool {
        self.free.iter().any(|&free| free > 0.0)
    }

    /// The same with limits that are lower by what solutions leave free.
    pub(crate) fn lowered(&self) -> Compact {
        let limits = self.limits.iter().zip(&self.free).map(|(limit, free)| limit - free).collect();
        Compact { limits, free: vec![0.0; self.free.len()], ..self.clone() }
    }

    /// Adds what an option takes in every row.
    pub(crate) fn add(&self, option: usize, taken: &mut [f64]) {
        for span in &self.spans[option] {
            taken[span.first..span.end].iter_mut().for_each(|taken| *taken += span.amount);
        }
    }

    /// The most that a row's options, in ascending order with their amounts, can take together.
    pub(crate) fn most(&self, row: &[(usize, f64)]) -> f64 {
        let parts = row.chunk_by(|(a, _), (b, _)| self.item_of[*a] == self.item_of[*b]);
        parts.map(|part| part.iter().map(|(_, amount)| *amount).fold(0.0, f64::max)).sum()
    }

    /// Links that ask for the same on behalf of one item become one need, which is a stronger inequality.
    fn add_needs(&mut self, links: &[Link]) {
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
        self.needs_of = vec![Vec::new(); self.cost.len()];
        self.served_by = vec![Vec::new(); self.cost.len()];
        for ((_, to), mut from) in merged {
            from.sort_unstable();
            from.dedup();
            let need = self.needs.len();
            from.iter().for_each(|&option| self.needs_of[option].push(need));
            to.iter().for_each(|&option| self.served_by[option].push(need));
            self.needs.push(Need { from, to });
        }
    }
}
