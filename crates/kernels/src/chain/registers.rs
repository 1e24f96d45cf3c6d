//! The loops of fused chains, in AVX-512 instructions.

use std::arch::x86_64::*;

use bitbudget_formats::{Counts, Pack64, Unpack64};

use super::{Tile, Tiles};

/// Elements of a block: four vectors of FP32, one of codes.
const BLOCK: usize = 64;

/// The codes of an operand, and what makes numbers of them.
#[derive(Clone, Copy)]
pub(super) struct Codes<'a> {
    pub(super) codes: &'a [u8],
    pub(super) unpack: Unpack64,
}

/// Elements go through where the code is from 1 to `last`, or NaN.
#[derive(Clone, Copy)]
pub(super) struct Passing<'a> {
    pub(super) codes: &'a [u8],
    pub(super) last: u8,
}

/// Whether rows have a length for which there are loops: all of at least 32 elements, and some short ones.
pub(super) fn fits(tiles: &Tiles) -> bool {
    matches!(tiles.row(), 1 | 4 | 16 | 32..)
}

/// A tile of a result, and what is counted on the way to it.
pub(super) struct Work {
    pub(super) tile: Tile,
    /// The length of rows, of which tiles may have parts, or 0 where it is not to matter.
    pub(super) row: usize,
    pub(super) pack: Pack64,
    /// The largest code of a result that is clamped, from 0 on.
    pub(super) ceiling: Option<u8>,
    /// Where the first code of the whole result is, or would be.
    pub(super) y: *mut u8,
    pub(super) packed: Counts,
    pub(super) clamped: Counts,
}

/// The first `len` of 64 elements.
fn first(len: usize) -> u64 {
    if len < BLOCK { (1 << len) - 1 } else { u64::MAX }
}

/// 64 codes at an offset, zero where the mask says so.
///
/// # Safety
/// The codes that the mask names exist.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn load(codes: &[u8], at: usize, mask: u64) -> __m512i {
    debug_assert!(at + (64 - mask.leading_zeros() as usize) <= codes.len());
    // SAFETY: the caller's promise.
    unsafe { _mm512_maskz_loadu_epi8(mask, codes.as_ptr().add(at).cast()) }
}

/// The factors of 64 elements that begin at row `row` of rows of `ROW` elements; 0 stands for rows of a block or more.
///
/// # Safety
/// The table has the rows of the 64 elements.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn factors<const ROW: usize>(table: &[f32], row: usize) -> [__m512; 4] {
    debug_assert!(row + BLOCK.checked_div(ROW).unwrap_or(1) <= table.len());
    // SAFETY: the caller's promise, for all of them.
    unsafe {
        let x = table.as_ptr().add(row);
        match ROW {
            1 => {
                [_mm512_loadu_ps(x), _mm512_loadu_ps(x.add(16)), _mm512_loadu_ps(x.add(32)), _mm512_loadu_ps(x.add(48))]
            }
            4 => {
                let order = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
                let four = |x: *const f32| _mm512_permutexvar_ps(order, _mm512_castps128_ps512(_mm_loadu_ps(x)));
                [four(x), four(x.add(4)), four(x.add(8)), four(x.add(12))]
            }
            16 => [_mm512_set1_ps(*x), _mm512_set1_ps(*x.add(1)), _mm512_set1_ps(*x.add(2)), _mm512_set1_ps(*x.add(3))],
            _ => [_mm512_set1_ps(*x); 4],
        }
    }
}

impl Work {
    /// Calls `f` with the offset of each block of 64 elements, its first row in the tile and the mask of those that exist,
    /// and gives how many elements that were: short rows may leave less than a block.
    ///
    /// # Safety
    /// As of the loops that call it.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,popcnt")]
    unsafe fn blocks<const ROW: usize>(&mut self, mut f: impl FnMut(&mut Self, usize, usize, u64)) -> usize {
        let Tile { start, len, row_len, .. } = self.tile;
        if ROW > 0 {
            let whole = len / BLOCK;
            (0..whole).for_each(|i| f(self, start + i * BLOCK, i * (BLOCK / ROW), u64::MAX));
            return whole * BLOCK;
        }
        for row in 0..self.tile.rows() {
            for at in (0..row_len).step_by(BLOCK) {
                f(self, start + row * row_len + at, row, first(row_len - at));
            }
        }
        len
    }

