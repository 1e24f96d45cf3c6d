//! Which options exclude each other, found by choosing each of them alone; and inequalities from that.

use crate::compact::{Compact, Cut};
use crate::propagate::Propagation;
use std::time::Instant;

/// Violations below this are not worth a cut.
const LEAST: f64 = 1e-2;

/// Pairs of options that are in no solution together.
pub(crate) struct Conflicts {
    /// By option, a bit per option.
    of: Vec<Vec<u64>>,
}

/// Chooses each option alone and sees what limits and needs rule out then, until the time is over; options that leave no
/// solution are forbidden. Nothing if none is left.
pub(crate) fn probe(
    propagation: &Propagation<'_>,
    compact: &Compact,
    limits: &[f64],
    allowed: &mut Vec<bool>,
    end: Instant,
) -> Option<Conflicts> {
    let words = allowed.len().div_ceil(64);
    let mut conflicts = Conflicts { of: vec![vec![0; words]; allowed.len()] };
    let mut state = propagation.all(limits, allowed)?;
    for item in &compact.items {
        for a in item.clone() {
            item.clone().filter(|&b| b != a).for_each(|b| conflicts.add(a, b));
        }
        if item.clone().filter(|&option| state.allowed[option]).count() < 2 {
            continue;
        }
        for option in item.clone() {
            if !state.allowed[option] || Instant::now() >= end {
                continue;
            }
            match propagation.chosen(limits, &state, option) {
                Some(then) => {
                    let gone = |&other: &usize| state.allowed[other] && !then.allowed[other];
                    (0..allowed.len()).filter(gone).for_each(|other| conflicts.add(option, other));
                }
                None => {
                    let mut rest = state.allowed.clone();
                    rest[option] = false;
                    state = propagation.all(limits, &rest)?;
                }
            }
        }
    }
    *allowed = state.allowed;
    Some(conflicts)
}

impl Conflicts {
    fn add(&mut self, a: usize, b: usize) {
        self.of[a][b / 64] |= 1 << (b % 64);
        self.of[b][a / 64] |= 1 << (a % 64);
    }

    /// Sets of options of which only one can be chosen, with shares above one in sum.
    pub(crate) fn separate(&self, compact: &Compact, allowed: &[bool], shares: &[f64], most: usize) -> Vec<Cut> {
        let mut sorted: Vec<usize> =
            (0..allowed.len()).filter(|&option| allowed[option] && shares[option] > 1e-4).collect();
        sorted.sort_by(|&a, &b| shares[b].total_cmp(&shares[a]).then(a.cmp(&b)));
        let mut found: Vec<(f64, Cut)> = Vec::new();
        for &seed in &sorted {
            let mut clique = vec![seed];
            let mut common = self.of[seed].clone();
            let others = (0..allowed.len()).filter(|&option| allowed[option] && shares[option] <= 1e-4);
            for option in sorted.iter().copied().chain(others) {
                if common[option / 64] >> (option % 64) & 1 == 1 {
                    common.iter_mut().zip(&self.of[option]).for_each(|(common, of)| *common &= of);
                    clique.push(option);
                }
            }
            let sum: f64 = clique.iter().map(|&option| shares[option]).sum();
            let item = compact.item_of[seed];
            if sum > 1.0 + LEAST && clique.iter().any(|&option| compact.item_of[option] != item) {
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
