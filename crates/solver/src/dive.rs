//! Dives: decisions as the shares of a relaxation say, one after the other, until a solution is reached.

use crate::branch::{Limits, Node, Search, rounded};
use crate::branching::{by_time, largest, size, spread};
use std::collections::BinaryHeap;
use std::time::Instant;

/// A dive decides this part of the open items at a time, one of so many.
const PART: usize = 8;
/// Shares above these are sure, and clear; those below the last one are unlikely.
pub(crate) const SURE: f64 = 0.999;
const CLEAR: f64 = 0.85;
const UNLIKELY: f64 = 0.15;
/// Parts that are looked at behind a decision that a dive takes back.
const LOOKED: usize = 60;
/// In which order a dive decides, and what for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Order {
    /// The clearest items first, several at a time.
    Clearest,
    /// Items of large amounts first.
    Heaviest,
    /// The same, for the least amounts that are not unlikely.
    Safest,
}

impl Order {
    pub(crate) const ALL: [Order; 3] = [Order::Clearest, Order::Heaviest, Order::Safest];
}

/// Options of an item that it is reduced to, and their share.
#[derive(Clone)]
struct Decision {
    item: usize,
    options: Vec<usize>,
    share: f64,
}

impl Search<'_> {
    /// Follows the relaxation down: decides items as their shares say until all are decided, either a part of them at a
    /// time, the clearest first, or one at a time beside the clear ones, that of the largest amounts first. When amounts
    /// are taken is decided before how large they are.
    ///
    /// A part that leaves no solution is made smaller. Where a single decision leaves none, branch and bound goes on from a
    /// decision further back.
    pub(crate) fn dive(&mut self, from: &Node, order: Order, end: Instant) {
        let mut part = PART;
        let mut before: Vec<Node> = Vec::new();
        let Some(mut node) = self.part(from, self.fixed(&from.allowed)) else { return };
        while Instant::now() < end {
            let mut open = self.decisions(&node, order);
            if open.is_empty() {
                let top = rounded(self.compact, &node.shares, &node.allowed);
                self.repair_and_offer(&top, &from.allowed);
                return;
            }
            self.take(&mut open, order, part);
            let mut trial = node.allowed.clone();
            for decision in &open {
                let options = self.compact.items[decision.item].clone();
                options.for_each(|option| trial[option] &= decision.options.contains(&option));
            }
            match self.part(&node, trial) {
                Some(found) => {
                    before.push(std::mem::replace(&mut node, found).unsolved());
                    part = (part / 2).max(PART);
                }
                None if open.len() > 1 => part = part.saturating_mul(8),
                None => {
                    let mut rest = node.allowed.clone();
                    open.iter().flat_map(|decision| &decision.options).for_each(|&option| rest[option] = false);
                    if let Some(found) = self.part(&node, rest) {
                        before.push(std::mem::replace(&mut node, found).unsolved());
                        continue;
                    }
                    let back = before.get(before.len() * 2 / 3);
                    if let Some(back) = back.and_then(|back| self.part(back, back.allowed.clone())) {
                        let mut open = BinaryHeap::from([back]);
                        self.explore(&mut open, Limits { parts: LOOKED, tried: 2, dives: false }, end);
                    }
                    return;
                }
            }
        }
    }

    /// Leaves those decisions, of the clearest first, that are made next.
    fn take(&self, open: &mut Vec<Decision>, order: Order, part: usize) {
        let sure = if part > PART { 0 } else { open.iter().filter(|decision| decision.share > SURE).count() };
        if order == Order::Clearest {
            let clear = open.iter().filter(|decision| decision.share > CLEAR).count();
            open.truncate(sure.max(clear.min(open.len().div_ceil(part))).max(1));
            return;
        }
        let weight = |decision: &Decision| spread(self.compact, decision.item);
        let heaviest = (sure..open.len()).max_by(|&a, &b| weight(&open[a]).total_cmp(&weight(&open[b])));
        let heaviest = heaviest.map(|at| open[at].clone());
        open.truncate(sure);
        open.extend(heaviest);
    }

    /// What is undecided, the clearest first: when an item takes amounts or, if that is certain, how much.
    fn decisions(&self, node: &Node, order: Order) -> Vec<Decision> {
        let mut found = Vec::new();
        for (item, options) in self.compact.items.iter().enumerate() {
            let open: Vec<usize> = options.clone().filter(|&option| node.allowed[option]).collect();
            if open.len() < 2 {
                continue;
            }
            let mut groups = by_time(self.compact, &open);
            if groups.len() == 1 {
                groups = open.iter().map(|&option| vec![option]).collect();
            }
            if order == Order::Safest {
                // What is not unlikely and takes least.
                let share = |group: &[usize]| group.iter().map(|&option| node.shares[option]).sum::<f64>();
                let most = groups.iter().map(|group| share(group)).fold(0.0, f64::max);
                groups.retain(|group| share(group) >= most.min(UNLIKELY));
                let taken = |group: &[usize]| {
                    group.iter().map(|&option| size(self.compact, option)).fold(f64::INFINITY, f64::min)
                };
                groups.sort_by(|a, b| taken(a).total_cmp(&taken(b)));
                groups.truncate(1);
            }
            let options = largest(groups, &node.shares);
            let share = options.iter().map(|&option| node.shares[option]).sum();
            found.push(Decision { item, options, share });
        }
        found.sort_by(|a, b| b.share.total_cmp(&a.share));
        found
    }
}
