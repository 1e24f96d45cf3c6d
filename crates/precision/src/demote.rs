//! Demotion: whole groups become low, one after the other, until the low ratio is reached (paper, "Demotion").

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::cmp::Reverse;

/// Groups by size, largest first; of equal ones the earlier first.
pub(crate) fn largest_first(sizes: &[u64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&id| Reverse(sizes[id]));
    order
}

/// Groups by size, smallest first; of equal ones the earlier first.
pub(crate) fn smallest_first(sizes: &[u64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&id| sizes[id]);
    order
}

/// Groups in a random order, the same for the same seed.
pub(crate) fn shuffled(sizes: &[u64], seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    order
}

/// The first groups of `order` with which the share of low elements among `total` is at least `low_ratio`.
///
/// `sizes` are the elements that demoting each group makes low; `low` are low whatever is demoted.
pub(crate) fn demoted(sizes: &[u64], order: &[usize], mut low: u64, total: u64, low_ratio: f64) -> Vec<usize> {
    let mut picked = Vec::new();
    for &id in order {
        if low as f64 / total.max(1) as f64 >= low_ratio {
            break;
        }
        low = low.saturating_add(sizes[id]);
        picked.push(id);
    }
    picked
}
