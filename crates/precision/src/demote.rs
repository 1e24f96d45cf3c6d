//! Demotion: groups become low one by one until the low ratio is reached (paper, "Demotion").

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::cmp::Reverse;

/// Sorts groups by size, the largest first. Equal ones keep their order.
pub(crate) fn largest_first(sizes: &[u64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&id| Reverse(sizes[id]));
    order
}

/// Sorts groups by size, the smallest first. Equal ones keep their order.
pub(crate) fn smallest_first(sizes: &[u64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&id| sizes[id]);
    order
}

/// Shuffles groups, reproducibly by seed.
pub(crate) fn shuffled(sizes: &[u64], seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    order
}

/// Returns the shortest prefix of `order` whose demotion makes at least `low_ratio` of `total` elements low.
///
/// `sizes` holds the number of elements that demoting each group makes low. `low` elements are low in any case.
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
