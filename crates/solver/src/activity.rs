//! The rows' activities in a tree, so that adding to adjacent rows and finding the fullest one take logarithmic time.

use crate::candidate::Activities;
use crate::compact::Span;
use std::ops::Range;

/// By how much each row exceeds its limit (below 0: what is left), as a segment tree.
#[derive(Clone, Debug)]
pub(crate) struct Excesses {
    rows: usize,
    /// The number of leaves, a power of two.
    leaves: usize,
    /// By node, the largest excess of its leaves, without what is added above it.
    largest: Vec<f64>,
    /// By node, what is added to all of its leaves.
    added: Vec<f64>,
}

impl Excesses {
    pub(crate) fn new(excesses: impl ExactSizeIterator<Item = f64>) -> Excesses {
        let rows = excesses.len();
        let leaves = rows.next_power_of_two();
        let mut largest = vec![f64::NEG_INFINITY; 2 * leaves];
        excesses.enumerate().for_each(|(row, excess)| largest[leaves + row] = excess);
        for node in (1..leaves).rev() {
            largest[node] = f64::max(largest[2 * node], largest[2 * node + 1]);
        }
        Excesses { rows, leaves, largest, added: vec![0.0; 2 * leaves] }
    }

    fn raise(&mut self, node: usize, amount: f64) {
        self.largest[node] += amount;
        self.added[node] += amount;
    }

    /// Computes the largest excesses above a leaf.
    fn update(&mut self, mut node: usize) {
        while node > 1 {
            node /= 2;
            self.largest[node] = f64::max(self.largest[2 * node], self.largest[2 * node + 1]) + self.added[node];
        }
    }

    /// The row of the largest excess, the first of several, and the excess.
    pub(crate) fn fullest(&self) -> (usize, f64) {
        let mut node = 1;
        while node < self.leaves {
            node = if self.largest[2 * node] >= self.largest[2 * node + 1] { 2 * node } else { 2 * node + 1 };
        }
        (node - self.leaves, self.largest[1])
    }

    /// The largest excess of some adjacent rows.
    pub(crate) fn largest(&self, rows: Range<usize>) -> f64 {
        self.largest_below(1, 0..self.leaves, &(rows.start..rows.end.min(self.rows)))
    }

    fn largest_below(&self, node: usize, of: Range<usize>, rows: &Range<usize>) -> f64 {
        if rows.start <= of.start && of.end <= rows.end {
            return self.largest[node];
        }
        if rows.end <= of.start || of.end <= rows.start {
            return f64::NEG_INFINITY;
        }
        let middle = usize::midpoint(of.start, of.end);
        let below = self.largest_below(2 * node, of.start..middle, rows);
        below.max(self.largest_below(2 * node + 1, middle..of.end, rows)) + self.added[node]
    }
}

impl Activities for Excesses {
    fn add(&mut self, span: &Span, sign: f64) {
        let amount = sign * span.amount;
        let (mut low, mut high) = (span.first + self.leaves, span.end + self.leaves);
        while low < high {
            if low % 2 == 1 {
                self.raise(low, amount);
                low += 1;
            }
            if high % 2 == 1 {
                high -= 1;
                self.raise(high, amount);
            }
            (low, high) = (low / 2, high / 2);
        }
        if span.first < span.end {
            self.update(span.first + self.leaves);
            self.update(span.end - 1 + self.leaves);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn the_tree_answers_as_a_list_does() {
        let mut random = Random(3);
        for rows in [1, 2, 7, 64, 100] {
            let mut list: Vec<f64> = (0..rows).map(|_| -(random.below(50) as f64)).collect();
            let mut tree = Excesses::new(list.clone().into_iter());
            for _ in 0..200 {
                let (a, b) = (random.below(rows), random.below(rows + 1));
                let span = Span { first: a.min(b), end: a.max(b), amount: random.below(20) as f64 };
                let sign = if random.below(2) == 0 { 1.0 } else { -1.0 };
                list[span.first..span.end].iter_mut().for_each(|excess| *excess += sign * span.amount);
                tree.add(&span, sign);
                let most = |of: &[f64]| of.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let (row, excess) = tree.fullest();
                assert_eq!((excess, list[row]), (most(&list), most(&list)));
                assert_eq!(tree.largest(span.first..span.end), most(&list[span.first..span.end]));
            }
        }
    }
}
