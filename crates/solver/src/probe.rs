//! Probing (Savelsbergh, 1994): fixes each option to 1 tentatively and propagates. The exclusions found form a conflict graph,
//! whose cliques give cuts (Atamturk, Nemhauser and Savelsbergh, 2000).

use crate::compact::{Compact, Cut};
use crate::propagate::Propagation;
use std::time::Instant;

/// The least violation of a cut.
const VIOLATION: f64 = 1e-2;
/// LP values up to this count as 0.
const ZERO: f64 = 1e-4;

/// The conflict graph: an edge joins two options that are in no feasible choice together.
pub(crate) struct Conflicts {
    /// By option, a bit per option.
    adjacent: Vec<Vec<u64>>,
}

/// Probes all allowed options until an instant. Fixes those to 0 that prove infeasible; returns the conflict graph, or `None`
/// if the problem is infeasible.
pub(crate) fn probe(
    propagation: &Propagation<'_>,
    limits: &[f64],
    allowed: &mut Vec<bool>,
    end: Instant,
) -> Option<Conflicts> {
    let words = allowed.len().div_ceil(64);
    let mut conflicts = Conflicts { adjacent: vec![vec![0; words]; allowed.len()] };
    let mut domains = propagation.propagate(limits, allowed)?;
    for item in &propagation.compact.items {
        for a in item.clone() {
            item.clone().filter(|&b| b != a).for_each(|b| conflicts.add(a, b));
        }
        if item.clone().filter(|&option| domains.allowed[option]).count() < 2 {
            continue;
        }
        for option in item.clone() {
            if !domains.allowed[option] || Instant::now() >= end {
                continue;
            }
            match propagation.fix_to_one(limits, &domains, option) {
                Some(then) => {
                    let fixed = |&other: &usize| domains.allowed[other] && !then.allowed[other];
                    (0..allowed.len()).filter(fixed).for_each(|other| conflicts.add(option, other));
                }
                None => {
                    let mut rest = domains.allowed.clone();
                    rest[option] = false;
                    domains = propagation.propagate(limits, &rest)?;
                }
            }
        }
    }
    *allowed = domains.allowed;
    Some(conflicts)
}

impl Conflicts {
    /// Adds an edge.
    fn add(&mut self, a: usize, b: usize) {
        self.adjacent[a][b / 64] |= 1 << (b % 64);
        self.adjacent[b][a / 64] |= 1 << (a % 64);
    }

    /// Separates clique inequalities greedily: returns the most violated ones, at most `most`.
    pub(crate) fn separate_cliques(
        &self,
        compact: &Compact,
        allowed: &[bool],
        lp_values: &[f64],
        most: usize,
    ) -> Vec<Cut> {
        let mut sorted: Vec<usize> =
            (0..allowed.len()).filter(|&option| allowed[option] && lp_values[option] > ZERO).collect();
        sorted.sort_by(|&a, &b| lp_values[b].total_cmp(&lp_values[a]).then(a.cmp(&b)));
        let mut found: Vec<(f64, Cut)> = Vec::new();
        for &seed in &sorted {
            let mut clique = vec![seed];
            let mut common = self.adjacent[seed].clone();
            let others = (0..allowed.len()).filter(|&option| allowed[option] && lp_values[option] <= ZERO);
            for option in sorted.iter().copied().chain(others) {
                if common[option / 64] >> (option % 64) & 1 == 1 {
                    common.iter_mut().zip(&self.adjacent[option]).for_each(|(common, of)| *common &= of);
                    clique.push(option);
                }
            }
            let sum: f64 = clique.iter().map(|&option| lp_values[option]).sum();
            let item = compact.item_of[seed];
            if sum > 1.0 + VIOLATION && clique.iter().any(|&option| compact.item_of[option] != item) {
                clique.sort_unstable();
                let cut = Cut { terms: clique.into_iter().map(|option| (option, 1.0)).collect(), limit: 1.0 };
                if found.iter().all(|(_, other)| *other != cut) {
                    found.push((sum, cut));
                }
            }
        }
        found.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        found.into_iter().take(most).map(|(_, cut)| cut).collect()
    }
}
