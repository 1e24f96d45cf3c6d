//! Demotion: whole groups become low, one after the other, until the low ratio is reached (paper, "Demotion").

use crate::groups::Group;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::cmp::Reverse;

/// Groups by size, largest first; of equal ones the earlier first.
pub(crate) fn largest_first(groups: &[Group]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(|&id| Reverse(groups[id].elements));
    order
}

/// Groups by size, smallest first; of equal ones the earlier first.
pub(crate) fn smallest_first(groups: &[Group]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(|&id| groups[id].elements);
    order
}

/// Groups in a random order, the same for the same seed.
pub(crate) fn shuffled(groups: &[Group], seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    order
}

/// The first groups of `order` whose share of all elements is at least `low_ratio`.
pub(crate) fn demoted(groups: &[Group], order: &[usize], low_ratio: f64) -> Vec<usize> {
    let total = groups.iter().fold(0u64, |sum, group| sum.saturating_add(group.elements)).max(1);
    let mut low = 0u64;
    let mut picked = Vec::new();
    for &id in order {
        if low as f64 / total as f64 >= low_ratio {
            break;
        }
        low = low.saturating_add(groups[id].elements);
        picked.push(id);
    }
    picked
}
