//! Diving: a primal heuristic that fixes items by the relaxation's solution until every item is fixed (Achterberg,
//! "Constraint integer programming", 2007, section 9.2).

use crate::branch::NodeLimits;
use crate::branching::{by_rows, largest, size, spread};
use crate::node::{INTEGRAL, Node};
use crate::search::{Search, rounded};
use std::collections::BinaryHeap;
use std::time::Instant;

/// A dive fixes one of this many open items at a time.
const STEP: usize = 8;
/// LP values above this are nearly integral.
const CLEAR: f64 = 0.85;
/// LP values below this are unlikely.
const UNLIKELY: f64 = 0.15;
/// The number of nodes that are explored after backtracking.
const BACKTRACK_NODES: usize = 60;

/// The order in which a dive fixes items, and the options that it fixes them to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Order {
    /// The least fractional items first, several at a time.
    LeastFractional,
    /// The items with the largest amounts first.
    Heaviest,
    /// The items with the largest amounts first, each fixed to the least amount that is not unlikely.
    Lightest,
}

impl Order {
    /// All orders.
    pub(crate) const ALL: [Order; 3] = [Order::LeastFractional, Order::Heaviest, Order::Lightest];
}

/// A fixing: the options that an item is reduced to, and the sum of their LP values.
#[derive(Clone)]
struct Fixing {
    item: usize,
    options: Vec<usize>,
    fraction: f64,
}

impl Search<'_> {
    /// Dives from a node until every item is fixed, then repairs the result and offers it as incumbent. An item's rows are
    /// fixed before its amounts.
    ///
    /// If fixing several items is infeasible, the dive fixes fewer of them. If one fixing and its complement are infeasible,
    /// the dive backtracks by a third of its depth and explores a few nodes there.
    pub(crate) fn dive(&mut self, from: &Node, order: Order, end: Instant) {
        let mut step = STEP;
        let mut path: Vec<Node> = Vec::new();
        let Some(mut node) = self.child(from, self.fix_by_reduced_cost(&from.allowed)) else { return };
        while Instant::now() < end {
            let mut fixings = self.fixings(&node, order);
            if fixings.is_empty() {
                let picks = rounded(self.compact, &node.lp_values, &node.allowed);
                self.repair_and_offer(&picks, &from.allowed);
                return;
            }
            self.keep_next(&mut fixings, order, step);
            let mut trial = node.allowed.clone();
            for fixing in &fixings {
                let options = self.compact.items[fixing.item].clone();
                options.for_each(|option| trial[option] &= fixing.options.contains(&option));
            }
            match self.child(&node, trial) {
                Some(child) => {
                    path.push(std::mem::replace(&mut node, child).without_lp());
                    step = (step / 2).max(STEP);
                }
                None if fixings.len() > 1 => step = step.saturating_mul(8),
                None => {
                    let mut rest = node.allowed.clone();
                    fixings.iter().flat_map(|fixing| &fixing.options).for_each(|&option| rest[option] = false);
                    if let Some(child) = self.child(&node, rest) {
                        path.push(std::mem::replace(&mut node, child).without_lp());
                        continue;
                    }
                    self.backtrack(&path, end);
                    return;
                }
            }
        }
    }

    /// Explores a few nodes below the node at two thirds of a dive's path.
    fn backtrack(&mut self, path: &[Node], end: Instant) {
        let back = path.get(path.len() * 2 / 3);
        if let Some(back) = back.and_then(|back| self.child(back, back.allowed.clone())) {
            let mut open = BinaryHeap::from([back]);
            self.explore(&mut open, NodeLimits { nodes: BACKTRACK_NODES, candidates: 2, heuristic: None }, end);
        }
    }

    /// Keeps the fixings, sorted by LP value, that the dive makes next.
    fn keep_next(&self, fixings: &mut Vec<Fixing>, order: Order, step: usize) {
        let above = |least: f64| fixings.iter().filter(|fixing| fixing.fraction > least).count();
        let integral = if step > STEP { 0 } else { above(INTEGRAL) };
        if order == Order::LeastFractional {
            let clear = above(CLEAR);
            fixings.truncate(integral.max(clear.min(fixings.len().div_ceil(step))).max(1));
            return;
        }
        let weight = |fixing: &Fixing| spread(self.compact, fixing.item);
        let heaviest = (integral..fixings.len()).max_by(|&a, &b| weight(&fixings[a]).total_cmp(&weight(&fixings[b])));
        let heaviest = heaviest.map(|at| fixings[at].clone());
        fixings.truncate(integral);
        fixings.extend(heaviest);
    }

    /// Returns a fixing per open item, the least fractional first: of its rows or, if these are fixed, of its amount.
    fn fixings(&self, node: &Node, order: Order) -> Vec<Fixing> {
        let mut found = Vec::new();
        for (item, options) in self.compact.items.iter().enumerate() {
            let open: Vec<usize> = options.clone().filter(|&option| node.allowed[option]).collect();
            if open.len() < 2 {
                continue;
            }
            let mut groups = by_rows(self.compact, &open);
            if groups.len() == 1 {
                groups = open.iter().map(|&option| vec![option]).collect();
            }
            if order == Order::Lightest {
                let fraction = |group: &[usize]| group.iter().map(|&option| node.lp_values[option]).sum::<f64>();
                let most = groups.iter().map(|group| fraction(group)).fold(0.0, f64::max);
                groups.retain(|group| fraction(group) >= most.min(UNLIKELY));
                let amount = |group: &[usize]| {
                    group.iter().map(|&option| size(self.compact, option)).fold(f64::INFINITY, f64::min)
                };
                groups.sort_by(|a, b| amount(a).total_cmp(&amount(b)));
                groups.truncate(1);
            }
            let options = largest(groups, &node.lp_values);
            let fraction = options.iter().map(|&option| node.lp_values[option]).sum();
            found.push(Fixing { item, options, fraction });
        }
        found.sort_by(|a, b| b.fraction.total_cmp(&a.fraction));
        found
    }
}
