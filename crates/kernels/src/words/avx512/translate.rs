//! Bytes through tables of 256 bytes in registers.

use std::arch::x86_64::*;

use bitbudget_formats::Unpack64;

use super::{BLOCK, first};
use crate::words::choice::Choice;

/// A table of 256 bytes in registers.
#[derive(Clone, Copy)]
struct Table([__m512i; 4]);

impl Table {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(table: &[u8; 256]) -> Table {
        // SAFETY: each part is 64 bytes, as large as the vector, and the load asks for no alignment.
        let part = |i: usize| unsafe { _mm512_loadu_si512(table.as_ptr().add(BLOCK * i).cast()) };
        Table([part(0), part(1), part(2), part(3)])
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn at(self, x: __m512i) -> __m512i {
        let low = _mm512_permutex2var_epi8(self.0[0], x, self.0[1]);
        let high = _mm512_permutex2var_epi8(self.0[2], x, self.0[3]);
        _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), low, high)
    }
}

/// The tables of a [`Choice`] in registers.
struct Chosen {
    tables: [Table; 2],
    classes: Table,
    bytes: *const u8,
}

impl Chosen {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(choice: Choice<'_>) -> Chosen {
        let (tables, classes, bytes) = match choice {
            Choice::One(table) => ([table; 2], table, std::ptr::null()),
            Choice::ByClass { tables, classes, bytes } => (tables, classes, bytes),
        };
        Chosen { tables: tables.map(|table| Table::new(table)), classes: Table::new(classes), bytes }
    }

    /// The entries of 64 bytes from `at` on, of those that the mask names.
    ///
    /// # Safety
    /// The bytes that the mask names are good for reads.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    unsafe fn at<const BY_CLASS: bool>(&self, x: *const u8, at: usize, mask: u64) -> __m512i {
        // SAFETY: the caller's promise.
        let x = unsafe { _mm512_maskz_loadu_epi8(mask, x.add(at).cast()) };
        let entries = self.tables[0].at(x);
        if !BY_CLASS {
            return entries;
        }
        // SAFETY: the caller's promise.
        let bytes = unsafe { _mm512_maskz_loadu_epi8(mask, self.bytes.add(at).cast()) };
        let second = _mm512_test_epi8_mask(self.classes.at(bytes), _mm512_set1_epi8(1));
        _mm512_mask_blend_epi8(second, entries, self.tables[1].at(x))
    }
}

/// # Safety
/// As of `Translation::translate`.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(in crate::words) unsafe fn translate<const BY_CLASS: bool>(
    choice: Choice<'_>,
    x: *const u8,
    y: *mut u8,
    len: usize,
) {
    let chosen = Chosen::new(choice);
    for at in (0..len).step_by(BLOCK) {
        let mask = first(len - at);
        // SAFETY: the caller's promise, and the mask keeps to `len`.
        unsafe { _mm512_mask_storeu_epi8(y.add(at).cast(), mask, chosen.at::<BY_CLASS>(x, at, mask)) };
    }
}

/// The numbers of the entries of bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
pub(in crate::words) fn unpack(table: &[u8; 256], unpack: Unpack64, x: &[u8], y: &mut [f32]) {
    let table = Table::new(table);
    let (blocks, rest) = x.as_chunks::<BLOCK>();
    let (y_blocks, y_rest) = y.as_chunks_mut::<BLOCK>();
    for (x, y) in blocks.iter().zip(y_blocks) {
        // SAFETY: a block is as long as the vector, and the load asks for no alignment.
        let codes = table.at(unsafe { _mm512_loadu_si512(x.as_ptr().cast()) });
        for (y, numbers) in y.as_chunks_mut::<16>().0.iter_mut().zip(unpack.numbers(codes)) {
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(y.as_mut_ptr(), numbers) };
        }
    }
    let mask = first(rest.len());
    // SAFETY: the mask keeps to the bytes that are left.
    let codes = table.at(unsafe { _mm512_maskz_loadu_epi8(mask, rest.as_ptr().cast()) });
    for (i, numbers) in unpack.numbers(codes).into_iter().enumerate() {
        let place = y_rest.as_mut_ptr().wrapping_add(16 * i);
        // SAFETY: as above, of as many numbers.
        unsafe { _mm512_mask_storeu_ps(place, (mask >> (16 * i)) as u16, numbers) };
    }
}

/// # Safety
/// As of `Translation::count`.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,popcnt")]
pub(in crate::words) unsafe fn count<const BY_CLASS: bool, const BITS: usize>(
    choice: Choice<'_>,
    x: *const u8,
    len: usize,
    counts: &mut [u64],
) {
    let chosen = Chosen::new(choice);
    let mut totals = [0u64; BITS];
    for at in (0..len).step_by(BLOCK) {
        let mask = first(len - at);
        // SAFETY: the caller's promise, and the mask keeps to `len`.
        let flags = unsafe { chosen.at::<BY_CLASS>(x, at, mask) };
        for (bit, total) in totals.iter_mut().enumerate() {
            let set = _mm512_mask_test_epi8_mask(mask, flags, _mm512_set1_epi8((1u8 << bit) as i8));
            *total += u64::from(set.count_ones());
        }
    }
    counts.iter_mut().zip(totals).for_each(|(count, total)| *count += total);
}
