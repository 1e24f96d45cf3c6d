//! Numbers to rounded numbers and to codes.

use std::arch::x86_64::*;

use super::{BLOCK, OR_AND, SELECT, SIGN, UPPER_WORDS, all, bits, count, load, number, store};
use crate::counts::Counts;
use crate::element::{Constants, EXPONENT, MAGNITUDE};
use crate::loops::{Word, encode_loop, round_loop};

#[inline]
#[target_feature(enable = "avx512f")]
fn load_block(xs: &[f32; BLOCK]) -> [__m512i; 4] {
    let parts = xs.as_chunks::<16>().0;
    [load(&parts[0]), load(&parts[1]), load(&parts[2]), load(&parts[3])]
}

/// A function of each of four vectors.
macro_rules! each {
    ($vectors:expr, |$x:ident| $y:expr) => {{
        let [a, b, c, d] = $vectors;
        [
            {
                let $x = a;
                $y
            },
            {
                let $x = b;
                $y
            },
            {
                let $x = c;
                $y
            },
            {
                let $x = d;
                $y
            },
        ]
    }};
}

/// The underflows of a block, or nothing if a number of it overflows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,popcnt")]
fn underflows(c: &Constants, xs: [__m512i; 4]) -> Option<u64> {
    let magnitudes = each!(xs, |x| _mm512_and_si512(x, all(MAGNITUDE)));
    let over = each!(magnitudes, |a| _mm512_cmpge_epu32_mask(a, all(c.overflow_threshold)));
    if over[0] | over[1] | over[2] | over[3] != 0 {
        return None;
    }
    // Zero wraps around and does not count.
    let under =
        each!(magnitudes, |a| _mm512_cmplt_epu32_mask(_mm512_sub_epi32(a, all(1)), all(c.underflow_threshold - 1)));
    let low = _mm512_kunpackw(u32::from(under[1]), u32::from(under[0]));
    let high = _mm512_kunpackw(u32::from(under[3]), u32::from(under[2]));
    Some(u64::from(_mm512_kunpackd(u64::from(high), u64::from(low)).count_ones()))
}

/// Rounds in place 16 numbers of which none overflows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn round_vector<const IEEE: bool>(c: &Constants, x: __m512i) -> __m512i {
    let small = _mm512_cmplt_epu32_mask(_mm512_and_si512(x, all(MAGNITUDE)), all(c.min_normal));
    let keep = all(u32::MAX << c.shift);
    if IEEE {
        let odd = _mm512_and_si512(_mm512_srl_epi32(x, count(c.shift)), all(1));
        let normal = _mm512_and_si512(_mm512_add_epi32(_mm512_add_epi32(x, all(c.half - 1)), odd), keep);
        let unit = number(_mm512_ternarylogic_epi32::<OR_AND>(all(c.subnormal_unit), x, all(SIGN)));
        let subnormal = bits(_mm512_sub_ps(_mm512_add_ps(number(x), unit), unit));
        // What rounds to zero keeps its sign.
        let subnormal = _mm512_ternarylogic_epi32::<OR_AND>(subnormal, x, all(SIGN));
        _mm512_mask_mov_epi32(normal, small, subnormal)
    } else {
        // With the sign in the addend, what rounds to zero becomes +0 in the subtraction.
        let addend = number(_mm512_ternarylogic_epi32::<OR_AND>(all(c.min_normal), x, all(SIGN)));
        let sum = bits(_mm512_mask_add_ps(number(x), small, number(x), addend));
        let sum = number(_mm512_and_si512(_mm512_add_epi32(sum, all(c.half)), keep));
        bits(_mm512_mask_sub_ps(sum, small, sum, addend))
    }
}

