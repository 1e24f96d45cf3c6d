//! One number: branch-free rounding, encoding and decoding on the bits of FP32, written so that loops over them
//! vectorise.
//!
//! `IEEE` chooses between the paper's formats (`false`) and the layouts that round ties to even (`true`, OCP E4M3
//! included). Arithmetic wraps on purpose: what an out-of-range lane computes is replaced at the end.

use crate::counts::Overflow;
use crate::format::{Encoding, Format};

/// Bits of positive infinity; magnitudes above it are NaN.
pub(crate) const INFINITY: u32 = 0x7f80_0000;
pub(crate) const NAN: u32 = 0x7fc0_0000;
pub(crate) const MAGNITUDE: u32 = 0x7fff_ffff;
/// One step of the exponent.
pub(crate) const EXPONENT: u32 = 1 << 23;

/// The constants of a format and an overflow mode that rounding and packing need, here and in kernels in other languages. Floating-point
/// numbers are held as their bits.
#[derive(Clone, Copy, Debug)]
pub struct Constants {
    /// Mantissa bits that FP32 has and the format lacks.
    pub shift: u32,
    /// Half a unit in the last place kept.
    pub half: u32,
    /// The smallest normal number.
    pub min_normal: u32,
    /// A power of two whose unit in the last place is the smallest subnormal: adding it rounds to subnormals.
    pub subnormal_unit: u32,
    /// Magnitudes from here on overflow.
    pub overflow_threshold: u32,
    /// Magnitudes below underflow, but zero.
    pub underflow_threshold: u32,
    /// The result of rounding magnitudes from the overflow threshold on.
    pub overflow: u32,
    /// Its code.
    pub overflow_code: u32,
    /// The code of NaN.
    pub nan_code: u32,
    /// The code of infinity, all ones where the format has none.
    pub infinity_code: u32,
    /// The code of the largest finite number.
    pub max_code: u32,
    /// The code of the smallest normal number.
    pub min_normal_code: u32,
    /// The code of the sign bit alone.
    pub sign_code: u32,
    /// From the code's sign bit to that of FP32.
    pub sign_shift: u32,
}

impl Constants {
    /// The constants of a format; those of FP32 go unused, since it is never rounded or packed.
    pub fn new(format: Format, overflow: Overflow) -> Constants {
        let shift = 23 - format.mantissa_bits();
        let sign_code = 1 << (format.bits() - 1);
        let min_normal_code = 1 << format.mantissa_bits();
        let max_code = format.max_code();
        let (infinity_code, nan_code) = match format.encoding {
            Encoding::Paper => (None, sign_code),
            Encoding::OcpE4m3 => (None, max_code + 1),
            Encoding::Ieee | Encoding::Fp32 => (Some(max_code + 1), max_code + 1 + min_normal_code / 2),
        };
        let (overflow, overflow_code) = match overflow {
            Overflow::Saturate => (format.max_finite().to_bits(), max_code),
            Overflow::NotFinite => (INFINITY, infinity_code.unwrap_or(nan_code)),
        };
        Constants {
            shift,
            half: (1 << shift) >> 1,
            min_normal: format.min_normal().to_bits(),
            subnormal_unit: format.min_normal().to_bits() + shift * EXPONENT,
            overflow_threshold: format.overflow_threshold().to_bits(),
            underflow_threshold: format.underflow_threshold().to_bits(),
            overflow,
            overflow_code,
            nan_code,
            // No magnitude reaches a code of all ones.
            infinity_code: infinity_code.unwrap_or(u32::MAX),
            max_code,
            min_normal_code,
            sign_code,
            sign_shift: 32 - format.bits(),
        }
    }
}

/// The magnitude's bits of a number.
#[inline(always)]
pub(crate) fn magnitude(x: f32) -> u32 {
    x.to_bits() & MAGNITUDE
}

#[inline(always)]
fn add(a: u32, b: u32) -> u32 {
    (f32::from_bits(a) + f32::from_bits(b)).to_bits()
}

#[inline(always)]
fn sub(a: u32, b: u32) -> u32 {
    (f32::from_bits(a) - f32::from_bits(b)).to_bits()
}

/// Rounds a magnitude in the normal range to the nearest, ties to even; the bits below the last one kept are left.
#[inline(always)]
fn to_even(c: &Constants, a: u32) -> u32 {
    a.wrapping_add(c.half - 1).wrapping_add((a >> c.shift) & 1)
}

/// Rounds one number.
#[inline(always)]
pub(crate) fn round<const IEEE: bool>(c: &Constants, x: f32) -> f32 {
    let a = magnitude(x);
    let sign = x.to_bits() ^ a;
    let keep = u32::MAX << c.shift;
    let small = a < c.min_normal;
    let rounded = if IEEE {
        let subnormal = sub(add(a, c.subnormal_unit), c.subnormal_unit);
        if small { subnormal } else { to_even(c, a) & keep }
    } else {
        // The paper rounds subnormals twice: in the FP32 sum with the smallest normal, then in its bits.
        let addend = if small { c.min_normal } else { 0 };
        sub(add(a, addend).wrapping_add(c.half) & keep, addend)
    };
    let rounded = if a >= c.overflow_threshold { c.overflow } else { rounded };
    let rounded = if !IEEE && rounded == 0 { 0 } else { rounded | sign };
    f32::from_bits(if a > INFINITY { NAN } else { rounded })
}

/// Rounds one number and gives its code.
#[inline(always)]
pub(crate) fn encode<const IEEE: bool>(c: &Constants, x: f32) -> u32 {
    let a = magnitude(x);
    let sign = (x.to_bits() ^ a) >> c.sign_shift;
    let small = a < c.min_normal;
    // Codes are in the order of magnitudes, so a code is a difference of bits in units of the last place.
    let code = if IEEE {
        let subnormal = add(a, c.subnormal_unit).wrapping_sub(c.subnormal_unit);
        let normal = (to_even(c, a) >> c.shift).wrapping_sub((c.min_normal >> c.shift).wrapping_sub(c.min_normal_code));
        if small { subnormal } else { normal }
    } else {
        let addend = if small { c.min_normal } else { 0 };
        let normal = (c.min_normal >> c.shift).wrapping_sub(c.min_normal_code);
        let first = if small { c.min_normal >> c.shift } else { normal };
        (add(a, addend).wrapping_add(c.half) >> c.shift).wrapping_sub(first)
    };
    let code = if a >= c.overflow_threshold { c.overflow_code } else { code };
    let code = if !IEEE && code == 0 { 0 } else { code | sign };
    if a > INFINITY { c.nan_code } else { code }
}

/// The number that a code stands for; bits above the format's are ignored.
#[inline(always)]
pub(crate) fn decode<const IEEE: bool>(c: &Constants, code: u32) -> f32 {
    let sign = code & c.sign_code;
    let fields = code & (c.sign_code - 1);
    let small = fields < c.min_normal_code;
    let addend = if small { c.min_normal } else { 0 };
    let base = if small { c.min_normal } else { c.min_normal - EXPONENT };
    let a = sub((fields << c.shift).wrapping_add(base), addend);
    let a = if IEEE && fields == c.infinity_code { INFINITY } else { a };
    let nan = fields > c.max_code && !(IEEE && fields == c.infinity_code) || !IEEE && code == c.sign_code;
    f32::from_bits(if nan { NAN } else { a | (sign << c.sign_shift) })
}
