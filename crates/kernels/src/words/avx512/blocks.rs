//! Blocks of 64 elements: one-byte codes in one vector, numbers in four. Masks have a bit for each element.

use std::arch::x86_64::*;

use super::{Vector, add, multiply_add, splat, sub, zero};

/// Elements of a block.
pub(crate) const BLOCK: usize = 64;

/// 64 numbers.
pub(crate) type Block = [Vector; 4];

/// 64 one-byte codes.
pub(crate) type Codes = __m512i;

/// The code whose sign bit alone is set: NaN in the paper's formats.
const NAN: i8 = i8::MIN;

/// The first `len` of 64 elements.
pub(crate) fn first(len: usize) -> u64 {
    if len < BLOCK { (1 << len) - 1 } else { u64::MAX }
}

/// 64 codes, zero where the mask says so.
///
/// # Safety
/// The codes that the mask names are readable.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) unsafe fn load_codes(x: *const u8, mask: u64) -> Codes {
    // SAFETY: the caller's promise.
    unsafe { _mm512_maskz_loadu_epi8(mask, x.cast()) }
}

/// Writes the codes that a mask names.
///
/// # Safety
/// They are writable.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) unsafe fn store_codes(y: *mut u8, mask: u64, codes: Codes) {
    // SAFETY: the caller's promise.
    unsafe { _mm512_mask_storeu_epi8(y.cast(), mask, codes) };
}

/// Writes the numbers that a mask names.
///
/// # Safety
/// They are writable.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn store_block(y: *mut f32, mask: u64, numbers: Block) {
    for (i, numbers) in numbers.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { _mm512_mask_storeu_ps(y.wrapping_add(16 * i), (mask >> (16 * i)) as u16, numbers) };
    }
}

/// 64 numbers from `64 / ROW` at an address, each `ROW` times; 0 stands for one number 64 times.
///
/// # Safety
/// The numbers are readable.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn repeated<const ROW: usize>(x: *const f32) -> Block {
    // SAFETY: the caller's promise, for all of them.
    unsafe {
        match ROW {
            1 => {
                [_mm512_loadu_ps(x), _mm512_loadu_ps(x.add(16)), _mm512_loadu_ps(x.add(32)), _mm512_loadu_ps(x.add(48))]
            }
            4 => {
                let order = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
                let four = |x: *const f32| _mm512_permutexvar_ps(order, _mm512_castps128_ps512(_mm_loadu_ps(x)));
                [four(x), four(x.add(4)), four(x.add(8)), four(x.add(12))]
            }
            16 => [splat(*x), splat(*x.add(1)), splat(*x.add(2)), splat(*x.add(3))],
            _ => [splat(*x); 4],
        }
    }
}

/// The elements of four vectors that a mask names, zero for the others.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn masked(mask: u64, [a, b, c, d]: Block) -> Block {
    [
        _mm512_maskz_mov_ps(mask as u16, a),
        _mm512_maskz_mov_ps((mask >> 16) as u16, b),
        _mm512_maskz_mov_ps((mask >> 32) as u16, c),
        _mm512_maskz_mov_ps((mask >> 48) as u16, d),
    ]
}

/// The masks of four vectors in one.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn joined([a, b, c, d]: [__mmask16; 4]) -> u64 {
    let (low, high) = (_mm512_kunpackw(u32::from(b), u32::from(a)), _mm512_kunpackw(u32::from(d), u32::from(c)));
    _mm512_kunpackd(u64::from(high), u64::from(low))
}

/// `a + b`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn sum([a, b, c, d]: Block, [e, f, g, h]: Block) -> Block {
    [add(a, e), add(b, f), add(c, g), add(d, h)]
}

/// `(x - mean) * factor + bias`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn normalized(x: Block, [mean, factor, bias]: [Block; 3]) -> Block {
    let affine = |i: usize| multiply_add(sub(x[i], mean[i]), factor[i], bias[i]);
    [affine(0), affine(1), affine(2), affine(3)]
}

/// `dy * by_dy + (x - mean) * by_x + constant`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn gradient(dy: Block, x: Block, [mean, by_dy, by_x, constant]: [Block; 4]) -> Block {
    let gradient = |i: usize| multiply_add(dy[i], by_dy[i], multiply_add(sub(x[i], mean[i]), by_x[i], constant[i]));
    [gradient(0), gradient(1), gradient(2), gradient(3)]
}

/// Numbers, or zero where they are negative; NaN stays.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn rectified([a, b, c, d]: Block) -> Block {
    [_mm512_max_ps(zero(), a), _mm512_max_ps(zero(), b), _mm512_max_ps(zero(), c), _mm512_max_ps(zero(), d)]
}

/// Which numbers are at least `low` and below `high`, or NaN; a bound that is NaN is none.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn within([low, high]: [f32; 2], z: Block) -> u64 {
    let (low, high) = (splat(low), splat(high));
    let within = |z: Vector| {
        let above = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(z, low);
        _mm512_mask_cmp_ps_mask::<_CMP_NGE_UQ>(above, z, high)
    };
    joined([within(z[0]), within(z[1]), within(z[2]), within(z[3])])
}

/// Which numbers are no zeros and of a magnitude below `least`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
pub(crate) fn small(least: f32, z: Block) -> u64 {
    let small = |z: Vector| {
        let below = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(_mm512_abs_ps(z), splat(least));
        _mm512_mask_cmp_ps_mask::<_CMP_NEQ_OQ>(below, z, zero())
    };
    joined([small(z[0]), small(z[1]), small(z[2]), small(z[3])])
}

/// Which numbers are of a magnitude of at least `most`, or NaN.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
pub(crate) fn large(most: f32, z: Block) -> u64 {
    let large = |z: Vector| _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(_mm512_abs_ps(z), splat(most));
    joined([large(z[0]), large(z[1]), large(z[2]), large(z[3])])
}

/// Which numbers are NaN.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn nan(z: Block) -> u64 {
    let nan = |z: Vector| _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(z, z);
    joined([nan(z[0]), nan(z[1]), nan(z[2]), nan(z[3])])
}

/// Which codes of the paper's formats are NaN.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn nan_codes(codes: Codes) -> u64 {
    _mm512_cmpeq_epi8_mask(codes, _mm512_set1_epi8(NAN))
}

/// Which codes of the paper's formats are from 1 to `last`, or NaN.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn positive_up_to(last: u8, codes: Codes) -> u64 {
    let positive = _mm512_cmpgt_epi8_mask(codes, _mm512_setzero_si512());
    _mm512_mask_cmple_epi8_mask(positive, codes, _mm512_set1_epi8(last as i8)) | nan_codes(codes)
}

/// Codes of the paper's formats from 0 to `ceiling`, except those that a mask names.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn clamped(ceiling: u8, except: u64, codes: Codes) -> Codes {
    let clamped = _mm512_max_epi8(codes, _mm512_setzero_si512());
    let clamped = _mm512_min_epi8(clamped, _mm512_set1_epi8(ceiling as i8));
    _mm512_mask_mov_epi8(clamped, except, codes)
}