    /// Packs a block, clamps it and stores it.
    ///
    /// # Safety
    /// The elements that the mask names are of the result, and no other task touches them.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,popcnt")]
    unsafe fn store(&mut self, pack: &Pack64, at: usize, mask: u64, [a, b, c, d]: [__m512; 4]) {
        // What is outside of the row counts as zero.
        let numbers = match mask {
            u64::MAX => [a, b, c, d],
            _ => [
                _mm512_maskz_mov_ps(mask as u16, a),
                _mm512_maskz_mov_ps((mask >> 16) as u16, b),
                _mm512_maskz_mov_ps((mask >> 32) as u16, c),
                _mm512_maskz_mov_ps((mask >> 48) as u16, d),
            ],
        };
        let overflow = self.packed.overflow;
        let mut codes = pack.codes(numbers, &mut self.packed);
        if let Some(ceiling) = self.ceiling {
            let mut nan = 0;
            if self.packed.overflow != overflow {
                nan = _mm512_cmpeq_epi8_mask(codes, _mm512_set1_epi8(i8::MIN));
                self.clamped.overflow += u64::from(nan.count_ones());
                self.clamped.not_finite += u64::from(nan.count_ones());
            }
            let clamped = _mm512_max_epi8(codes, _mm512_setzero_si512());
            let clamped = _mm512_min_epi8(clamped, _mm512_set1_epi8(ceiling as i8));
            codes = _mm512_mask_mov_epi8(clamped, nan, codes);
        }
        // SAFETY: the caller's promise.
        unsafe { _mm512_mask_storeu_epi8(self.y.wrapping_add(at).cast(), mask, codes) };
    }

