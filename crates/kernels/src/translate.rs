//! Bytes through tables of 256 bytes, 64 at a time.

/// The instructions for it; there is one only where the processor has them.
#[derive(Clone, Copy)]
pub(crate) struct Translation(());

/// The instructions, if this processor has them.
pub(crate) fn translation() -> Option<Translation> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("popcnt")
    {
        return Some(Translation(()));
    }
    None
}

impl Translation {
    /// Writes the table's entry of each of `len` bytes.
    ///
    /// # Safety
    /// `x` is good for reads and `y` for writes of `len` bytes that no other thread writes; both may be the same.
    pub(crate) unsafe fn translate(self, table: &[u8; 256], x: *const u8, y: *mut u8, len: usize) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a `Translation` says that the processor has the instructions; the rest is the caller's promise.
        unsafe {
            vbmi::translate(table, x, y, len);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (table, x, y, len);
    }

    /// Adds to `counts[bit]` how many of `len` bytes have a table entry with that bit set.
    ///
    /// # Safety
    /// `x` is good for reads of `len` bytes that no other thread writes.
    pub(crate) unsafe fn count(self, table: &[u8; 256], x: *const u8, len: usize, counts: &mut [u64]) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        unsafe {
            match counts.len() {
                0 => {}
                1 => vbmi::count::<1>(table, x, len, counts),
                2 => vbmi::count::<2>(table, x, len, counts),
                3 => vbmi::count::<3>(table, x, len, counts),
                4 => vbmi::count::<4>(table, x, len, counts),
                _ => vbmi::count::<8>(table, x, len, counts),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (table, x, len, counts);
    }
}

#[cfg(target_arch = "x86_64")]
mod vbmi {
    use std::arch::x86_64::*;

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

    /// # Safety
    /// As of `Translation::translate`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    pub(super) unsafe fn translate(table: &[u8; 256], x: *const u8, y: *mut u8, len: usize) {
        let table = Table::new(table);
        for at in (0..len).step_by(BLOCK) {
            let mask = first(len - at);
            // SAFETY: the caller's promise, and the mask keeps to `len`.
            unsafe {
                let codes = table.at(_mm512_maskz_loadu_epi8(mask, x.add(at).cast()));
                _mm512_mask_storeu_epi8(y.add(at).cast(), mask, codes);
            }
        }
    }

    /// # Safety
    /// As of `Translation::count`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,popcnt")]
    pub(super) unsafe fn count<const BITS: usize>(table: &[u8; 256], x: *const u8, len: usize, counts: &mut [u64]) {
        let table = Table::new(table);
        let mut totals = [0u64; BITS];
        for at in (0..len).step_by(BLOCK) {
            let mask = first(len - at);
            // SAFETY: the caller's promise, and the mask keeps to `len`.
            let flags = table.at(unsafe { _mm512_maskz_loadu_epi8(mask, x.add(at).cast()) });
            for (bit, total) in totals.iter_mut().enumerate() {
                let set = _mm512_mask_test_epi8_mask(mask, flags, _mm512_set1_epi8((1u8 << bit) as i8));
                *total += u64::from(set.count_ones());
            }
        }
        counts.iter_mut().zip(totals).for_each(|(count, total)| *count += total);
    }
}
