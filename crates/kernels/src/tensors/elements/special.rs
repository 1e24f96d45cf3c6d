//! Codes that are not those of a finite number.

use bitbudget_formats::{Format, Overflow, pack_u8, pack_u16};
use rayon::prelude::*;

use super::{Elements, Stored};
use crate::words::simd::multiversion;

/// Elements of a task.
const TASK: usize = 64 * 1024;

impl Elements<'_> {
    /// Whether all numbers are known to be finite; those of computed elements may be so without it.
    pub(crate) fn is_finite(self) -> bool {
        match self.stored() {
            Stored::F32(x) => x.par_chunks(TASK).all(all_finite),
            Stored::U16(format, x) => {
                let special = Special::new(format);
                x.par_chunks(TASK).all(|x| !has_special_16(special, x))
            }
            Stored::U8(format, x) => {
                let special = Special::new(format);
                x.par_chunks(TASK).all(|x| !has_special_8(special, x))
            }
            Stored::Derived(x) => x.is_finite(),
        }
    }
}

multiversion! {
    fn all_finite(x: &[f32]) -> bool {
        x.iter().fold(true, |all, x| all & x.is_finite())
    }
}

/// Which codes of a format are not those of a finite number: packing what they unpack to may give another code, and is
/// counted. All others are moved as they are.
#[derive(Clone, Copy)]
pub(super) struct Special {
    /// All bits but the sign's.
    magnitude: u16,
    /// The largest finite magnitude.
    largest: u16,
    /// All bits of a code.
    all: u16,
    nan: u16,
}

impl Special {
    pub(super) fn new(format: Format) -> Special {
        let code = |x: f32| {
            let (mut byte, mut pair) = ([0u8], [0u16]);
            let packed = match format.bytes() {
                1 => pack_u8(format, Overflow::Saturate, &[x], &mut byte),
                _ => pack_u16(format, Overflow::Saturate, &[x], &mut pair),
            };
            debug_assert!(packed.is_ok(), "formats of operands have one byte or two");
            u16::from(byte[0]) | pair[0]
        };
        let all = u16::MAX >> (16 - format.bits().min(16));
        Special { magnitude: all >> 1, largest: code(f32::MAX), all, nan: code(f32::NAN) }
    }
}

multiversion! {
    pub(super) fn has_special_8(special: Special, codes: &[u8]) -> bool {
        let [magnitude, largest] = [special.magnitude, special.largest].map(|code| code as u8);
        let [all, nan] = [special.all, special.nan].map(|code| code as u8);
        codes.iter().fold(0u8, |any, &code| {
            any | u8::from(code & magnitude > largest) | u8::from(code > all) | u8::from(code == nan)
        }) != 0
    }
}

multiversion! {
    pub(super) fn has_special_16(special: Special, codes: &[u16]) -> bool {
        let Special { magnitude, largest, all, nan } = special;
        codes.iter().fold(0u16, |any, &code| {
            any | u16::from(code & magnitude > largest) | u16::from(code > all) | u16::from(code == nan)
        }) != 0
    }
}
