//! Bytes through tables of 256 bytes, 64 at a time.

#[cfg(target_arch = "x86_64")]
use bitbudget_formats::Unpack64;
use bitbudget_formats::{Format, unpack_u8};

/// Entries that are unpacked at a time.
const UNPACKED: usize = 1024;

/// The instructions for it; there is one only where the processor has them.
#[derive(Clone, Copy)]
pub(crate) struct Translation(());

/// What the entries of a table stand for, as codes of a format of one byte.
#[derive(Clone, Copy)]
pub(crate) struct Entries {
    format: Format,
    #[cfg(target_arch = "x86_64")]
    unpack: Option<Unpack64>,
}

impl Entries {
    pub(crate) fn new(format: Format) -> Entries {
        Entries {
            format,
            #[cfg(target_arch = "x86_64")]
            unpack: Unpack64::new(format),
        }
    }
}

/// The instructions, if this processor has them.
pub(crate) fn translation() -> Option<Translation> {
    #[cfg(target_arch = "x86_64")]
    if crate::words::simd::has_avx512() && is_x86_feature_detected!("avx512vbmi") && is_x86_feature_detected!("popcnt")
    {
        return Some(Translation(()));
    }
    None
}

/// A table of 256 bytes, or two of which a bit of the table entry of another byte chooses.
#[derive(Clone, Copy)]
pub(crate) enum Choice<'a> {
    One(&'a [u8; 256]),
    /// The first table where the class of the byte at the same place is 0, the second where it is 1.
    ByClass {
        tables: [&'a [u8; 256]; 2],
        classes: &'a [u8; 256],
        bytes: *const u8,
    },
}

impl Translation {
    /// Writes the table's entry of each of `len` bytes.
    ///
    /// # Safety
    /// `x`, and what chooses, are good for reads and `y` for writes of `len` bytes that no other thread writes; they may
    /// be the same.
    pub(crate) unsafe fn translate(self, choice: Choice<'_>, x: *const u8, y: *mut u8, len: usize) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a `Translation` says that the processor has the instructions; the rest is the caller's promise.
        unsafe {
            match choice {
                Choice::One(_) => vbmi::translate::<false>(choice, x, y, len),
                Choice::ByClass { .. } => vbmi::translate::<true>(choice, x, y, len),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (choice, x, y, len);
    }

    /// Writes the numbers that the table's entries of bytes stand for; `y` is as long as `x`.
    pub(crate) fn unpack(self, table: &[u8; 256], entries: Entries, x: &[u8], y: &mut [f32]) {
        debug_assert!(x.len() == y.len());
        #[cfg(target_arch = "x86_64")]
        if let Some(unpack) = entries.unpack {
            // SAFETY: a `Translation` says that the processor has the instructions.
            return unsafe { vbmi::unpack(table, unpack, x, y) };
        }
        let mut codes = [0; UNPACKED];
        for (x, y) in x.chunks(UNPACKED).zip(y.chunks_mut(UNPACKED)) {
            // SAFETY: the codes are at least as many.
            unsafe { self.translate(Choice::One(table), x.as_ptr(), codes.as_mut_ptr(), x.len()) };
            let unpacked = unpack_u8(entries.format, &codes[..x.len()], y);
            debug_assert!(unpacked.is_ok(), "tables are of formats of one byte");
        }
    }

    /// Adds to `counts[bit]`, of at most eight, how many of `len` bytes have a table entry with that bit set.
    ///
    /// # Safety
    /// As of [`Translation::translate`].
    pub(crate) unsafe fn count(self, choice: Choice<'_>, x: *const u8, len: usize, counts: &mut [u64]) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        unsafe {
            match (counts.len(), choice) {
                (0, _) => {}
                (1..=2, Choice::One(_)) => vbmi::count::<false, 2>(choice, x, len, counts),
                (3..=4, Choice::One(_)) => vbmi::count::<false, 4>(choice, x, len, counts),
                (_, Choice::One(_)) => vbmi::count::<false, 8>(choice, x, len, counts),
                (1..=2, Choice::ByClass { .. }) => vbmi::count::<true, 2>(choice, x, len, counts),
                (_, Choice::ByClass { .. }) => vbmi::count::<true, 8>(choice, x, len, counts),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (choice, x, len, counts);
    }
}

#[cfg(target_arch = "x86_64")]
mod vbmi {
    use std::arch::x86_64::*;

    use bitbudget_formats::Unpack64;

    use super::Choice;

    /// Bytes of a vector.
    const BLOCK: usize = 64;

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

    /// The first `len` of 64 bytes.
    fn first(len: usize) -> u64 {
        if len < BLOCK { (1 << len) - 1 } else { u64::MAX }
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
    pub(super) unsafe fn translate<const BY_CLASS: bool>(choice: Choice<'_>, x: *const u8, y: *mut u8, len: usize) {
        let chosen = Chosen::new(choice);
        for at in (0..len).step_by(BLOCK) {
            let mask = first(len - at);
            // SAFETY: the caller's promise, and the mask keeps to `len`.
            unsafe { _mm512_mask_storeu_epi8(y.add(at).cast(), mask, chosen.at::<BY_CLASS>(x, at, mask)) };
        }
    }

    /// The numbers of the entries of bytes.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
    pub(super) fn unpack(table: &[u8; 256], unpack: Unpack64, x: &[u8], y: &mut [f32]) {
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
    pub(super) unsafe fn count<const BY_CLASS: bool, const BITS: usize>(
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
}
