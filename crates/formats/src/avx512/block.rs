//! Blocks of 64 numbers that stay in registers, for loops that unpack, compute and pack without memory in between.

use std::arch::x86_64::*;

use super::decode::{interleaved, widened};
use super::{BLOCK, OR_AND, SELECT, SIGN, UPPER_BYTES, UPPER_WORDS, all, bits, count, load, number, store};
use crate::counts::{Counts, Overflow};
use crate::element::{Constants, EXPONENT, NAN};
use crate::format::{Encoding, Format};
use crate::loops::{encode_loop, round_loop};
use crate::path::Path;
use crate::table::Table;

/// Turns 64 codes of one of the paper's formats of 8 bits into numbers, in the registers of a processor with AVX-512
/// VBMI.
#[derive(Clone, Copy, Debug)]
pub struct Unpack64(&'static Table);

impl Unpack64 {
    /// None where the format is another one, or the processor lacks the instructions of [`Pack64::new`].
    pub fn new(format: Format) -> Option<Self> {
        let fits = format.encoding == Encoding::Paper && format.bits() == 8;
        (fits && available()).then(|| Unpack64(Table::of(format)))
    }

    /// The numbers of 64 codes, in their order, as [`crate::unpack_u8`] gives them.
    ///
    /// # Safety
    /// Always given, since a value exists only where the processor has the instructions.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
    pub fn numbers(self, codes: __m512i) -> [__m512; 4] {
        // Half a table does, since the sign is the code's; it takes half the loads where registers are short.
        let (low, high) = (self.0.low.as_chunks::<64>().0, self.0.high.as_chunks::<64>().0);
        let codes = _mm512_permutexvar_epi32(interleaved(), codes);
        let low = _mm512_permutex2var_epi8(load(&low[0]), codes, load(&low[1]));
        let high = _mm512_permutex2var_epi8(load(&high[0]), codes, load(&high[1]));
        let sign = _mm512_set1_epi8(i8::MIN);
        let high = _mm512_ternarylogic_epi32::<OR_AND>(high, codes, sign);
        let nan = _mm512_cmpeq_epi8_mask(codes, sign);
        let low = _mm512_mask_mov_epi8(low, nan, _mm512_set1_epi8((NAN >> 16) as i8));
        let high = _mm512_mask_mov_epi8(high, nan, _mm512_set1_epi8((NAN >> 24) as i8));
        let [a, b, c, d] = widened(low, high);
        [number(a), number(b), number(c), number(d)]
    }
}

/// Writes the number of every code to `xs`, which is as long.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
pub(crate) fn decode_blocks(unpack: Unpack64, codes: &[u8], xs: &mut [f32]) {
    in_blocks!(codes => xs, {
        for (xs, numbers) in std::iter::zip(xs.as_chunks_mut::<16>().0, unpack.numbers(load(codes))) {
            store(xs, bits(numbers));
        }
    });
}

/// Rounds 64 numbers to one of the paper's formats of 8 bits, in the registers of a processor with AVX-512 VBMI.
#[derive(Clone, Copy, Debug)]
pub struct Pack64(Constants);

fn available() -> bool {
    Path::Avx512Vbmi.available()
}

/// The formats' smallest normal numbers are so far from FP32's that half of one is exact, and that what is not finite
/// stays above all codes when it is shifted to them.
const LEAST_NORMAL: f32 = 1.0e-30;

impl Pack64 {
    /// None where the format is another one, or the processor lacks AVX-512 F, BW, VL, DQ or VBMI, or POPCNT.
    pub fn new(format: Format, overflow: Overflow) -> Option<Self> {
        let fits = format.encoding == Encoding::Paper && format.bits() == 8 && format.min_normal() >= LEAST_NORMAL;
        (fits && available()).then(|| Pack64(Constants::new(format, overflow)))
    }

    /// Those of 16 numbers that are not zero and below the smallest normal number, and twice the bits of the numbers,
    /// less one: in the order of magnitudes, with zero as the last.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn small(&self, x: __m512i) -> (__mmask16, __m512i) {
        let order = _mm512_sub_epi32(_mm512_add_epi32(x, x), all(1));
        (_mm512_cmplt_epu32_mask(order, all(2 * self.0.min_normal - 1)), order)
    }

    /// How many of 64 numbers underflow, of those orders.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,popcnt")]
    fn underflows(&self, [a, b, c, d]: [__m512i; 4]) -> u64 {
        let least = all(2 * self.0.underflow_threshold - 1);
        let low =
            _mm512_kunpackw(u32::from(_mm512_cmplt_epu32_mask(b, least)), u32::from(_mm512_cmplt_epu32_mask(a, least)));
        let high =
            _mm512_kunpackw(u32::from(_mm512_cmplt_epu32_mask(d, least)), u32::from(_mm512_cmplt_epu32_mask(c, least)));
        u64::from(_mm512_kunpackd(u64::from(high), u64::from(low)).count_ones())
    }

    /// The codes of 64 numbers and what is counted, as [`crate::pack_u8`] gives them.
    ///
    /// # Safety
    /// Always given, since a value exists only where the processor has the instructions.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,popcnt")]
    pub fn codes(&self, numbers: [__m512; 4], counts: &mut Counts) -> __m512i {
        let c = &self.0;
        let [x0, x1, x2, x3] = [bits(numbers[0]), bits(numbers[1]), bits(numbers[2]), bits(numbers[3])];
        let [(s0, o0), (s1, o1), (s2, o2), (s3, o3)] = [self.small(x0), self.small(x1), self.small(x2), self.small(x3)];
        let [mut t0, mut t1, mut t2, mut t3] = [x0, x1, x2, x3];
        let mut underflow = 0;
        if s0 | s1 | s2 | s3 != 0 {
            underflow = self.underflows([o0, o1, o2, o3]);
            // Half the sum with the smallest normal number has the exponent below it, as subnormal codes have.
            let halved = |small, x| {
                let half = _mm512_ternarylogic_epi32::<OR_AND>(all(c.min_normal - EXPONENT), x, all(SIGN));
                bits(_mm512_mask_fmadd_ps(number(x), small, _mm512_set1_ps(0.5), number(half)))
            };
            [t0, t1, t2, t3] = [halved(s0, x0), halved(s1, x1), halved(s2, x2), halved(s3, x3)];
        }
        // No bit below the upper halves matters: rounding is to the nearest, ties away from zero, at a bit of them.
        let upper = load(&UPPER_WORDS);
        let (low, high) = (_mm512_permutex2var_epi16(t0, upper, t1), _mm512_permutex2var_epi16(t2, upper, t3));
        // Codes are in the order of magnitudes; zeros stay zero by saturation.
        let base = _mm512_set1_epi16(((c.min_normal - EXPONENT - c.half) >> 16) as i16);
        let magnitude = _mm512_set1_epi16(i16::MAX);
        let low_fields = _mm512_subs_epu16(_mm512_and_si512(low, magnitude), base);
        let high_fields = _mm512_subs_epu16(_mm512_and_si512(high, magnitude), base);
        // What overflows has more bits than a code.
        let to_top = c.sign_shift - c.shift;
        let above = _mm512_set1_epi16((i16::MAX as u16 & !(i16::MAX as u16 >> to_top)) as i16);
        if _mm512_test_epi16_mask(_mm512_or_si512(low_fields, high_fields), above) != 0 {
            let [x0, x1, x2, x3] = numbers;
            return codes_with_overflow(c, x0, x1, x2, x3, counts);
        }
        counts.underflow += underflow;
        let sign = _mm512_set1_epi16(i16::MIN);
        let low = _mm512_ternarylogic_epi32::<SELECT>(sign, low, _mm512_sll_epi16(low_fields, count(to_top)));
        let high = _mm512_ternarylogic_epi32::<SELECT>(sign, high, _mm512_sll_epi16(high_fields, count(to_top)));
        let codes = _mm512_permutex2var_epi8(low, load(&UPPER_BYTES), high);
        let numbers = _mm512_cmpneq_epi8_mask(codes, _mm512_set1_epi8(i8::MIN));
        _mm512_maskz_mov_epi8(numbers, codes)
    }

    /// The numbers of the codes of 64 numbers, but for the sign of zeros, and what is counted.
    ///
    /// # Safety
    /// Always given, since a value exists only where the processor has the instructions.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,popcnt")]
    pub fn rounded(&self, numbers: [__m512; 4], counts: &mut Counts) -> [__m512; 4] {
        let c = &self.0;
        let [x0, x1, x2, x3] = [bits(numbers[0]), bits(numbers[1]), bits(numbers[2]), bits(numbers[3])];
        let [(s0, o0), (s1, o1), (s2, o2), (s3, o3)] = [self.small(x0), self.small(x1), self.small(x2), self.small(x3)];
        // Zero, the last in order, is not what overflows.
        let most = all(2 * c.overflow_threshold - 1);
        let over = |order| _mm512_cmpge_epu32_mask(_mm512_add_epi32(order, all(1)), most);
        if over(o0) | over(o1) | over(o2) | over(o3) != 0 {
            let [x0, x1, x2, x3] = numbers;
            return rounded_with_overflow(c, x0, x1, x2, x3, counts);
        }
        let (half, keep) = (all(c.half), all(u32::MAX << c.shift));
        let round = |x| number(_mm512_and_si512(_mm512_add_epi32(x, half), keep));
        if s0 | s1 | s2 | s3 == 0 {
            return [round(x0), round(x1), round(x2), round(x3)];
        }
        counts.underflow += self.underflows([o0, o1, o2, o3]);
        let with_small = |small, x| {
            let addend = number(_mm512_ternarylogic_epi32::<OR_AND>(all(c.min_normal), x, all(SIGN)));
            let sum = round(bits(_mm512_mask_add_ps(number(x), small, number(x), addend)));
            _mm512_mask_sub_ps(sum, small, sum, addend)
        };
        [with_small(s0, x0), with_small(s1, x1), with_small(s2, x2), with_small(s3, x3)]
    }
}

