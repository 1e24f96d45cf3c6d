//! A result that tasks write at places of their own.

use bitbudget_formats::{Counts, Format, Overflow, round_slice};

use super::{Elements, Output, Place, Stored, pack_8, pack_16};

/// A result that tasks write at places of their own.
pub(crate) struct SharedOutput {
    place: Address,
    len: usize,
    rounding: Option<(Format, Overflow)>,
}

#[derive(Clone, Copy)]
enum Address {
    F32(*mut f32),
    U16(*mut u16),
    U8(*mut u8),
}

// SAFETY: the address is only dereferenced through `write`, `direct` and `address`, whose callers promise disjoint places.
unsafe impl Sync for SharedOutput {}
// SAFETY: as above.
unsafe impl Send for SharedOutput {}

impl Output<'_> {
    /// The result as a place that tasks write at offsets of their own.
    pub(crate) fn shared(&mut self) -> SharedOutput {
        let len = self.len();
        let place = match &mut self.place {
            Place::F32(y) => Address::F32(y.as_mut_ptr()),
            Place::U16(y) => Address::U16(y.as_mut_ptr()),
            Place::U8(y) => Address::U8(y.as_mut_ptr()),
        };
        SharedOutput { place, len, rounding: self.rounding }
    }
}

impl SharedOutput {
    /// The elements from `offset` to `offset + len` where they are FP32 numbers that nothing rounds.
    ///
    /// # Safety
    /// The range is inside the result, and no other task touches it while the result lives.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn direct(&self, offset: usize, len: usize) -> Option<&mut [f32]> {
        debug_assert!(offset + len <= self.len);
        match (self.place, self.rounding) {
            // SAFETY: the caller's promise.
            (Address::F32(y), None) => Some(unsafe { std::slice::from_raw_parts_mut(y.add(offset), len) }),
            _ => None,
        }
    }

    /// The address of element `offset` where the elements are FP32 numbers that nothing rounds.
    ///
    /// # Safety
    /// The element is inside the result; what is written through the address stays inside it, and no other task touches it.
    pub(crate) unsafe fn address(&self, offset: usize) -> Option<*mut f32> {
        debug_assert!(offset < self.len);
        match (self.place, self.rounding) {
            // SAFETY: the caller's promise.
            (Address::F32(y), None) => Some(unsafe { y.add(offset) }),
            _ => None,
        }
    }

    /// The elements from `offset` to `offset + len` where they are FP32 numbers, which the caller rounds.
    ///
    /// # Safety
    /// As of [`SharedOutput::direct`].
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn numbers(&self, offset: usize, len: usize) -> Option<&mut [f32]> {
        debug_assert!(offset + len <= self.len);
        match self.place {
            // SAFETY: the caller's promise.
            Address::F32(y) => Some(unsafe { std::slice::from_raw_parts_mut(y.add(offset), len) }),
            _ => None,
        }
    }

    /// The number of elements.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The format and the place of one-byte codes.
    pub(crate) fn bytes(&self) -> Option<(Format, *mut u8)> {
        match (self.place, self.rounding) {
            (Address::U8(y), Some((format, _))) => Some((format, y)),
            _ => None,
        }
    }

    /// Writes what the result holds from `offset` on to `numbers`, as many as it holds.
    ///
    /// # Safety
    /// The range is inside the result, and no other task touches it.
    pub(crate) unsafe fn read(&self, offset: usize, numbers: &mut [f32]) {
        let len = numbers.len();
        debug_assert!(offset + len <= self.len);
        let format = self.rounding.map_or(Format::FP32, |(format, _)| format);
        let stored = match self.place {
            // SAFETY: the caller's promise.
            Address::F32(y) => Stored::F32(unsafe { std::slice::from_raw_parts(y.add(offset), len) }),
            // SAFETY: the caller's promise.
            Address::U16(y) => Stored::U16(format, unsafe { std::slice::from_raw_parts(y.add(offset), len) }),
            // SAFETY: the caller's promise.
            Address::U8(y) => Stored::U8(format, unsafe { std::slice::from_raw_parts(y.add(offset), len) }),
        };
        Elements(stored, format).unpack(0, numbers);
    }

    /// Writes `numbers` from `offset` on, rounded and packed, and counts what overflows.
    ///
    /// # Safety
    /// The range is inside the result, and no other task touches it.
    pub(crate) unsafe fn write(&self, offset: usize, numbers: &[f32]) -> Counts {
        let len = numbers.len();
        debug_assert!(offset + len <= self.len);
        match (self.place, self.rounding) {
            (Address::F32(y), rounding) => {
                // SAFETY: the caller's promise.
                let y = unsafe { std::slice::from_raw_parts_mut(y.add(offset), len) };
                y.copy_from_slice(numbers);
                rounding.map_or(Counts::default(), |(format, overflow)| round_slice(format, overflow, y))
            }
            (Address::U16(y), Some((format, overflow))) => {
                // SAFETY: the caller's promise.
                pack_16(format, overflow, numbers, unsafe { std::slice::from_raw_parts_mut(y.add(offset), len) })
            }
            (Address::U8(y), Some((format, overflow))) => {
                // SAFETY: the caller's promise.
                pack_8(format, overflow, numbers, unsafe { std::slice::from_raw_parts_mut(y.add(offset), len) })
            }
            (Address::U16(_) | Address::U8(_), None) => Counts::default(),
        }
    }
}
