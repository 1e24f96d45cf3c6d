//! Nodes of the branch-and-bound tree.

use crate::lp::Lp;
use std::cmp::Ordering;

/// How many open nodes keep their solved relaxation; for others it is solved again.
pub(crate) const SOLVED: usize = 24;
/// LP values above this count as 1.
pub(crate) const INTEGRAL: f64 = 0.999;

/// A node: a subproblem in which some options are fixed to 0, with its relaxation.
#[derive(Clone)]
pub(crate) struct Node {
    /// The dual bound.
    pub(crate) bound: f64,
    /// The options that are not fixed to 0.
    pub(crate) allowed: Vec<bool>,
    /// The relaxation's solution, by option.
    pub(crate) lp_values: Vec<f64>,
    /// The solved relaxation, if it is kept.
    pub(crate) lp: Option<Lp>,
}

impl Node {
    /// Drops the solved relaxation, which takes much memory.
    pub(crate) fn without_lp(self) -> Node {
        Node { lp: None, ..self }
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Node {}
impl PartialOrd for Node {
    fn partial_cmp(&self, other: &Node) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Node {
    /// Orders nodes for best-first search: a binary heap pops the least dual bound first.
    fn cmp(&self, other: &Node) -> Ordering {
        other.bound.total_cmp(&self.bound)
    }
}
