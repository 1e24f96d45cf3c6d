//! Loops over slices, in plain Rust.

use crate::counts::Counts;
use crate::element::{Constants, INFINITY, MAGNITUDE, NAN, decode, encode, magnitude, round};

/// A storage type of packed codes.
pub(crate) trait Word: Copy {
    /// Drops the high bits.
    fn from_bits(bits: u32) -> Self;
    fn to_bits(self) -> u32;
}

impl Word for u8 {
    #[inline(always)]
    fn from_bits(bits: u32) -> u8 {
        bits as u8
    }

    #[inline(always)]
    fn to_bits(self) -> u32 {
        u32::from(self)
    }
}

impl Word for u16 {
    #[inline(always)]
    fn from_bits(bits: u32) -> u16 {
        bits as u16
    }

    #[inline(always)]
    fn to_bits(self) -> u32 {
        u32::from(self)
    }
}

/// So many numbers are counted in 32 bits, which vectorise better, before the counts are widened.
const BLOCK: usize = 1 << 16;

/// Counts within a block.
#[derive(Default)]
struct BlockCounts {
    overflow: u32,
    underflow: u32,
    not_finite: u32,
}

impl BlockCounts {
    #[inline(always)]
    fn add(&mut self, c: &Constants, x: f32) {
        let a = magnitude(x);
        self.overflow = self.overflow.wrapping_add(u32::from(a >= c.overflow_threshold));
        // Zero wraps around and does not count.
        self.underflow = self.underflow.wrapping_add(u32::from(a.wrapping_sub(1) < c.underflow_threshold - 1));
        self.not_finite = self.not_finite.wrapping_add(u32::from(a >= INFINITY));
    }

    fn widen(self) -> Counts {
        Counts {
            overflow: u64::from(self.overflow),
            underflow: u64::from(self.underflow),
            not_finite: u64::from(self.not_finite),
        }
    }
}

#[inline(always)]
pub(crate) fn round_loop<const IEEE: bool>(c: &Constants, xs: &mut [f32]) -> Counts {
    // A copy lives in registers, where the loop need not fear that writing to the slice changes it.
    let c = *c;
    let mut total = Counts::default();
    for block in xs.chunks_mut(BLOCK) {
        let mut counts = BlockCounts::default();
        for x in block {
            counts.add(&c, *x);
            *x = round::<IEEE>(&c, *x);
        }
        total += counts.widen();
    }
    total
}

#[inline(always)]
pub(crate) fn encode_loop<const IEEE: bool, T: Word>(c: &Constants, xs: &[f32], codes: &mut [T]) -> Counts {
    let c = *c;
    let mut total = Counts::default();
    for (xs, codes) in xs.chunks(BLOCK).zip(codes.chunks_mut(BLOCK)) {
        let mut counts = BlockCounts::default();
        for (&x, code) in xs.iter().zip(codes) {
            counts.add(&c, x);
            *code = T::from_bits(encode::<IEEE>(&c, x));
        }
        total += counts.widen();
    }
    total
}

#[inline(always)]
pub(crate) fn decode_loop<const IEEE: bool, T: Word>(c: &Constants, codes: &[T], xs: &mut [f32]) {
    let c = *c;
    for (x, &code) in xs.iter_mut().zip(codes) {
        *x = decode::<IEEE>(&c, code.to_bits());
    }
}

#[inline(always)]
pub(crate) fn decode_bf16_loop<const IEEE: bool, T: Word>(c: &Constants, codes: &[T], words: &mut [u16]) {
    let c = *c;
    for (word, &code) in words.iter_mut().zip(codes) {
        *word = (decode::<IEEE>(&c, code.to_bits()).to_bits() >> 16) as u16;
    }
}

#[inline(always)]
pub(crate) fn widen_bf16_loop(codes: &[u16], xs: &mut [f32]) {
    for (x, &code) in xs.iter_mut().zip(codes) {
        let wide = u32::from(code) << 16;
        *x = f32::from_bits(if wide & MAGNITUDE > INFINITY { NAN } else { wide });
    }
}

/// Copies BF16 numbers, with one NaN for all.
#[inline(always)]
pub(crate) fn canonical_bf16_loop(codes: &[u16], words: &mut [u16]) {
    const UPPER: u32 = 16;
    for (word, &code) in words.iter_mut().zip(codes) {
        let nan = code & (MAGNITUDE >> UPPER) as u16 > (INFINITY >> UPPER) as u16;
        *word = if nan { (NAN >> UPPER) as u16 } else { code };
    }
}

#[inline(always)]
pub(crate) fn count_loop(xs: &[f32]) -> Counts {
    let mut total = Counts::default();
    for block in xs.chunks(BLOCK) {
        let mut not_finite = 0u32;
        for &x in block {
            not_finite = not_finite.wrapping_add(u32::from(magnitude(x) >= INFINITY));
        }
        let not_finite = u64::from(not_finite);
        total += Counts { overflow: not_finite, underflow: 0, not_finite };
    }
    total
}
