//! Offsets in one block of memory for tensors of known lifetimes.

use crate::lifetimes::Item;
use crate::pack::Packing;

/// The offset of every item, and the size of the block.
pub(crate) struct Placed {
    pub(crate) offsets: Vec<usize>,
    pub(crate) size: usize,
}

/// Places items so that no two that live at one time overlap: the best of several orders, each item at the lowest place
/// that is free for all of its life, or a packing that is searched for where they leave gaps.
pub(crate) fn place(items: &[Item]) -> Placed {
    let bound = live(items).into_iter().max().unwrap_or(0);
    let keys: [Key; 4] = [
        |item| (item.size, length(item)),
        |item| (length(item), item.size),
        |item| (item.size.saturating_mul(length(item)), length(item)),
        |item| (usize::MAX - item.first, length(item)),
    ];
    let orders: Vec<Vec<usize>> = keys.iter().map(|key| sorted(items, *key)).collect();
    let mut best = Placed { offsets: Vec::new(), size: usize::MAX };
    for order in &orders {
        let placed = first_fit(items, order);
        if placed.size < best.size {
            best = placed;
        }
        if best.size <= bound {
            return best;
        }
    }
    pack(items, bound, &mut best);
    best
}

/// The part of the least size that is not worth more than one search.
const SPARE: f64 = 1e-4;
/// The number of sizes that are tried, and for each the number of items to place, which gives the number of beginnings within limits.
const SIZES: usize = 6;
const PLACED: usize = 15_000;
const LEAST: usize = 5;
const MOST: usize = 60;

/// Packs items into smaller and smaller blocks: first into one of the least size, then between what failed and the best.
fn pack(items: &[Item], bound: usize, best: &mut Placed) {
    let packing = Packing::new(items);
    let beginnings = (PLACED / items.len().max(1)).clamp(LEAST, MOST);
    let mut low = bound;
    for attempt in 0..SIZES {
        let near = best.size as f64 <= bound as f64 * (1.0 + SPARE);
        if best.size <= bound || near && attempt > 0 {
            break;
        }
        let capacity = if attempt == 0 { bound } else { low + (best.size - low) / 3 };
        match packing.within(capacity, beginnings) {
            Some(offsets) => {
                let ends = offsets.iter().zip(items).map(|(offset, item)| offset + item.size);
                *best = Placed { size: ends.max().unwrap_or(0), offsets };
                // What failed before may be above what is found now.
                if best.size <= low {
                    low = bound;
                }
            }
            None => low = capacity,
        }
    }
}

/// The items in the order of a key.
fn sorted(items: &[Item], key: Key) -> Vec<usize> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(key(&items[i])), i));
    order
}

/// By which items are placed first, the largest key at the front.
type Key = fn(&Item) -> (usize, usize);

/// How many units an item lives through.
fn length(item: &Item) -> usize {
    item.last - item.first + 1
}

/// Bytes that are alive at each unit.
pub(crate) fn live(items: &[Item]) -> Vec<usize> {
    let units = items.iter().map(|item| item.last + 1).max().unwrap_or(0);
    let mut changes = vec![0_i128; units + 1];
    for item in items {
        changes[item.first] += item.size as i128;
        changes[item.last + 1] -= item.size as i128;
    }
    let mut sum = 0;
    let live = changes.into_iter().take(units).map(|change| {
        sum += change;
        usize::try_from(sum).unwrap_or(usize::MAX)
    });
    live.collect()
}

fn first_fit(items: &[Item], order: &[usize]) -> Placed {
    let mut placed = Placed { offsets: vec![0; items.len()], size: 0 };
    // Placed items by offset.
    let mut done: Vec<usize> = Vec::with_capacity(items.len());
    for &i in order {
        let item = &items[i];
        let mut offset = 0usize;
        for &other in &done {
            let (start, o) = (placed.offsets[other], &items[other]);
            if o.last < item.first || item.last < o.first {
                continue;
            }
            if offset.saturating_add(item.size) <= start {
                break;
            }
            offset = offset.max(start.saturating_add(o.size));
        }
        placed.offsets[i] = offset;
        placed.size = placed.size.max(offset.saturating_add(item.size));
        let at = done.partition_point(|&other| placed.offsets[other] <= offset);
        done.insert(at, i);
    }
    placed
}
