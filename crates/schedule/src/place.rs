//! Offsets in one block of memory for tensors of known lifetimes.

use crate::ALIGNMENT;
use crate::lifetimes::Item;

/// The offset of every item, and the size of the block.
pub(crate) struct Placed {
    pub(crate) offsets: Vec<usize>,
    pub(crate) size: usize,
}

fn rounded(bytes: usize) -> usize {
    bytes.div_ceil(ALIGNMENT).saturating_mul(ALIGNMENT)
}

/// Places items so that no two that live at one time overlap: the best of several orders, each item at the lowest place
/// that is free for all of its life.
pub(crate) fn place(items: &[Item]) -> Placed {
    let bound = live(items).into_iter().max().unwrap_or(0);
    let keys: [Key; 4] = [
        |item| (rounded(item.bytes), length(item)),
        |item| (length(item), rounded(item.bytes)),
        |item| (rounded(item.bytes).saturating_mul(length(item)), length(item)),
        |item| (usize::MAX - item.first, length(item)),
    ];
    let mut best = Placed { offsets: Vec::new(), size: usize::MAX };
    for key in keys {
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by_key(|&i| (std::cmp::Reverse(key(&items[i])), i));
        let placed = first_fit(items, &order);
        if placed.size < best.size {
            best = placed;
        }
        if best.size <= bound {
            break;
        }
    }
    best
}

/// By which items are placed first, the largest key at the front.
type Key = fn(&Item) -> (usize, usize);

/// How many units an item lives through.
fn length(item: &Item) -> usize {
    item.last - item.first + 1
}

/// Bytes that are alive at each unit.
pub(crate) fn live(items: &[Item]) -> Vec<usize> {
    let mut live = vec![0; items.iter().map(|item| item.last + 1).max().unwrap_or(0)];
    for item in items {
        live[item.first..=item.last].iter_mut().for_each(|l: &mut usize| *l = l.saturating_add(rounded(item.bytes)));
    }
    live
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
            if offset.saturating_add(rounded(item.bytes)) <= start {
                break;
            }
            offset = offset.max(start.saturating_add(rounded(o.bytes)));
        }
        placed.offsets[i] = offset;
        placed.size = placed.size.max(offset.saturating_add(rounded(item.bytes)));
        let at = done.partition_point(|&other| placed.offsets[other] <= offset);
        done.insert(at, i);
    }
    placed
}