    /// Adds the numbers of codes, and lets through what passes.
    ///
    /// # Safety
    /// The processor has the instructions, operands and result have the tile's elements, and no other task touches them.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,popcnt")]
    pub(super) unsafe fn sum(&mut self, terms: &[Codes<'_>], passing: Option<Passing<'_>>) -> usize {
        // SAFETY: the caller's promise.
        unsafe {
            match *terms {
                [a, b] => self.sum_of([a, b], passing),
                [a, b, c] => self.sum_of([a, b, c], passing),
                _ => self.sum_of(terms, passing),
            }
        }
    }

    /// # Safety
    /// As of [`Work::sum`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,popcnt")]
    unsafe fn sum_of<'t>(&mut self, terms: impl AsRef<[Codes<'t>]>, passing: Option<Passing<'_>>) -> usize {
        let Some((head, tail)) = terms.as_ref().split_first() else { return 0 };
        // SAFETY: the caller's promise.
        unsafe {
            let own = self.pack;
            self.blocks::<0>(|work, at, _, mask| {
                let [mut a, mut b, mut c, mut d] = head.unpack.numbers(load(head.codes, at, mask));
                for term in tail {
                    let [e, f, g, h] = term.unpack.numbers(load(term.codes, at, mask));
                    [a, b, c, d] = [_mm512_add_ps(a, e), _mm512_add_ps(b, f), _mm512_add_ps(c, g), _mm512_add_ps(d, h)];
                }
                if let Some(Passing { codes, last }) = passing {
                    let codes = load(codes, at, mask);
                    let positive = _mm512_cmpgt_epi8_mask(codes, _mm512_setzero_si512());
                    let passes = _mm512_mask_cmple_epi8_mask(positive, codes, _mm512_set1_epi8(last as i8))
                        | _mm512_cmpeq_epi8_mask(codes, _mm512_set1_epi8(i8::MIN));
                    a = _mm512_maskz_mov_ps(passes as u16, a);
                    b = _mm512_maskz_mov_ps((passes >> 16) as u16, b);
                    c = _mm512_maskz_mov_ps((passes >> 32) as u16, c);
                    d = _mm512_maskz_mov_ps((passes >> 48) as u16, d);
                }
                work.store(&own, at, mask, [a, b, c, d]);
            })
        }
    }

    /// Normalises by the rows' means, factors and biases; what is added to the result, it is rounded before.
    ///
    /// # Safety
    /// As of [`Work::sum`]; the tables have a number for each row of the tile.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,popcnt")]
    pub(super) unsafe fn normalize(
        &mut self,
        x: Codes<'_>,
        skip: Option<(Codes<'_>, Pack64)>,
        tables: [&[f32]; 3],
        rounded: &mut Counts,
    ) -> usize {
        // SAFETY: the caller's promise.
        unsafe {
            match self.row {
                1 => self.normalize_rows::<1>(x, skip, tables, rounded),
                4 => self.normalize_rows::<4>(x, skip, tables, rounded),
                16 => self.normalize_rows::<16>(x, skip, tables, rounded),
                _ => self.normalize_rows::<0>(x, skip, tables, rounded),
            }
        }
    }

    /// # Safety
    /// As of [`Work::normalize`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,popcnt")]
    unsafe fn normalize_rows<const ROW: usize>(
        &mut self,
        x: Codes<'_>,
        skip: Option<(Codes<'_>, Pack64)>,
        [mean, factor, bias]: [&[f32]; 3],
        rounded: &mut Counts,
    ) -> usize {
        // SAFETY: the caller's promise.
        unsafe {
            let own = self.pack;
            self.blocks::<ROW>(|work, at, row, mask| {
                let x = x.unpack.numbers(load(x.codes, at, mask));
                let (mean, factor, bias) =
                    (factors::<ROW>(mean, row), factors::<ROW>(factor, row), factors::<ROW>(bias, row));
                let affine = |i: usize| _mm512_fmadd_ps(_mm512_sub_ps(x[i], mean[i]), factor[i], bias[i]);
                let mut y = [affine(0), affine(1), affine(2), affine(3)];
                if let Some((skip, pack)) = skip {
                    let part = |i: usize| _mm512_maskz_mov_ps((mask >> (16 * i)) as u16, y[i]);
                    let [a, b, c, d] = pack.rounded([part(0), part(1), part(2), part(3)], rounded);
                    let [e, f, g, h] = skip.unpack.numbers(load(skip.codes, at, mask));
                    y = [_mm512_add_ps(a, e), _mm512_add_ps(b, f), _mm512_add_ps(c, g), _mm512_add_ps(d, h)];
                }
                work.store(&own, at, mask, y);
            })
        }
    }

    /// The gradient of normalisation from dy and x.
    ///
    /// # Safety
    /// As of [`Work::normalize`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,popcnt")]
    pub(super) unsafe fn gradient(&mut self, operands: [Codes<'_>; 2], tables: [&[f32]; 4]) -> usize {
        // SAFETY: the caller's promise.
        unsafe {
            match self.row {
                1 => self.gradient_rows::<1>(operands, tables),
                4 => self.gradient_rows::<4>(operands, tables),
                16 => self.gradient_rows::<16>(operands, tables),
                _ => self.gradient_rows::<0>(operands, tables),
            }
        }
    }

    /// # Safety
    /// As of [`Work::normalize`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,popcnt")]
    unsafe fn gradient_rows<const ROW: usize>(
        &mut self,
        [dy, x]: [Codes<'_>; 2],
        [mean, by_dy, by_x, constant]: [&[f32]; 4],
    ) -> usize {
        // SAFETY: the caller's promise.
        unsafe {
            let own = self.pack;
            self.blocks::<ROW>(|work, at, row, mask| {
                let dy = dy.unpack.numbers(load(dy.codes, at, mask));
                let x = x.unpack.numbers(load(x.codes, at, mask));
                let (mean, by_dy) = (factors::<ROW>(mean, row), factors::<ROW>(by_dy, row));
                let (by_x, constant) = (factors::<ROW>(by_x, row), factors::<ROW>(constant, row));
                let gradient = |i: usize| {
                    let by_x = _mm512_fmadd_ps(_mm512_sub_ps(x[i], mean[i]), by_x[i], constant[i]);
                    _mm512_fmadd_ps(dy[i], by_dy[i], by_x)
                };
                work.store(&own, at, mask, [gradient(0), gradient(1), gradient(2), gradient(3)]);
            })
        }
    }
}
