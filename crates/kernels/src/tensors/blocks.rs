//! Operands of one-byte codes that are read 64 at a time.

use std::marker::PhantomData;

use bitbudget_formats::{Format, Unpack64};

use crate::tensors::elements::{Bounds, Elements, Stored};
use crate::words::avx512;

/// The codes of an operand, which may be those that a result replaces.
#[derive(Clone, Copy)]
pub(crate) struct Bytes<'a> {
    first: *const u8,
    len: usize,
    lent: PhantomData<&'a [u8]>,
}

// SAFETY: who reads codes promises that no other task writes them.
unsafe impl Sync for Bytes<'_> {}

impl<'a> From<&'a [u8]> for Bytes<'a> {
    fn from(codes: &'a [u8]) -> Self {
        Bytes { first: codes.as_ptr(), len: codes.len(), lent: PhantomData }
    }
}

impl Bytes<'_> {
    /// The codes of a result, before they are replaced.
    pub(crate) fn replaced(first: *mut u8, len: usize) -> Self {
        Bytes { first, len, lent: PhantomData }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether both are the codes of one operand.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.first == other.first
    }
}

/// The codes of an operand, and what makes numbers of them.
#[derive(Clone, Copy)]
pub(crate) struct Codes<'a> {
    pub(crate) codes: Bytes<'a>,
    pub(crate) unpack: Unpack64,
}

impl<'a> Codes<'a> {
    /// The codes of an operand with their format; none if it has others, or the processor lacks the instructions.
    pub(crate) fn of(x: Elements<'a>) -> Option<(Format, Self)> {
        match x.stored() {
            Stored::U8(format, codes) => Some((format, Codes { codes: codes.into(), unpack: Unpack64::new(format)? })),
            _ => None,
        }
    }
}

/// Elements go through where x, normalised by means, factors and biases, is within bounds.
#[derive(Clone, Copy)]
pub(crate) struct Gate<'a> {
    pub(crate) bounds: Bounds,
    pub(crate) tables: [&'a [f32]; 3],
}

impl Bytes<'_> {
    /// 64 codes at an offset, zero where the mask says so.
    ///
    /// # Safety
    /// The codes that the mask names exist.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(crate) unsafe fn load(self, at: usize, mask: u64) -> avx512::Codes {
        debug_assert!(at + (64 - mask.leading_zeros() as usize) <= self.len);
        // SAFETY: the caller's promise.
        unsafe { avx512::load_codes(self.first.add(at), mask) }
    }
}