/// Writes the code of every number of `xs` to `codes`, which is as long.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,popcnt")]
pub(crate) fn encode_blocks(pack: Pack64, xs: &[f32], codes: &mut [u8]) -> Counts {
    let mut counts = Counts::default();
    in_blocks!(xs => codes, {
        let parts = xs.as_chunks::<16>().0;
        let numbers = [load(&parts[0]), load(&parts[1]), load(&parts[2]), load(&parts[3])];
        let [a, b, c, d] = numbers;
        store(codes, pack.codes([number(a), number(b), number(c), number(d)], &mut counts));
    });
    counts
}

#[target_feature(enable = "avx512f")]
fn in_memory(numbers: [__m512; 4]) -> [f32; 64] {
    let mut xs = [0.0; 64];
    for (xs, numbers) in std::iter::zip(xs.as_chunks_mut::<16>().0, numbers) {
        store(xs, bits(numbers));
    }
    xs
}

/// The calling convention passes vectors in registers, so that numbers go to memory only here.
#[cold]
#[inline(never)]
#[allow(improper_ctypes_definitions)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,popcnt")]
extern "sysv64" fn codes_with_overflow(
    c: &Constants,
    x0: __m512,
    x1: __m512,
    x2: __m512,
    x3: __m512,
    counts: &mut Counts,
) -> __m512i {
    let mut codes = [0u8; 64];
    *counts += encode_loop::<false, u8>(c, &in_memory([x0, x1, x2, x3]), &mut codes);
    load(&codes)
}

#[cold]
#[inline(never)]
#[allow(improper_ctypes_definitions)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,popcnt")]
extern "sysv64" fn rounded_with_overflow(
    c: &Constants,
    x0: __m512,
    x1: __m512,
    x2: __m512,
    x3: __m512,
    counts: &mut Counts,
) -> [__m512; 4] {
    let mut xs = in_memory([x0, x1, x2, x3]);
    *counts += round_loop::<false>(c, &mut xs);
    // The formats have no code for infinity.
    for x in xs.iter_mut().filter(|x| x.is_infinite()) {
        *x = f32::from_bits(NAN);
    }
    let parts = xs.as_chunks::<16>().0;
    [number(load(&parts[0])), number(load(&parts[1])), number(load(&parts[2])), number(load(&parts[3]))]
}
