//! The loops of fused chains, in AVX-512 instructions.

use std::arch::x86_64::*;

use bitbudget_formats::{Counts, Format, Pack64, Unpack64};

use crate::tensors::blocks::{BLOCK, Bytes, Codes, Gate, first, joined, load, masked, normalized, within};
use crate::tensors::tile::{Tile, Tiles};

/// Elements go through where the code is from 1 to `last`, or NaN.
#[derive(Clone, Copy)]
pub(super) struct Passing<'a> {
    pub(super) codes: Bytes<'a>,
    pub(super) last: u8,
}

/// What is added to a normalised tensor.
#[derive(Clone, Copy)]
pub(super) enum Skip<'a> {
    Stored(Codes<'a>),
    /// Normalised itself, by tables of its own, rounded, and rectified or not.
    Normalized(Codes<'a>, [&'a [f32]; 3], Pack64, bool),
}

/// What is counted behind a [`Gate`].
#[derive(Clone, Copy, Default)]
pub(super) struct GateCounts {
    /// Of the normalised numbers.
    pub(super) normalized: Counts,
    /// NaNs among them.
    pub(super) nan: u64,
    /// NaNs that went through.
    pub(super) passed: u64,
}

/// Whether rows have a length for which there are loops: all of at least 32 elements, and some short ones.
pub(super) fn fits(tiles: &Tiles) -> bool {
    matches!(tiles.row(), 1 | 4 | 16 | 32..)
}

/// Where the first element of a whole result is, or would be.
#[derive(Clone, Copy)]
pub(super) enum Target {
    /// Nowhere, where only counts are asked for.
    Nothing,
    Codes(*mut u8),
    /// The numbers of the codes, read back.
    Numbers(*mut f32, Unpack64),
}

/// A tile of a result, and what is counted on the way to it.
pub(super) struct Work {
    pub(super) tile: Tile,
    /// The length of rows, of which tiles may have parts, or 0 where it is not to matter.
    pub(super) row: usize,
    pub(super) pack: Pack64,
    /// The largest code of a result that is clamped, from 0 on.
    pub(super) ceiling: Option<u8>,
    pub(super) to: Target,
    pub(super) packed: Counts,
    pub(super) clamped: Counts,
    /// Elements that were computed.
    pub(super) done: usize,
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
    /// Calls `f` with the offset of each block of 64 elements, its first row in the tile and the mask of those that exist.
    /// Short rows may leave less than a block, see [`Work::done`].
    ///
    /// # Safety
    /// As of the loops that call it.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,popcnt")]
    unsafe fn blocks<const ROW: usize>(&mut self, mut f: impl FnMut(&mut Self, usize, usize, u64)) {
        let Tile { start, len, row_len, .. } = self.tile;
        if ROW > 0 {
            self.done = len / BLOCK * BLOCK;
            return (0..len / BLOCK).for_each(|i| f(self, start + i * BLOCK, i * (BLOCK / ROW), u64::MAX));
        }
        for row in 0..self.tile.rows() {
            for at in (0..row_len).step_by(BLOCK) {
                f(self, start + row * row_len + at, row, first(row_len - at));
            }
        }
        self.done = len;
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
            _ => masked(mask, [a, b, c, d]),
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
        match self.to {
            Target::Nothing => {}
            // SAFETY: the caller's promise.
            Target::Codes(y) => unsafe { _mm512_mask_storeu_epi8(y.wrapping_add(at).cast(), mask, codes) },
            Target::Numbers(y, unpack) => {
                for (i, numbers) in unpack.numbers(codes).into_iter().enumerate() {
                    // SAFETY: the caller's promise.
                    unsafe { _mm512_mask_storeu_ps(y.wrapping_add(at + 16 * i), (mask >> (16 * i)) as u16, numbers) };
                }
            }
        }
    }

