//! Bytes through tables of 256 bytes, 64 at a time.

use super::choice::Choice;
#[cfg(target_arch = "x86_64")]
use bitbudget_formats::Unpack64;
use bitbudget_formats::{Format, unpack_u8};

#[cfg(target_arch = "x86_64")]
use super::avx512::translate as avx512;

/// Entries that are unpacked at a time.
const UNPACKED: usize = 1024;

/// The instructions for it; there is one only where the processor has them.
#[derive(Clone, Copy)]
pub(crate) struct Translation(());

/// The entries of a table, as codes of a one-byte format.
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
                Choice::One(_) => avx512::translate::<false>(choice, x, y, len),
                Choice::ByClass { .. } => avx512::translate::<true>(choice, x, y, len),
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
            return unsafe { avx512::unpack(table, unpack, x, y) };
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
                (1..=2, Choice::One(_)) => avx512::count::<false, 2>(choice, x, len, counts),
                (3..=4, Choice::One(_)) => avx512::count::<false, 4>(choice, x, len, counts),
                (_, Choice::One(_)) => avx512::count::<false, 8>(choice, x, len, counts),
                (1..=2, Choice::ByClass { .. }) => avx512::count::<true, 2>(choice, x, len, counts),
                (_, Choice::ByClass { .. }) => avx512::count::<true, 8>(choice, x, len, counts),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (choice, x, len, counts);
    }
}
