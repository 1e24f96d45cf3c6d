//! Packing tensors into a block of given size: a search that places them from the bottom up.
//!
//! Every packing can be pushed down until each tensor lies at the bottom or on another one, and its tensors can then be placed
//! in the order of their offsets. So the search places one tensor after the other, each as low as those before allow and
//! none below the last; it turns back as soon as what is left cannot fit above (after Moffitt, "MiniMalloc", 2023). It
//! begins anew with other preferences where one order does not lead to a packing soon: tensors of the section that could not
//! be filled come earlier.

use crate::lifetimes::Item;
use crate::random::Random;
use std::ops::Range;

/// Tensors with their lives in sections. A section is a unit after which a tensor ends before the next one begins: the tensors that are alive
/// in any other unit are all alive in a section too, so that what fits in every section fits in every unit.
pub(crate) struct Packing {
    sizes: Vec<usize>,
    /// The first section and the one behind the last, by tensor.
    lives: Vec<[usize; 2]>,
    sections: usize,
}

/// The number of placements that a search may take back: so many per tensor, and at most so many in all.
const TAKEN_BACK: usize = 4;
const TAKEN_BACK_IN_ALL: usize = 600;
/// By how much tensors where a search failed come earlier, and after how many searches that is forgotten.
const URGENT: f64 = 2.0;
const AGAIN: usize = 20;
/// Tensors of which one is placed next, at most.
const WIDTH: usize = 3;

impl Packing {
    pub(crate) fn new(items: &[Item]) -> Packing {
        let units = |unit: fn(&Item) -> usize| {
            let mut units: Vec<usize> = items.iter().map(unit).collect();
            units.sort_unstable();
            units.dedup();
            units
        };
        let (firsts, lasts) = (units(|item| item.first), units(|item| item.last));
        // Something ends between a section's unit and the next one in which something begins.
        let is_section = |at: usize| {
            let end = lasts.get(lasts.partition_point(|&last| last < firsts[at]));
            let next = firsts.get(at + 1);
            end.is_some_and(|end| next.is_none_or(|next| end < next))
        };
        let sections: Vec<usize> = (0..firsts.len()).filter(|&at| is_section(at)).map(|at| firsts[at]).collect();
        let at = |unit: usize| sections.partition_point(|&section| section < unit);
        Packing {
            sizes: items.iter().map(|item| item.size).collect(),
            lives: items.iter().map(|item| [at(item.first), at(item.last + 1)]).collect(),
            sections: sections.len(),
        }
    }

    /// Offsets at which no two tensors that are alive together overlap and all end within `capacity`, from so many
    /// beginnings; nothing if none is found.
    pub(crate) fn within(&self, capacity: usize, beginnings: usize) -> Option<Vec<usize>> {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut urgent = vec![0.0; self.sizes.len()];
        (0..beginnings).find_map(|beginning| {
            if beginning % AGAIN == 0 {
                urgent.fill(0.0);
            }
            let order = self.order(beginning, &urgent, &mut random);
            let mut search = Search::new(self, capacity, order);
            if search.place(0) {
                return Some(search.offsets);
            }
            let full = (0..self.sections).max_by_key(|&section| search.failed[section])?;
            let alive = |life: &[usize; 2]| life[0] <= full && full < life[1];
            let there = urgent.iter_mut().zip(&self.lives).filter(|(_, life)| alive(life));
            there.for_each(|(urgent, _)| *urgent += URGENT);
            None
        })
    }

    /// Which tensors are preferred among those that could lie lowest: large and long-lived ones, more or less, and urgent
    /// ones.
    fn order(&self, beginning: usize, urgent: &[f64], random: &mut Random) -> Vec<usize> {
        let by_length = [0.5, 1.0, 2.0][beginning % 3];
        let noise = if beginning < 3 { 0.0 } else { 0.8 * (1 + beginning % 5) as f64 };
        let mut key = |(&size, life): (&usize, &[usize; 2])| {
            let shift = random.below(1 << 20) as f64 / f64::from(1 << 20) - 0.5;
            (size.max(1) as f64).ln() + by_length * ((life[1] - life[0]) as f64).ln() + noise * shift
        };
        let keys = self.sizes.iter().zip(&self.lives).map(&mut key);
        let keys: Vec<f64> = keys.zip(urgent).map(|(key, urgent)| key + urgent).collect();
        let mut order: Vec<usize> = (0..self.sizes.len()).collect();
        order.sort_by(|&a, &b| keys[b].total_cmp(&keys[a]));
        order
    }
}

/// A search from one beginning. Tensors go by their position in the order of preference.
struct Search {
    capacity: usize,
    order: Vec<usize>,
    sizes: Vec<usize>,
    lives: Vec<[usize; 2]>,
    /// The offset of each tensor, by number.
    offsets: Vec<usize>,
    /// The tensors that are not placed, in order.
    open: Vec<usize>,
    /// The lowest offset that is left for each tensor.
    lowest: Vec<usize>,
    /// By section, the end of what lies there, and the sizes of what does not yet.
    floor: Vec<usize>,
    left: Vec<usize>,
    tries: usize,
    /// By section, how often what is left there did not fit.
    failed: Vec<usize>,
}