    /// Adds the numbers of codes, and lets through what passes.
    ///
    /// # Safety
    /// The processor has the instructions, operands and result have the tile's elements, and no other task touches them.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,popcnt")]
    pub(super) unsafe fn sum(&mut self, terms: &[Codes<'_>], passing: Option<Passing<'_>>) {
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
    unsafe fn sum_of<'t>(&mut self, terms: impl AsRef<[Codes<'t>]>, passing: Option<Passing<'_>>) {
        let Some((head, tail)) = terms.as_ref().split_first() else { return };
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
                    [a, b, c, d] = masked(passes, [a, b, c, d]);
                }
                work.store(&own, at, mask, [a, b, c, d]);
            });
        }
    }

    /// Normalises by the rows' means, factors and biases. Where something is added to the result, that is rounded before, and
    /// rectified or not.
    ///
    /// # Safety
    /// As of [`Work::sum`]; the tables have a number for each row of the tile.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,popcnt")]
    pub(super) unsafe fn normalize(
        &mut self,
        x: Codes<'_>,
        skip: Option<(Skip<'_>, Pack64, bool)>,
        tables: [&[f32]; 3],
        rounded: &mut [Counts; 2],
    ) {
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
        skip: Option<(Skip<'_>, Pack64, bool)>,
        tables: [&[f32]; 3],
        [rounded, of_skip]: &mut [Counts; 2],
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let own = self.pack;
            self.blocks::<ROW>(|work, at, row, mask| {
                let mut y = normalized(x.unpack.numbers(load(x.codes, at, mask)), of_rows::<ROW>(tables, row));
                if let Some((skip, pack, rectifies)) = skip {
                    let [a, b, c, d] = rectified(rectifies, pack.rounded(masked(mask, y), rounded));
                    let [e, f, g, h] = match skip {
                        Skip::Stored(skip) => skip.unpack.numbers(load(skip.codes, at, mask)),
                        Skip::Normalized(x, tables, pack, rectifies) => {
                            let y = normalized(x.unpack.numbers(load(x.codes, at, mask)), of_rows::<ROW>(tables, row));
                            rectified(rectifies, pack.rounded(masked(mask, y), of_skip))
                        }
                    };
                    y = [_mm512_add_ps(a, e), _mm512_add_ps(b, f), _mm512_add_ps(c, g), _mm512_add_ps(d, h)];
                }
                work.store(&own, at, mask, y);
            });
        }
    }

    /// The gradient of normalisation from dy, or what a gate lets through of it, and x. What the gate normalises is rounded to a
    /// format in between if there is one.
    ///
    /// # Safety
    /// As of [`Work::normalize`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,popcnt")]
    pub(super) unsafe fn gradient(
        &mut self,
        operands: [Codes<'_>; 2],
        tables: [&[f32]; 4],
        gate: Option<(Gate<'_>, Option<Format>)>,
    ) -> GateCounts {
        // SAFETY: the caller's promise.
        unsafe {
            match (self.row, gate) {
                (1, None) => self.gradient_rows::<1>(operands, tables),
                (4, None) => self.gradient_rows::<4>(operands, tables),
                (16, None) => self.gradient_rows::<16>(operands, tables),
                (_, None) => self.gradient_rows::<0>(operands, tables),
                (1, Some((gate, rounded))) => return self.gated_rows::<1>(operands, tables, gate, rounded),
                (4, Some((gate, rounded))) => return self.gated_rows::<4>(operands, tables, gate, rounded),
                (16, Some((gate, rounded))) => return self.gated_rows::<16>(operands, tables, gate, rounded),
                (_, Some((gate, rounded))) => return self.gated_rows::<0>(operands, tables, gate, rounded),
            }
        }
        GateCounts::default()
    }

    /// # Safety
    /// As of [`Work::normalize`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,popcnt")]
    unsafe fn gradient_rows<const ROW: usize>(&mut self, [dy, x]: [Codes<'_>; 2], tables: [&[f32]; 4]) {
        // SAFETY: the caller's promise.
        unsafe {
            let own = self.pack;
            self.blocks::<ROW>(|work, at, row, mask| {
                let dy = dy.unpack.numbers(load(dy.codes, at, mask));
                let x = x.unpack.numbers(load(x.codes, at, mask));
                work.store(&own, at, mask, gradient::<ROW>(dy, x, tables, row));
            });
        }
    }

    /// # Safety
    /// As of [`Work::normalize`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,popcnt")]
    unsafe fn gated_rows<const ROW: usize>(
        &mut self,
        [dy, x]: [Codes<'_>; 2],
        tables: [&[f32]; 4],
        gate: Gate<'_>,
        rounded: Option<Format>,
    ) -> GateCounts {
        let mut found = GateCounts::default();
        let thresholds = rounded.map(|format| [format.underflow_threshold(), format.overflow_threshold()]);
        // SAFETY: the caller's promise.
        unsafe {
            let own = self.pack;
            self.blocks::<ROW>(|work, at, row, mask| {
                let codes = load(dy.codes, at, mask);
                let x = x.unpack.numbers(load(x.codes, at, mask));
                let z = normalized(x, of_rows::<ROW>(gate.tables, row));
                let passes = within(gate.bounds, z) & mask;
                if let Some(thresholds) = thresholds {
                    count(thresholds, z, mask, &mut found);
                }
                let nan = _mm512_mask_cmpeq_epi8_mask(passes, codes, _mm512_set1_epi8(i8::MIN));
                found.passed += u64::from(nan.count_ones());
                let dy = masked(passes, dy.unpack.numbers(codes));
                work.store(&own, at, mask, gradient::<ROW>(dy, x, tables, row));
            });
        }
        found
    }
}

/// Numbers, or zero where they are negative, if asked for; NaN stays.
#[inline]
#[target_feature(enable = "avx512f")]
fn rectified(asked: bool, [a, b, c, d]: [__m512; 4]) -> [__m512; 4] {
    if !asked {
        return [a, b, c, d];
    }
    let zero = _mm512_setzero_ps();
    [_mm512_max_ps(zero, a), _mm512_max_ps(zero, b), _mm512_max_ps(zero, c), _mm512_max_ps(zero, d)]
}

/// The factors of several tables, as [`factors`].
///
/// # Safety
/// As of [`factors`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn of_rows<const ROW: usize>([a, b, c]: [&[f32]; 3], row: usize) -> [[__m512; 4]; 3] {
    // SAFETY: the caller's promise.
    unsafe { [factors::<ROW>(a, row), factors::<ROW>(b, row), factors::<ROW>(c, row)] }
}

/// The gradient of normalisation for a block, by factors of rows.
///
/// # Safety
/// As of [`factors`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn gradient<const ROW: usize>(dy: [__m512; 4], x: [__m512; 4], tables: [&[f32]; 4], row: usize) -> [__m512; 4] {
    // SAFETY: the caller's promise.
    let of_rows = |table: &[f32]| unsafe { factors::<ROW>(table, row) };
    let (mean, by_dy, by_x, constant) =
        (of_rows(tables[0]), of_rows(tables[1]), of_rows(tables[2]), of_rows(tables[3]));
    let gradient = |i: usize| {
        let by_x = _mm512_fmadd_ps(_mm512_sub_ps(x[i], mean[i]), by_x[i], constant[i]);
        _mm512_fmadd_ps(dy[i], by_dy[i], by_x)
    };
    [gradient(0), gradient(1), gradient(2), gradient(3)]
}

/// Counts what rounding does to normalised numbers, from a format's thresholds of underflow and overflow.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,popcnt")]
fn count([least, most]: [f32; 2], z: [__m512; 4], mask: u64, found: &mut GateCounts) {
    let (least, most) = (_mm512_set1_ps(least), _mm512_set1_ps(most));
    let small = |z: __m512| {
        let below = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(_mm512_abs_ps(z), least);
        _mm512_mask_cmp_ps_mask::<_CMP_NEQ_OQ>(below, z, _mm512_setzero_ps())
    };
    found.normalized.underflow +=
        u64::from((joined([small(z[0]), small(z[1]), small(z[2]), small(z[3])]) & mask).count_ones());
    let large = |z: __m512| _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(_mm512_abs_ps(z), most);
    let large = joined([large(z[0]), large(z[1]), large(z[2]), large(z[3])]) & mask;
    if large != 0 {
        let nan = |z: __m512| _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(z, z);
        let nan = joined([nan(z[0]), nan(z[1]), nan(z[2]), nan(z[3])]) & mask;
        let infinite = |z: __m512| _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(_mm512_abs_ps(z), _mm512_set1_ps(f32::INFINITY));
        let infinite = joined([infinite(z[0]), infinite(z[1]), infinite(z[2]), infinite(z[3])]) & mask;
        found.normalized.overflow += u64::from(large.count_ones());
        found.normalized.not_finite += u64::from((nan | infinite).count_ones());
        found.nan += u64::from(nan.count_ones());
    }
}
