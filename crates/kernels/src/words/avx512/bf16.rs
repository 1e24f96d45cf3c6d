//! The instructions on BF16 numbers, which not all processors with AVX-512 have.

use std::arch::x86_64::*;
use std::mem::transmute;

use super::Vector;

/// `sum` and the dot products of the pairs of BF16 numbers in the lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
pub(crate) fn dot(a: Vector, b: Vector, sum: Vector) -> Vector {
    // SAFETY: both types are 512 bits that may be anything.
    let [a, b] = unsafe { [transmute::<__m512, __m512bh>(a), transmute::<__m512, __m512bh>(b)] };
    _mm512_dpbf16_ps(sum, a, b)
}
