//! Loops in AVX-512 instructions, where those that the compiler finds for the loops of `codec` are slower.
//!
//! They run in blocks of 64 numbers; a last, shorter block is filled with zeros, which count as nothing.

use std::arch::x86_64::*;

use crate::table::Table;

/// Numbers in a block: four vectors of FP32, one of bytes.
const BLOCK: usize = 64;

/// Runs a closure from one array of [`BLOCK`] elements to another over two slices of the same length.
macro_rules! in_blocks {
    ($inputs:expr, $outputs:expr, $block:expr) => {{
        let block = $block;
        let (inputs, rest) = $inputs.as_chunks::<BLOCK>();
        let (outputs, last) = $outputs.as_chunks_mut::<BLOCK>();
        for (input, output) in std::iter::zip(inputs, outputs) {
            block(input, output);
        }
        if !rest.is_empty() {
            let mut input = [Default::default(); BLOCK];
            let mut output = [Default::default(); BLOCK];
            input[..rest.len()].copy_from_slice(rest);
            block(&input, &mut output);
            last.copy_from_slice(&output[..rest.len()]);
        }
    }};
}

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

/// A table of 256 bytes in registers.
#[derive(Clone, Copy)]
struct Bytes([__m512i; 4]);

impl Bytes {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(table: &[u8; 256]) -> Bytes {
        let parts = table.as_chunks::<64>().0;
        Bytes([load(&parts[0]), load(&parts[1]), load(&parts[2]), load(&parts[3])])
    }

    /// The bytes at 64 indices.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vbmi")]
    fn at(self, indices: __m512i) -> __m512i {
        let below_128 = _mm512_permutex2var_epi8(self.0[0], indices, self.0[1]);
        let others = _mm512_permutex2var_epi8(self.0[2], indices, self.0[3]);
        _mm512_mask_blend_epi8(_mm512_movepi8_mask(indices), below_128, others)
    }
}

/// Writes the number of every byte to `xs`, which is as long.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(crate) fn decode_bytes(table: &Table, codes: &[u8], xs: &mut [f32]) {
    let (low, high) = (Bytes::new(&table.low), Bytes::new(&table.high));
    // Interleaving works in lanes of 16 bytes: it turns the n-th four codes of each lane into the n-th sixteen numbers.
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    in_blocks!(codes, xs, |codes: &[u8; BLOCK], xs: &mut [f32; BLOCK]| {
        let codes = _mm512_permutexvar_epi32(order, load(codes));
        let (low, high, zero) = (low.at(codes), high.at(codes), _mm512_setzero_si512());
        let (even, odd) = (_mm512_unpacklo_epi8(low, high), _mm512_unpackhi_epi8(low, high));
        let numbers = [
            _mm512_unpacklo_epi16(zero, even),
            _mm512_unpackhi_epi16(zero, even),
            _mm512_unpacklo_epi16(zero, odd),
            _mm512_unpackhi_epi16(zero, odd),
        ];
        for (xs, numbers) in std::iter::zip(xs.as_chunks_mut::<16>().0, numbers) {
            store(xs, numbers);
        }
    });
}

/// Writes the BF16 bits of the number of every byte to `words`, which is as long.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(crate) fn decode_bytes_bf16(table: &Table, codes: &[u8], words: &mut [u16]) {
    let (low, high) = (Bytes::new(&table.low), Bytes::new(&table.high));
    // As above: the n-th eight codes of each lane become the n-th thirty-two numbers.
    let order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    in_blocks!(codes, words, |codes: &[u8; BLOCK], words: &mut [u16; BLOCK]| {
        let codes = _mm512_permutexvar_epi64(order, load(codes));
        let (low, high) = (low.at(codes), high.at(codes));
        let numbers = [_mm512_unpacklo_epi8(low, high), _mm512_unpackhi_epi8(low, high)];
        for (words, numbers) in std::iter::zip(words.as_chunks_mut::<32>().0, numbers) {
            store(words, numbers);
        }
    });
}
