//! All AVX-512 instructions of the crate: named operations on vectors of 16 FP32 numbers, on blocks of four of them, and on the
//! 64 one-byte codes of a block. The loops of operators are made of these; another set of instructions would be a folder
//! beside this one with the same operations.
//!
//! Every function needs the processor to have the instructions that it names ([`has_avx512`](super::simd::has_avx512), and
//! what `bitbudget_formats::Unpack64` asks for).

use std::arch::x86_64::*;

pub(crate) mod bf16;
mod blocks;
pub(crate) mod translate;
pub(crate) mod transpose;

pub(crate) use blocks::*;

/// 16 FP32 numbers.
pub(crate) type Vector = __m512;

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn zero() -> Vector {
    _mm512_setzero_ps()
}

/// One number in all lanes.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn splat(x: f32) -> Vector {
    _mm512_set1_ps(x)
}

/// 16 numbers from memory.
///
/// # Safety
/// They are readable.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn load(x: *const f32) -> Vector {
    // SAFETY: the caller's promise; the load asks for no alignment.
    unsafe { _mm512_loadu_ps(x) }
}

/// Writes 16 numbers to memory.
///
/// # Safety
/// They are writable.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn store(y: *mut f32, x: Vector) {
    // SAFETY: the caller's promise; the store asks for no alignment.
    unsafe { _mm512_storeu_ps(y, x) };
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn add(a: Vector, b: Vector) -> Vector {
    _mm512_add_ps(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn sub(a: Vector, b: Vector) -> Vector {
    _mm512_sub_ps(a, b)
}

/// `a * b + c`, rounded once.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn multiply_add(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_fmadd_ps(a, b, c)
}
