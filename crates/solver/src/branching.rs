//! How to split a part of the problem: which item, and its options into which two groups.

use crate::compact::Compact;

/// A split: the item has one of these options, or none of them.
#[derive(Clone, Debug)]
pub(crate) struct Split {
    pub(crate) item: usize,
    pub(crate) options: Vec<usize>,
    /// The share of the options together.
    pub(crate) share: f64,
    /// By how much the bound is expected to rise.
    expected: f64,
}

/// By how much splits raised bounds.
#[derive(Clone, Debug)]
pub(crate) struct History {
    /// By item and side: the sum of gains per share that was moved, and their number.
    gains: [Vec<(f64, f64)>; 2],
    /// The same over all items.
    all: [(f64, f64); 2],
}

impl History {
    pub(crate) fn new(items: usize) -> History {
        History { gains: [vec![(0.0, 0.0); items], vec![(0.0, 0.0); items]], all: [(0.0, 0.0); 2] }
    }

    /// Takes note of gains: with one of the options, and without them.
    pub(crate) fn add(&mut self, split: &Split, with: f64, without: f64) {
        for (side, gain, moved) in [(0, with, 1.0 - split.share), (1, without, split.share)] {
            for (sum, count) in [&mut self.gains[side][split.item], &mut self.all[side]] {
                *sum += gain / moved.max(0.01);
                *count += 1.0;
            }
        }
    }

    /// What gains on both sides are worth.
    pub(crate) fn joined(with: f64, without: f64) -> f64 {
        with.max(1e-9) * without.max(1e-9)
    }

    /// By how much a split is expected to raise the bound, if it or others were tried; `weight` from 0 to 1 is its share
    /// of what splits without a past are expected to gain.
    fn expected(&self, item: usize, share: f64, weight: f64) -> f64 {
        let gain = |side: usize| {
            let ((sum, count), (all, number)) = (self.gains[side][item], self.all[side]);
            let mean = if number > 0.0 { all / number } else { 1.0 };
            if count > 0.0 { sum / count } else { mean * weight }
        };
        History::joined(gain(0) * (1.0 - share), gain(1) * share)
    }
}

/// The splits of undecided items, the most promising first; where shares decide everything, the splits of items that have
/// several options left.
pub(crate) fn splits(compact: &Compact, allowed: &[bool], shares: &[f64], history: &History) -> Vec<Split> {
    let largest = (0..compact.items.len()).map(|item| spread(compact, item)).fold(1e-12, f64::max);
    let mut found = Vec::new();
    let mut decided = Vec::new();
    for (item, options) in compact.items.iter().enumerate() {
        let open: Vec<usize> = options.clone().filter(|&option| allowed[option]).collect();
        if open.len() < 2 {
            continue;
        }
        let inside = side(compact, &open, shares);
        let share: f64 = inside.iter().map(|&option| shares[option]).sum();
        let weight = spread(compact, item) / largest;
        let expected = history.expected(item, share, 0.1 + 0.9 * weight);
        let split = Split { item, options: inside, share, expected };
        if (1e-6..=1.0 - 1e-6).contains(&share) { found.push(split) } else { decided.push(split) }
    }
    if found.is_empty() {
        found = decided;
    }
    found.sort_by(|a, b| b.expected.total_cmp(&a.expected));
    found
}

/// An item's open options by when they take amounts.
pub(crate) fn by_time(compact: &Compact, open: &[usize]) -> Vec<Vec<usize>> {
    let times = |option: usize| compact.spans[option].iter().map(|span| (span.first, span.end));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for &option in open {
        match groups.iter_mut().find(|group| times(group[0]).eq(times(option))) {
            Some(group) => group.push(option),
            None => groups.push(vec![option]),
        }
    }
    groups
}

/// The options of the largest share together.
pub(crate) fn largest(groups: Vec<Vec<usize>>, shares: &[f64]) -> Vec<usize> {
    let share = |group: &Vec<usize>| group.iter().map(|&option| shares[option]).sum::<f64>();
    groups.into_iter().max_by(|a, b| share(a).total_cmp(&share(b))).unwrap_or_default()
}

/// The options on one side of a split, some but not all: those that take amounts at the likeliest times or, if the time is
/// certain, those that take most, up to about half of the share.
fn side(compact: &Compact, open: &[usize], shares: &[f64]) -> Vec<usize> {
    let likeliest = largest(by_time(compact, open), shares);
    if likeliest.iter().map(|&option| shares[option]).sum::<f64>() < 1.0 - 1e-6 {
        return likeliest;
    }
    let mut sorted = open.to_vec();
    sorted.sort_by(|&a, &b| size(compact, b).total_cmp(&size(compact, a)).then(a.cmp(&b)));
    let mut sum = 0.0;
    let mut best = (f64::INFINITY, 1);
    for at in 1..sorted.len() {
        sum += shares[sorted[at - 1]];
        let off: f64 = (sum - 0.5_f64).abs();
        if off < best.0 {
            best = (off, at);
        }
    }
    sorted.truncate(best.1);
    sorted
}

/// What an option takes, over all rows.
pub(crate) fn size(compact: &Compact, option: usize) -> f64 {
    compact.spans[option].iter().map(|span| span.amount * (span.end - span.first) as f64).sum()
}

/// By how much the options of an item differ in what they take.
pub(crate) fn spread(compact: &Compact, item: usize) -> f64 {
    let sizes = compact.items[item].clone().map(|option| size(compact, option));
    sizes.clone().fold(f64::NEG_INFINITY, f64::max) - sizes.fold(f64::INFINITY, f64::min)
}
