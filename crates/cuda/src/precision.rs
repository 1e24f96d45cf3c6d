//! The formats that tensor cores multiply.

use bitbudget_formats::Format;

/// What tensor cores multiply; sums are FP32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precision {
    /// 7 bits of the fraction.
    Bf16,
    /// 10 bits of the fraction, exponents from -24 to 15.
    Fp16,
    /// 10 bits of the fraction, at half the rate.
    Tf32,
    /// FP32 numbers as sums of two in TF32, in three products: each is off by at most 2^-20 of its magnitude.
    Split,
}

impl Precision {
    /// The fastest one that holds the numbers of two formats exactly.
    pub fn of(a: Format, b: Format) -> Precision {
        let both = |holds: &dyn Fn(Format) -> bool| holds(a) && holds(b);
        match () {
            () if both(&Format::exact_in_bf16) => Precision::Bf16,
            () if both(&|format| format.is_subset_of(Format::FP16)) => Precision::Fp16,
            () if both(&|format| format.mantissa_bits() <= 10) => Precision::Tf32,
            () => Precision::Split,
        }
    }

    /// The end of the names of its functions in `product.h`.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Precision::Bf16 => "bf16",
            Precision::Fp16 => "fp16",
            Precision::Tf32 => "tf32",
            Precision::Split => "split",
        }
    }

    /// Bytes of a number in shared memory.
    pub(crate) fn bytes(self) -> u32 {
        match self {
            Precision::Bf16 | Precision::Fp16 => 2,
            Precision::Tf32 | Precision::Split => 4,
        }
    }
}
