//! Codes to numbers.

use std::arch::x86_64::*;

use super::{BLOCK, OR_AND, all, bits, count, load, store};
use crate::element::{Constants, EXPONENT, NAN};
use crate::loops::decode_loop;
use crate::table::Table;

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

/// The order of 64 bytes that [`widened`] undoes.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn interleaved() -> __m512i {
    _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)
}

/// 64 numbers from the two bytes of their upper halves.
///
/// Interleaving works in lanes of 16 bytes: it turns the n-th four of each lane into the n-th sixteen numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn widened(low: __m512i, high: __m512i) -> [__m512i; 4] {
    let (even, odd) = (_mm512_unpacklo_epi8(low, high), _mm512_unpackhi_epi8(low, high));
    let zero = _mm512_setzero_si512();
    [
        _mm512_unpacklo_epi16(zero, even),
        _mm512_unpackhi_epi16(zero, even),
        _mm512_unpacklo_epi16(zero, odd),
        _mm512_unpackhi_epi16(zero, odd),
    ]
}

/// Writes the number of every byte to `xs`, which is as long.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(crate) fn decode_bytes(table: &Table, codes: &[u8], xs: &mut [f32]) {
    let (low, high) = (Bytes::new(&table.low), Bytes::new(&table.high));
    in_blocks!(codes => xs, {
        let codes = _mm512_permutexvar_epi32(interleaved(), load(codes));
        let numbers = widened(low.at(codes), high.at(codes));
        for (xs, numbers) in std::iter::zip(xs.as_chunks_mut::<16>().0, numbers) {
            store(xs, numbers);
        }
    });
}

/// Writes the BF16 bits of the number of every byte to `words`, which is as long.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(crate) fn decode_bytes_bf16(table: &Table, codes: &[u8], words: &mut [u16]) {
    let (low, high) = (Bytes::new(&table.low), Bytes::new(&table.high));
    // As above: the n-th eight codes of each lane become the n-th 32 numbers.
    let order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    in_blocks!(codes => words, {
        let codes = _mm512_permutexvar_epi64(order, load(codes));
        let (low, high) = (low.at(codes), high.at(codes));
        let numbers = [_mm512_unpacklo_epi8(low, high), _mm512_unpackhi_epi8(low, high)];
        for (words, numbers) in std::iter::zip(words.as_chunks_mut::<32>().0, numbers) {
            store(words, numbers);
        }
    });
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_words(words: &[u16; 16]) -> __m256i {
    // SAFETY: the array is as large as the vector, and the load asks for no alignment.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

/// Writes the number of every code of one of the paper's formats, of less than 8 exponent bits, to `xs`, which is as
/// long.
///
/// Blocks with subnormal numbers or the code of what is not finite take the loop of `codec`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
pub(crate) fn decode_words(c: &Constants, codes: &[u16], xs: &mut [f32]) {
    let c = *c;
    // Interleaving turns the n-th four codes of each lane of 16 bytes into the n-th sixteen numbers.
    let order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    // From codes with the sign at the top to the upper half of FP32, and to the lower half.
    let (to_upper, to_lower) = (c.sign_shift - c.shift, 16 - (c.sign_shift - c.shift));
    let min_normal = _mm512_set1_epi16((c.min_normal_code << (c.sign_shift - 16)) as i16);
    let bias = _mm512_set1_epi16(((c.min_normal - EXPONENT) >> 16) as i16);
    in_blocks!(codes => xs, {
        let words = codes.as_chunks::<32>().0;
        let halves = [load(&words[0]), load(&words[1])]
            .map(|words| _mm512_sll_epi16(_mm512_permutexvar_epi64(order, words), count(c.sign_shift - 16)));
        let fields = halves.map(|words| _mm512_and_si512(words, _mm512_set1_epi16(i16::MAX)));
        let normal = fields.map(|fields| _mm512_cmpge_epu16_mask(fields, min_normal));
        let others = [0, 1].map(|i| _mm512_mask_test_epi16_mask(!normal[i], halves[i], halves[i]));
        if others[0] | others[1] != 0 {
            decode_with_subnormals(&c, codes, xs);
            continue;
        }
        for (i, xs) in xs.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let upper = _mm512_maskz_add_epi16(normal[i], _mm512_srl_epi16(fields[i], count(to_upper)), bias);
            let upper = _mm512_ternarylogic_epi32::<OR_AND>(upper, halves[i], _mm512_set1_epi16(i16::MIN));
            let lower = _mm512_sll_epi16(fields[i], count(to_lower));
            let numbers = [_mm512_unpacklo_epi16(lower, upper), _mm512_unpackhi_epi16(lower, upper)];
            for (xs, numbers) in std::iter::zip(xs.as_chunks_mut::<16>().0, numbers) {
                store(xs, numbers);
            }
        }
    });
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn decode_with_subnormals(c: &Constants, codes: &[u16; BLOCK], xs: &mut [f32; BLOCK]) {
    decode_loop::<false, u16>(c, codes, xs);
}

/// Writes the number of every code of FP16 to `xs`, which is as long.
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn decode_fp16(codes: &[u16], xs: &mut [f32]) {
    in_blocks!(codes => xs, {
        for (codes, xs) in std::iter::zip(codes.as_chunks::<16>().0, xs.as_chunks_mut::<16>().0) {
            let x = _mm512_cvtph_ps(load_words(codes));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
            store(xs, _mm512_mask_mov_epi32(bits(x), nan, all(NAN)));
        }
    });
}
