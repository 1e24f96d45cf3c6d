//! Which formats hold all numbers of a tensor.

use bitbudget_formats::{Format, Overflow, Rounder};
use bitbudget_ir::{Op, TensorType};
use egg::DidMerge;

/// A rounding to a format other than FP32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rounding {
    /// The format.
    pub format: Format,
    /// What becomes of numbers that it cannot hold.
    pub overflow: Overflow,
}

/// Roundings that change nothing: the tensor's numbers are theirs already. In order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exact(pub(crate) Vec<Rounding>);

impl Exact {
    /// Whether a rounding changes nothing.
    pub(crate) fn holds(&self, rounding: Rounding) -> bool {
        self.0.iter().any(|&known| is_within(known, rounding))
    }

    /// Adds what is known from elsewhere.
    pub(crate) fn merge(&mut self, other: Exact) -> DidMerge {
        let mut all = [self.0.as_slice(), other.0.as_slice()].concat();
        all.sort_unstable();
        all.dedup();
        let changed = DidMerge(all != self.0, all != other.0);
        self.0 = all;
        changed
    }

    /// The format of fewest bits whose rounding with this overflow changes nothing; FP32 if there is none.
    pub(crate) fn narrowest(&self, overflow: Overflow) -> Format {
        let fit = self.0.iter().filter(|known| known.overflow == Overflow::Saturate || overflow == known.overflow);
        fit.map(|known| known.format).min_by_key(|format| (format.bits(), *format)).unwrap_or(Format::FP32)
    }
}

/// Whether everything that `known` leaves as it is, `other` does too.
fn is_within(known: Rounding, other: Rounding) -> bool {
    // Saturation gives no infinity, which saturating again would change.
    let infinite = known.overflow == Overflow::NotFinite && other.overflow == Overflow::Saturate;
    !infinite && known.format.is_subset_of(other.format)
}

/// What an operator keeps exact: one that only moves numbers, or takes some of them and zeros.
pub(crate) fn kept(op: &Op, operands: &[(&TensorType, &Exact)]) -> Exact {
    let Some(&(_, first)) = operands.first() else { return Exact::default() };
    match op {
        Op::Reshape(_)
        | Op::Transpose(_)
        | Op::Slice(_)
        | Op::SliceScatter(_)
        | Op::Broadcast(_)
        | Op::Cast(_)
        | Op::Relu(_)
        | Op::ReluGrad(_)
        | Op::ClipGrad(_)
        | Op::MaxPool(_) => first.clone(),
        // Where windows do not overlap, no two gradients are added.
        Op::MaxPoolGrad(op) if (0..2).all(|d| (op.kernel[d] - 1) * op.dilations[d] < op.strides[d]) => first.clone(),
        Op::Concat(_) => {
            let everywhere = |r: &&Rounding| operands.iter().all(|(_, exact)| exact.holds(**r));
            let mut all: Vec<Rounding> =
                operands.iter().flat_map(|(_, exact)| &exact.0).filter(everywhere).copied().collect();
            all.sort_unstable();
            all.dedup();
            Exact(all)
        }
        Op::Clip(op) => {
            Exact(first.0.iter().filter(|r| [op.min.0, op.max.0].iter().all(|&x| is_number(**r, x))).copied().collect())
        }
        _ => Exact::default(),
    }
}

/// Whether a bound is a number of a format, or there is none.
fn is_number(rounding: Rounding, bound: f64) -> bool {
    let x = bound as f32;
    x.is_infinite() || Rounder::new(rounding.format, rounding.overflow).round(x).to_bits() == x.to_bits()
}
