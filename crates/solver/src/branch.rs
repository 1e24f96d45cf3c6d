//! Branch and bound (Land and Doig, 1960), best bound first, plunging into promising children.

use crate::branching::{Branching, Pseudocosts, branchings};
use crate::node::{Node, SOLVED};
use crate::search::{Search, rounded};
use std::collections::BinaryHeap;
use std::time::Instant;

/// A child is promising if its dual bound closes at most this fraction of the gap.
const PROMISING: f64 = 0.5;
/// Strong branching stops after this many candidates in a row without a better one.
const MISSES: usize = 3;

/// A primal heuristic that runs at the n-th node, until an instant.
pub(crate) type Heuristic = fn(&mut Search<'_>, &Node, usize, Instant);

/// How much work goes into branch and bound.
#[derive(Clone, Copy)]
pub(crate) struct NodeLimits {
    /// The number of nodes that are branched on.
    pub(crate) nodes: usize,
    /// The number of candidates that strong branching tries at a node.
    pub(crate) candidates: usize,
    /// The heuristic that runs at some of the nodes.
    pub(crate) heuristic: Option<Heuristic>,
}

impl Search<'_> {
    /// Explores open nodes within limits; returns the least dual bound of the nodes that stay open or were dropped.
    pub(crate) fn explore(&mut self, open: &mut BinaryHeap<Node>, limits: NodeLimits, end: Instant) -> f64 {
        let mut count = 0usize;
        let mut next = None;
        while let Some(node) = next.take().or_else(|| open.pop()) {
            let late = self.is_over() || Instant::now() >= end || count >= limits.nodes;
            let least = open.peek().map_or(node.bound, |other| other.bound.min(node.bound));
            if late || self.is_done(least) {
                open.push(node);
                return least.min(self.dropped_bound);
            }
            if node.bound >= self.cutoff() {
                continue;
            }
            let is_leaf = node.allowed.iter().filter(|allowed| **allowed).count() == self.compact.items.len();
            if is_leaf && self.compact.has_reserve() {
                self.dropped_bound = self.dropped_bound.min(node.bound);
            }
            count += 1;
            if let Some(heuristic) = limits.heuristic {
                heuristic(self, &node, count, end);
            }
            self.offer(rounded(self.compact, &node.lp_values, &node.allowed));
            let mut children = self.branch(&node, limits.candidates);
            children.sort_by(|a, b| a.bound.total_cmp(&b.bound));
            let mut children = children.into_iter().peekable();
            // Plunging: the better child comes next while it is promising, since its relaxation is nearly solved.
            let gap = self.cutoff() - least;
            next = children.next_if(|child| gap.is_infinite() || child.bound - least <= PROMISING * gap);
            for mut child in children {
                child.lp = child.lp.filter(|_| open.len() < SOLVED);
                open.push(child);
            }
        }
        self.dropped_bound
    }

    /// Branches on the candidate whose children raise the dual bound most (strong branching; Applegate, Bixby, Chvatal and
    /// Cook, 1995); returns the children that are not pruned.
    fn branch(&mut self, node: &Node, most: usize) -> Vec<Node> {
        let allowed = self.fix_by_reduced_cost(&node.allowed);
        let mut best: Option<(f64, Vec<Node>)> = None;
        let (mut tried, mut misses) = (0, 0);
        for branching in branchings(self.compact, &node.allowed, &node.lp_values, &self.pseudocosts) {
            if tried >= most || misses >= MISSES || self.is_over() && best.is_some() {
                break;
            }
            tried += 1;
            misses += 1;
            let children = self.children(node, &allowed, &branching);
            let [with, without] = &children[..] else { return children };
            let gains = [with.bound - node.bound, without.bound - node.bound];
            self.pseudocosts.add(&branching, gains[0], gains[1]);
            let score = Pseudocosts::product(gains[0], gains[1]);
            if best.as_ref().is_none_or(|(most, _)| score > *most) {
                best = Some((score, children));
                misses = 0;
            }
        }
        best.map_or(Vec::new(), |(_, children)| children)
    }

    /// Creates both children of a branching, in parallel.
    fn children(&self, node: &Node, allowed: &[bool], branching: &Branching) -> Vec<Node> {
        let child = |inside: bool| {
            let mut allowed = allowed.to_vec();
            for option in self.compact.items[branching.item].clone() {
                allowed[option] &= branching.options.contains(&option) == inside;
            }
            self.child(node, allowed)
        };
        let (with, without) = rayon::join(|| child(true), || child(false));
        with.into_iter().chain(without).collect()
    }
}
