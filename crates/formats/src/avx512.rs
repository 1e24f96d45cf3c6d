//! Loops in AVX-512 instructions, where those that the compiler finds for the loops of `codec` are slower.
//!
//! They run in blocks of 64 numbers; a last, shorter block is filled with zeros, which count as nothing.

use std::arch::x86_64::*;

use crate::element::MAGNITUDE;

/// Numbers in a block: four vectors of FP32, one of bytes.
const BLOCK: usize = 64;

/// Runs `$body` over two slices of the same length, with their names bound to arrays of [`BLOCK`] elements of them.
///
/// The body stands in one place only, so that it is inlined and its constants stay in registers.
macro_rules! in_blocks {
    ($input:ident => $output:ident, $body:block) => {{
        let (inputs, rest) = $input.as_chunks::<BLOCK>();
        let (outputs, last) = $output.as_chunks_mut::<BLOCK>();
        let (mut padded, mut result) = ([Default::default(); BLOCK], [Default::default(); BLOCK]);
        padded[..rest.len()].copy_from_slice(rest);
        let final_block = (!rest.is_empty()).then_some((&padded, &mut result));
        for ($input, $output) in std::iter::zip(inputs, outputs).chain(final_block) {
            super::fetch($input);
            super::fetch($output);
            $body
        }
        last.copy_from_slice(&result[..rest.len()]);
    }};
}

/// Bytes ahead of a block that the processor is told to fetch: arrays in memory are read and written faster so.
const AHEAD: usize = 4096;

/// Fetches what lies [`AHEAD`] of a block into the cache.
#[inline(always)]
fn fetch<T: Plain>(block: &[T; BLOCK]) {
    for line in (0..size_of_val(block)).step_by(64) {
        let address = block.as_ptr().cast::<i8>().wrapping_add(AHEAD + line);
        // SAFETY: a prefetch may name any address; it reads nothing that a program sees.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address) }
    }
}

mod block;
mod decode;
mod encode;

pub use block::{Pack64, Unpack64};
pub(crate) use block::{decode_blocks, encode_blocks};
pub(crate) use decode::{decode_bytes, decode_bytes_bf16, decode_fp16, decode_words};
pub(crate) use encode::{encode_bf16, encode_fp16, encode_u8, encode_u16, round};

/// Elements whose bits may be anything and that have no padding.
trait Plain: Copy {}
impl Plain for u8 {}
impl Plain for u16 {}
impl Plain for f32 {}

#[inline]
#[target_feature(enable = "avx512f")]
fn load<T: Plain, const N: usize>(array: &[T; N]) -> __m512i {
    const { assert!(size_of::<[T; N]>() == 64) };
    // SAFETY: the array is as large as the vector, and the load asks for no alignment.
    unsafe { _mm512_loadu_si512(array.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store<T: Plain, const N: usize>(array: &mut [T; N], vector: __m512i) {
    const { assert!(size_of::<[T; N]>() == 64) };
    // SAFETY: the array is as large as the vector, any bits are valid in it, and the store asks for no alignment.
    unsafe { _mm512_storeu_si512(array.as_mut_ptr().cast(), vector) }
}

const SIGN: u32 = !MAGNITUDE;
/// `a & b | !a & c` for `vpternlogd`.
const SELECT: i32 = 0b1100_1010;
/// `a | b & c`.
const OR_AND: i32 = 0b1111_1000;

#[inline]
#[target_feature(enable = "avx512f")]
fn all(bits: u32) -> __m512i {
    _mm512_set1_epi32(bits as i32)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn number(bits: __m512i) -> __m512 {
    _mm512_castsi512_ps(bits)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn bits(number: __m512) -> __m512i {
    _mm512_castps_si512(number)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn count(shift: u32) -> __m128i {
    _mm_cvtsi32_si128(shift as i32)
}

/// The indices of the upper words of two vectors of 32 bits.
static UPPER_WORDS: [u16; 32] = {
    let mut indices = [1; 32];
    let mut i = 1;
    while i < 32 {
        indices[i] = indices[i - 1] + 2;
        i += 1;
    }
    indices
};

/// The indices of the upper bytes of two vectors of 16 bits.
static UPPER_BYTES: [u8; 64] = {
    let mut indices = [1; 64];
    let mut i = 1;
    while i < 64 {
        indices[i] = indices[i - 1] + 2;
        i += 1;
    }
    indices
};
