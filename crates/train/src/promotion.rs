//! Which tensors become high during training (paper, step 3 of the method).

/// The overflow ratio from which a tensor is promoted.
pub const OVERFLOW_THRESHOLD: f64 = bitbudget_formats::PROMOTION_THRESHOLD;

/// One tensor after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverflowCount<Id = u32> {
    /// The tensor; list parameters and outputs only, gradients are protected by the loss scale.
    pub tensor: Id,
    /// Elements whose magnitude before rounding reaches the format's overflow threshold.
    pub overflowed: u64,
    /// All elements.
    pub elements: u64,
    /// Whether the tensor is still in a low format.
    pub low: bool,
}

/// The low tensors whose overflow ratio is at least `threshold`, in the order given.
///
/// ```
/// use bitbudget_train::promotion::{OVERFLOW_THRESHOLD, OverflowCount, promote};
///
/// let counts = [
///     OverflowCount { tensor: 3, overflowed: 1, elements: 100, low: true },
///     OverflowCount { tensor: 4, overflowed: 1, elements: 101, low: true },
///     OverflowCount { tensor: 5, overflowed: 9, elements: 100, low: false },
/// ];
/// assert_eq!(promote(&counts, OVERFLOW_THRESHOLD), [3]);
/// ```
pub fn promote<Id: Copy>(counts: &[OverflowCount<Id>], threshold: f64) -> Vec<Id> {
    let overflows = |count: &&OverflowCount<Id>| {
        // A quotient is rounded correctly, so 7 of 700 equals 0.01 as it is written; a product with 0.01 need not.
        count.low && count.elements > 0 && count.overflowed as f64 / count.elements as f64 >= threshold
    };
    counts.iter().filter(overflows).map(|count| count.tensor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_threshold_promotes_at_every_size() {
        for hundredths in 1..5000u64 {
            let count = |overflowed| OverflowCount { tensor: "t", overflowed, elements: hundredths * 100, low: true };
            assert_eq!(promote(&[count(hundredths), count(hundredths - 1)], OVERFLOW_THRESHOLD), ["t"]);
        }
    }

    #[test]
    fn only_low_tensors_with_elements_are_promoted() {
        let count = |tensor, elements, low| OverflowCount { tensor, overflowed: elements, elements, low };
        let counts = [count(1, 8, false), count(2, 0, true), count(4, 8, true), count(3, 8, true)];
        assert_eq!(promote(&counts, OVERFLOW_THRESHOLD), [4, 3]);
        assert_eq!(promote(&counts, 1.5), [0u32; 0]);
    }
}
