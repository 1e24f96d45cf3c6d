//! Branching rule: candidates are scored by pseudocosts (Benichou et al., 1971) and the product rule (Achterberg,
//! "Constraint integer programming", 2007, section 5.2). A branching divides an item's options into two sets, as on a special
//! ordered set (Beale and Tomlin, 1970).

use crate::compact::Compact;

/// A branching: in one child the item has one of these options, in the other none of them.
#[derive(Clone, Debug)]
pub(crate) struct Branching {
    pub(crate) item: usize,
    pub(crate) options: Vec<usize>,
    /// The sum of the options' LP values.
    pub(crate) fraction: f64,
    /// The expected rise of the dual bound.
    score: f64,
}

/// Pseudocosts: by how much branchings raised the dual bound per change of an LP value.
#[derive(Clone, Debug)]
pub(crate) struct Pseudocosts {
    /// By child and item: the sum of gains per change, and their number.
    gains: [Vec<(f64, f64)>; 2],
    /// By child: the same over all items.
    all: [(f64, f64); 2],
}

impl Pseudocosts {
    /// Creates pseudocosts without a branching.
    pub(crate) fn new(items: usize) -> Pseudocosts {
        Pseudocosts { gains: [vec![(0.0, 0.0); items], vec![(0.0, 0.0); items]], all: [(0.0, 0.0); 2] }
    }

    /// Records the gains of a branching's children: with one of its options, and without them.
    pub(crate) fn add(&mut self, branching: &Branching, with: f64, without: f64) {
        for (child, gain, change) in [(0, with, 1.0 - branching.fraction), (1, without, branching.fraction)] {
            for (sum, count) in [&mut self.gains[child][branching.item], &mut self.all[child]] {
                *sum += gain / change.max(0.01);
                *count += 1.0;
            }
        }
    }

    /// Scores the gains of both children by their product.
    pub(crate) fn product(with: f64, without: f64) -> f64 {
        with.max(1e-9) * without.max(1e-9)
    }

    /// Returns the expected score of a branching. Items without a record take the mean of all, times `weight` from 0 to 1.
    fn score(&self, item: usize, fraction: f64, weight: f64) -> f64 {
        let gain = |child: usize| {
            let ((sum, count), (all, number)) = (self.gains[child][item], self.all[child]);
            let mean = if number > 0.0 { all / number } else { 1.0 };
            if count > 0.0 { sum / count } else { mean * weight }
        };
        Pseudocosts::product(gain(0) * (1.0 - fraction), gain(1) * fraction)
    }
}

/// Returns the branchings of fractional items, the best score first; if no item is fractional, those of all open items.
pub(crate) fn branchings(
    compact: &Compact,
    allowed: &[bool],
    lp_values: &[f64],
    pseudocosts: &Pseudocosts,
) -> Vec<Branching> {
    let largest = (0..compact.items.len()).map(|item| spread(compact, item)).fold(1e-12, f64::max);
    let mut fractional = Vec::new();
    let mut integral = Vec::new();
    for (item, options) in compact.items.iter().enumerate() {
        let open: Vec<usize> = options.clone().filter(|&option| allowed[option]).collect();
        if open.len() < 2 {
            continue;
        }
        let inside = subset(compact, &open, lp_values);
        let fraction: f64 = inside.iter().map(|&option| lp_values[option]).sum();
        let weight = spread(compact, item) / largest;
        let score = pseudocosts.score(item, fraction, 0.1 + 0.9 * weight);
        let branching = Branching { item, options: inside, fraction, score };
        if (1e-6..=1.0 - 1e-6).contains(&fraction) { fractional.push(branching) } else { integral.push(branching) }
    }
    if fractional.is_empty() {
        fractional = integral;
    }
    fractional.sort_by(|a, b| b.score.total_cmp(&a.score));
    fractional
}

/// Groups an item's open options by the rows that they use.
pub(crate) fn by_rows(compact: &Compact, open: &[usize]) -> Vec<Vec<usize>> {
    let rows = |option: usize| compact.spans[option].iter().map(|span| (span.first, span.end));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for &option in open {
        match groups.iter_mut().find(|group| rows(group[0]).eq(rows(option))) {
            Some(group) => group.push(option),
            None => groups.push(vec![option]),
        }
    }
    groups
}

/// Returns the group with the largest sum of LP values.
pub(crate) fn largest(groups: Vec<Vec<usize>>, lp_values: &[f64]) -> Vec<usize> {
    let fraction = |group: &Vec<usize>| group.iter().map(|&option| lp_values[option]).sum::<f64>();
    groups.into_iter().max_by(|a, b| fraction(a).total_cmp(&fraction(b))).unwrap_or_default()
}

/// Returns a proper subset of an item's open options to branch on: those that use the likeliest rows or, if the rows are
/// fixed, those of the largest amounts with about half of the LP values.
fn subset(compact: &Compact, open: &[usize], lp_values: &[f64]) -> Vec<usize> {
    let likeliest = largest(by_rows(compact, open), lp_values);
    if likeliest.iter().map(|&option| lp_values[option]).sum::<f64>() < 1.0 - 1e-6 {
        return likeliest;
    }
    let mut sorted = open.to_vec();
    sorted.sort_by(|&a, &b| size(compact, b).total_cmp(&size(compact, a)).then(a.cmp(&b)));
    let mut sum = 0.0;
    let mut best = (f64::INFINITY, 1);
    for at in 1..sorted.len() {
        sum += lp_values[sorted[at - 1]];
        let off: f64 = (sum - 0.5_f64).abs();
        if off < best.0 {
            best = (off, at);
        }
    }
    sorted.truncate(best.1);
    sorted
}

/// Returns the sum of an option's amounts over all rows.
pub(crate) fn size(compact: &Compact, option: usize) -> f64 {
    compact.spans[option].iter().map(|span| span.amount * (span.end - span.first) as f64).sum()
}

/// Returns the difference between the largest and the smallest option of an item.
pub(crate) fn spread(compact: &Compact, item: usize) -> f64 {
    let sizes = compact.items[item].clone().map(|option| size(compact, option));
    sizes.clone().fold(f64::NEG_INFINITY, f64::max) - sizes.fold(f64::INFINITY, f64::min)
}