impl Search {
    fn new(packing: &Packing, capacity: usize, order: Vec<usize>) -> Search {
        let sizes: Vec<usize> = order.iter().map(|&i| packing.sizes[i]).collect();
        let lives: Vec<[usize; 2]> = order.iter().map(|&i| packing.lives[i]).collect();
        let mut left = vec![0usize; packing.sections];
        for (size, &[first, end]) in sizes.iter().zip(&lives) {
            left[first..end].iter_mut().for_each(|left| *left = left.saturating_add(*size));
        }
        let count = order.len();
        Search {
            capacity,
            order,
            sizes,
            lives,
            offsets: vec![0; count],
            open: (0..count).collect(),
            lowest: vec![0; count],
            floor: vec![0; packing.sections],
            left,
            tries: count + (TAKEN_BACK * count).min(TAKEN_BACK_IN_ALL),
            failed: vec![0; packing.sections],
        }
    }

    /// Places what is left, nothing below `bottom`; whether that succeeded.
    fn place(&mut self, bottom: usize) -> bool {
        if self.open.is_empty() {
            return true;
        }
        if self.tries == 0 || self.is_above(bottom) {
            return false;
        }
        self.tries -= 1;
        for (offset, at) in self.candidates(bottom) {
            let [first, end] = self.lives[at];
            let size = self.sizes[at];
            if self.is_full(offset, first..end) {
                continue;
            }
            let floor = self.floor[first..end].to_vec();
            let raised = self.set(at, offset);
            if self.place(offset) {
                return true;
            }
            let place = self.open.partition_point(|&other| other < at);
            self.open.insert(place, at);
            self.left[first..end].iter_mut().for_each(|left| *left += size);
            self.floor[first..end].copy_from_slice(&floor);
            raised.into_iter().for_each(|(other, lowest)| self.lowest[other] = lowest);
            if self.tries == 0 {
                return false;
            }
        }
        false
    }

    /// Whether what is left in a section does not fit above `bottom`. It does fit above what lies there, which [`Self::is_full`]
    /// checked when each tensor was placed.
    fn is_above(&mut self, bottom: usize) -> bool {
        let room = self.capacity.saturating_sub(bottom);
        let most = self.left.iter().fold(0, |most, &left| most.max(left));
        most > room && self.is_full(bottom, 0..self.floor.len())
    }

    /// Whether what is left in one of some sections does not fit above what lies there and above `bottom`.
    fn is_full(&mut self, bottom: usize, mut sections: Range<usize>) -> bool {
        let over = |&section: &usize| {
            let (floor, left) = (self.floor[section], self.left[section]);
            left > 0 && bottom.max(floor).saturating_add(left) > self.capacity
        };
        let full = sections.find(over);
        full.into_iter().for_each(|section| self.failed[section] += 1);
        full.is_some()
    }

    /// Where a tensor could be placed next, the lowest first: not above the end of another one that could be placed below it.
    fn candidates(&self, bottom: usize) -> Vec<(usize, usize)> {
        let open = || self.open.iter().copied();
        let offset = |at: usize| self.lowest[at].max(bottom);
        let end = open().map(|at| offset(at).saturating_add(self.sizes[at])).min().unwrap_or(0);
        let mut found: Vec<(usize, usize)> = Vec::with_capacity(WIDTH + 1);
        for at in open() {
            let offset = offset(at);
            let last = if found.len() == WIDTH { found.last().map(|(offset, _)| *offset) } else { None };
            let is_low = offset < end || self.sizes[at] == 0;
            let alike = |&(_, other): &(usize, usize)| {
                self.sizes[other] == self.sizes[at] && self.lives[other] == self.lives[at]
            };
            if is_low && last.is_none_or(|last| offset < last) && !found.iter().any(alike) {
                let place = found.partition_point(|(other, _)| *other <= offset);
                found.insert(place, (offset, at));
                found.truncate(WIDTH);
            }
        }
        found
    }

    /// Places a tensor; returns those that have to lie higher then, with the offset that was the lowest for each.
    fn set(&mut self, at: usize, offset: usize) -> Vec<(usize, usize)> {
        let [first, end] = self.lives[at];
        let top = offset + self.sizes[at];
        self.offsets[self.order[at]] = offset;
        let place = self.open.partition_point(|&other| other < at);
        self.open.remove(place);
        self.floor[first..end].fill(top);
        self.left[first..end].iter_mut().for_each(|left| *left -= self.sizes[at]);
        let mut raised = Vec::new();
        for &other in &self.open {
            let (lowest, life) = (&mut self.lowest[other], self.lives[other]);
            if life[0] < end && first < life[1] && *lowest < top {
                raised.push((other, std::mem::replace(lowest, top)));
            }
        }
        raised
    }
}
