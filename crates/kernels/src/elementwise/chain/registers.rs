//! The loops of fused chains, over blocks of 64 elements in registers.

use bitbudget_formats::{Counts, Format, Pack64, Unpack64};

use crate::tensors::blocks::{Bytes, Codes, Gate};
use crate::tensors::tile::{Tile, Tiles};
use crate::words::avx512::{self, BLOCK, Block, first, masked, normalized};

/// Elements go through where the code is from 1 to `last`, or NaN.
#[derive(Clone, Copy)]
pub(super) struct Passing<'a> {
    pub(super) codes: Bytes<'a>,
    pub(super) last: u8,
}

/// The tensor that is added to a normalised one.
#[derive(Clone, Copy)]
pub(super) enum Skip<'a> {
    Stored(Codes<'a>),
    /// Normalised itself, by tables of its own, rounded, and rectified or not.
    Normalized(Codes<'a>, [&'a [f32]; 3], Pack64, bool),
}

/// The counts behind a [`Gate`].
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
unsafe fn factors<const ROW: usize>(table: &[f32], row: usize) -> Block {
    debug_assert!(row + BLOCK.checked_div(ROW).unwrap_or(1) <= table.len());
    // SAFETY: the caller's promise.
    unsafe { avx512::repeated::<ROW>(table.as_ptr().add(row)) }
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
    unsafe fn store(&mut self, pack: &Pack64, at: usize, mask: u64, numbers: Block) {
        // What is outside of the row counts as zero.
        let numbers = if mask == u64::MAX { numbers } else { masked(mask, numbers) };
        let overflow = self.packed.overflow;
        let mut codes = pack.codes(numbers, &mut self.packed);
        if let Some(ceiling) = self.ceiling {
            let mut nan = 0;
            if self.packed.overflow != overflow {
                nan = avx512::nan_codes(codes);
                self.clamped.overflow += u64::from(nan.count_ones());
                self.clamped.not_finite += u64::from(nan.count_ones());
            }
            codes = avx512::clamped(ceiling, nan, codes);
        }
        match self.to {
            Target::Nothing => {}
            // SAFETY: the caller's promise.
            Target::Codes(y) => unsafe { avx512::store_codes(y.wrapping_add(at), mask, codes) },
            // SAFETY: as above.
            Target::Numbers(y, unpack) => unsafe {
                avx512::store_block(y.wrapping_add(at), mask, unpack.numbers(codes));
            },
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
                let mut total = head.unpack.numbers(head.codes.load(at, mask));
                for term in tail {
                    total = avx512::sum(total, term.unpack.numbers(term.codes.load(at, mask)));
                }
                if let Some(Passing { codes, last }) = passing {
                    total = masked(avx512::positive_up_to(last, codes.load(at, mask)), total);
                }
                work.store(&own, at, mask, total);
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
                let mut y = normalized(x.unpack.numbers(x.codes.load(at, mask)), of_rows::<ROW, 3>(tables, row));
                if let Some((skip, pack, rectifies)) = skip {
                    let z = rectified(rectifies, pack.rounded(masked(mask, y), rounded));
                    let skip = match skip {
                        Skip::Stored(skip) => skip.unpack.numbers(skip.codes.load(at, mask)),
                        Skip::Normalized(x, tables, pack, rectifies) => {
                            let y =
                                normalized(x.unpack.numbers(x.codes.load(at, mask)), of_rows::<ROW, 3>(tables, row));
                            rectified(rectifies, pack.rounded(masked(mask, y), of_skip))
                        }
                    };
                    y = avx512::sum(z, skip);
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
                let dy = dy.unpack.numbers(dy.codes.load(at, mask));
                let x = x.unpack.numbers(x.codes.load(at, mask));
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
                let codes = dy.codes.load(at, mask);
                let x = x.unpack.numbers(x.codes.load(at, mask));
                let z = normalized(x, of_rows::<ROW, 3>(gate.tables, row));
                let passes = avx512::within([gate.bounds.low, gate.bounds.high], z) & mask;
                if let Some(thresholds) = thresholds {
                    count(thresholds, z, mask, &mut found);
                }
                let nan = avx512::nan_codes(codes) & passes;
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
fn rectified(asked: bool, numbers: Block) -> Block {
    if asked { avx512::rectified(numbers) } else { numbers }
}

/// The factors of several tables, as [`factors`].
///
/// # Safety
/// As of [`factors`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn of_rows<const ROW: usize, const N: usize>(tables: [&[f32]; N], row: usize) -> [Block; N] {
    // SAFETY: the caller's promise.
    tables.map(|table| unsafe { factors::<ROW>(table, row) })
}

/// The gradient of normalisation for a block, by factors of rows.
///
/// # Safety
/// As of [`factors`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn gradient<const ROW: usize>(dy: Block, x: Block, tables: [&[f32]; 4], row: usize) -> Block {
    // SAFETY: the caller's promise.
    avx512::gradient(dy, x, unsafe { of_rows::<ROW, 4>(tables, row) })
}

/// Counts what rounding does to normalised numbers, from a format's thresholds of underflow and overflow.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,popcnt")]
fn count([least, most]: [f32; 2], z: Block, mask: u64, found: &mut GateCounts) {
    found.normalized.underflow += u64::from((avx512::small(least, z) & mask).count_ones());
    let large = avx512::large(most, z) & mask;
    if large != 0 {
        let nan = avx512::nan(z) & mask;
        // NaN, too.
        let not_finite = avx512::large(f32::INFINITY, z) & mask;
        found.normalized.overflow += u64::from(large.count_ones());
        found.normalized.not_finite += u64::from(not_finite.count_ones());
        found.nan += u64::from(nan.count_ones());
    }
}
