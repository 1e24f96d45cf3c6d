//! The formats that hold all numbers of a tensor.

use bitbudget_formats::{Format, Overflow, Rounder};
use bitbudget_ir::{Numbers, Op, Shape, Stored, TensorType};
use egg::DidMerge;

/// Roundings that change nothing: the tensor's numbers are theirs already. In order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exact(pub(crate) Vec<Stored>);

impl Exact {
    /// Whether a rounding changes nothing.
    pub(crate) fn holds(&self, rounding: Stored) -> bool {
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
fn is_within(known: Stored, other: Stored) -> bool {
    // Saturation gives no infinity, which saturating again would change.
    let infinite = known.overflow == Overflow::NotFinite && other.overflow == Overflow::Saturate;
    !infinite && known.format.is_subset_of(other.format)
}

/// The formats that an operator with a result of type `ty` keeps exact: one that only moves numbers, or takes some of them and zeros.
pub(crate) fn kept(op: &Op, operands: &[(&TensorType, &Exact)], ty: &TensorType) -> Exact {
    let shapes: Vec<&Shape> = operands.iter().map(|(ty, _)| &ty.shape).collect();
    let of = |position: usize| operands.get(position).map(|(_, exact)| *exact);
    match op.facts(&shapes, &ty.shape).numbers {
        Numbers::New | Numbers::SomeOf(_) => Exact::default(),
        Numbers::Of(operand) => of(operand).cloned().unwrap_or_default(),
        Numbers::OfEvery => {
            let everywhere = |r: &&Stored| operands.iter().all(|(_, exact)| exact.holds(**r));
            let mut all: Vec<Stored> =
                operands.iter().flat_map(|(_, exact)| &exact.0).filter(everywhere).copied().collect();
            all.sort_unstable();
            all.dedup();
            Exact(all)
        }
        Numbers::Clamped(min, max) => {
            let bounds_are_numbers = |r: &&Stored| [min, max].iter().all(|&bound| is_number(**r, bound));
            Exact(of(0).into_iter().flat_map(|exact| &exact.0).filter(bounds_are_numbers).copied().collect())
        }
    }
}

/// Whether a bound is a number of a format, or there is none.
fn is_number(rounding: Stored, bound: f64) -> bool {
    let x = bound as f32;
    x.is_infinite() || Rounder::new(rounding.format, rounding.overflow).round(x).to_bits() == x.to_bits()
}