/// Rounds every number in place.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,popcnt")]
pub(crate) fn round<const IEEE: bool>(c: &Constants, xs: &mut [f32]) -> Counts {
    let c = *c;
    let mut counts = Counts::default();
    let (blocks, rest) = xs.as_chunks_mut::<BLOCK>();
    let mut padded = [0.0; BLOCK];
    padded[..rest.len()].copy_from_slice(rest);
    for xs in blocks.iter_mut().chain((!rest.is_empty()).then_some(&mut padded)) {
        let numbers = load_block(xs);
        let Some(underflow) = underflows(&c, numbers) else {
            counts += round_with_overflow::<IEEE>(&c, xs);
            continue;
        };
        counts.underflow += underflow;
        let rounded = each!(numbers, |x| round_vector::<IEEE>(&c, x));
        for (xs, rounded) in std::iter::zip(xs.as_chunks_mut::<16>().0, rounded) {
            store(xs, rounded);
        }
    }
    rest.copy_from_slice(&padded[..rest.len()]);
    counts
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,popcnt")]
fn round_with_overflow<const IEEE: bool>(c: &Constants, xs: &mut [f32; BLOCK]) -> Counts {
    round_loop::<IEEE>(c, xs)
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,popcnt")]
fn encode_with_overflow<const IEEE: bool, T: Word>(c: &Constants, xs: &[f32; BLOCK], codes: &mut [T; BLOCK]) -> Counts {
    encode_loop::<IEEE, T>(c, xs, codes)
}

/// The codes of 16 numbers of which none overflows, each from the top bit down; the bits below a code are of no use.
///
/// A negative number that rounds to zero gives the sign bit alone.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn encode_vector<const IEEE: bool>(c: &Constants, x: __m512i) -> __m512i {
    let a = _mm512_and_si512(x, all(MAGNITUDE));
    let small = _mm512_cmplt_epu32_mask(a, all(c.min_normal));
    // Codes are in the order of magnitudes, so a code is a difference of bits, here still in those of FP32.
    let base = c.min_normal.wrapping_sub(EXPONENT);
    let to_top = c.sign_shift - c.shift;
    let fields = if IEEE {
        let odd = _mm512_and_si512(_mm512_srl_epi32(a, count(c.shift)), all(1));
        let normal = _mm512_add_epi32(_mm512_add_epi32(a, all((c.half - 1).wrapping_sub(base))), odd);
        let subnormal = bits(_mm512_add_ps(number(a), number(all(c.subnormal_unit))));
        let fields = _mm512_mask_sub_epi32(normal, small, subnormal, all(c.subnormal_unit));
        _mm512_sllv_epi32(fields, _mm512_mask_blend_epi32(small, all(to_top), all(c.sign_shift)))
    } else {
        let normal = _mm512_add_epi32(a, all(c.half.wrapping_sub(base)));
        let sum = bits(_mm512_add_ps(number(a), number(all(c.min_normal))));
        let fields = _mm512_mask_add_epi32(normal, small, sum, all(c.half.wrapping_sub(c.min_normal)));
        _mm512_sll_epi32(fields, count(to_top))
    };
    _mm512_ternarylogic_epi32::<SELECT>(all(SIGN), x, fields)
}

/// Writes the code of every number of `xs` to `codes`, which is as long.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,popcnt")]
pub(crate) fn encode_u8<const IEEE: bool>(c: &Constants, xs: &[f32], codes: &mut [u8]) -> Counts {
    let c = *c;
    let mut counts = Counts::default();
    // Bytes of each four vectors' n-th elements, to the n-th bytes of the four.
    let within_lanes = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    let across_lanes = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    in_blocks!(xs => codes, {
        let numbers = load_block(xs);
        let Some(underflow) = underflows(&c, numbers) else {
            counts += encode_with_overflow::<IEEE, u8>(&c, xs, codes);
            continue;
        };
        counts.underflow += underflow;
        let tops = each!(numbers, |x| encode_vector::<IEEE>(&c, x));
        let low = _mm512_ternarylogic_epi32::<SELECT>(
            all(0xff),
            _mm512_srli_epi32::<24>(tops[0]),
            _mm512_srli_epi32::<16>(tops[1]),
        );
        let high = _mm512_ternarylogic_epi32::<SELECT>(all(0xff_0000), _mm512_srli_epi32::<8>(tops[2]), tops[3]);
        let bytes = _mm512_mask_blend_epi16(0xaaaa_aaaa, low, high);
        let bytes = _mm512_permutexvar_epi32(across_lanes, _mm512_shuffle_epi8(bytes, within_lanes));
        store(codes, finish_bytes::<IEEE>(&c, bytes));
    });
    counts
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn finish_bytes<const IEEE: bool>(c: &Constants, mut bytes: __m512i) -> __m512i {
    if c.sign_code < 0x80 {
        let kept = _mm512_set1_epi8((2 * c.sign_code - 1) as i8);
        bytes = _mm512_and_si512(_mm512_srl_epi16(bytes, count(c.sign_shift - 24)), kept);
    }
    if IEEE {
        return bytes;
    }
    let numbers = _mm512_cmpneq_epi8_mask(bytes, _mm512_set1_epi8(c.sign_code as i8));
    _mm512_maskz_mov_epi8(numbers, bytes)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn finish_words(c: &Constants, words: __m512i) -> __m512i {
    let words = _mm512_srl_epi16(words, count(c.sign_shift - 16));
    let numbers = _mm512_cmpneq_epi16_mask(words, _mm512_set1_epi16(c.sign_code as i16));
    _mm512_maskz_mov_epi16(numbers, words)
}

/// Writes the code of every number of `xs` in one of the paper's formats to `codes`, which is as long.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,popcnt")]
pub(crate) fn encode_u16(c: &Constants, xs: &[f32], codes: &mut [u16]) -> Counts {
    let c = *c;
    let mut counts = Counts::default();
    let upper = load(&UPPER_WORDS);
    in_blocks!(xs => codes, {
        let numbers = load_block(xs);
        let Some(underflow) = underflows(&c, numbers) else {
            counts += encode_with_overflow::<false, u16>(&c, xs, codes);
            continue;
        };
        counts.underflow += underflow;
        let tops = each!(numbers, |x| encode_vector::<false>(&c, x));
        for (codes, tops) in std::iter::zip(codes.as_chunks_mut::<32>().0, tops.as_chunks::<2>().0) {
            store(codes, finish_words(&c, _mm512_permutex2var_epi16(tops[0], upper, tops[1])));
        }
    });
    counts
}

/// Writes the BF16 code of every number of `xs` to `codes`, which is as long; `c` is of BF16.
///
/// BF16 has the exponents of FP32, so its subnormal numbers round as the others do.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,popcnt")]
pub(crate) fn encode_bf16(c: &Constants, xs: &[f32], codes: &mut [u16]) -> Counts {
    let c = *c;
    let mut counts = Counts::default();
    let upper = load(&UPPER_WORDS);
    in_blocks!(xs => codes, {
        let numbers = load_block(xs);
        let Some(underflow) = underflows(&c, numbers) else {
            counts += encode_with_overflow::<true, u16>(&c, xs, codes);
            continue;
        };
        counts.underflow += underflow;
        let tops = each!(numbers, |x| {
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(x), all(1));
            _mm512_add_epi32(_mm512_add_epi32(x, all(0x7fff)), odd)
        });
        for (codes, tops) in std::iter::zip(codes.as_chunks_mut::<32>().0, tops.as_chunks::<2>().0) {
            store(codes, _mm512_permutex2var_epi16(tops[0], upper, tops[1]));
        }
    });
    counts
}

/// Writes the FP16 code of every number of `xs` to `codes`, which is as long; `c` is of FP16.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,popcnt")]
pub(crate) fn encode_fp16(c: &Constants, xs: &[f32], codes: &mut [u16]) -> Counts {
    const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    let c = *c;
    let mut counts = Counts::default();
    in_blocks!(xs => codes, {
        let numbers = load_block(xs);
        let Some(underflow) = underflows(&c, numbers) else {
            counts += encode_with_overflow::<true, u16>(&c, xs, codes);
            continue;
        };
        counts.underflow += underflow;
        let [a, b, c, d] = each!(numbers, |x| _mm512_cvtps_ph::<NEAREST>(number(x)));
        let pairs = [(a, b), (c, d)].map(|(low, high)| _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high));
        for (codes, pair) in std::iter::zip(codes.as_chunks_mut::<32>().0, pairs) {
            store(codes, pair);
        }
    });
    counts
}
