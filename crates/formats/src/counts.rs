//! Numbers that a format cannot hold: how they are rounded, and their counts.

use std::iter::Sum;
use std::ops::AddAssign;

use crate::format::{Encoding, Format};

/// The result for a magnitude at or above [`Format::overflow_threshold`], infinities included. A NaN stays NaN.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Overflow {
    /// The largest finite number: for parameters and outputs (paper, section 3).
    Saturate,
    /// Infinity, or the packed format's code for what is not finite: for gradients, so that loss scaling sees it.
    NotFinite,
}

impl Overflow {
    /// Whether an infinity that rounding leaves is one after packing, too, and not a NaN.
    pub fn keeps_infinity(self, format: Format) -> bool {
        self == Overflow::Saturate || matches!(format.encoding, Encoding::Ieee | Encoding::Fp32)
    }
}

/// The share of a tensor's numbers that overflow from which it gets a wider format for good (paper, step 3 of the method).
pub const PROMOTION_THRESHOLD: f64 = 0.01;

/// How many numbers of a slice the format could not hold, counted before rounding.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Magnitudes at or above [`Format::overflow_threshold`]: infinities and NaN too, so that promotion sees them.
    pub overflow: u64,
    /// Magnitudes above zero and below [`Format::underflow_threshold`].
    pub underflow: u64,
    /// Infinities and NaN.
    pub not_finite: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.overflow += other.overflow;
        self.underflow += other.underflow;
        self.not_finite += other.not_finite;
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Counts>>(counts: I) -> Counts {
        let mut total = Counts::default();
        counts.for_each(|more| total += more);
        total
    }
}
