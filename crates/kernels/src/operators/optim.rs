//! Whether gradients are finite, on their codes; the updates themselves are functions of [`crate::elementwise::chain`].

use bitbudget_formats::{Format, Overflow, pack_u8, pack_u16};
use rayon::prelude::*;

use crate::tensors::elements::{Elements, Stored};
use crate::tensors::parallel::{CHUNK, with_scratch};
use crate::words::simd::multiversion;

multiversion! {
    fn numbers_finite(x: &[f32]) -> bool {
        // The exponent's bits are all ones in infinities and NaNs only; no early exit, so that it runs in vectors.
        x.iter().map(|x| x.to_bits() & 0x7fff_ffff).fold(0, u32::max) < 0x7f80_0000
    }
}

/// The codes of a format that stand for no finite number: `nan`, and those whose magnitude's bits are above `max`.
#[derive(Clone, Copy)]
struct NotFinite {
    bits: u16,
    magnitude: u16,
    max: u16,
    nan: u16,
}

impl NotFinite {
    fn of(format: Format) -> Self {
        let code = |number: f32| -> u16 {
            let (mut byte, mut two) = ([0], [0]);
            // One of the two refuses the format and writes nothing.
            let packed = [
                pack_u8(format, Overflow::NotFinite, &[number], &mut byte),
                pack_u16(format, Overflow::NotFinite, &[number], &mut two),
            ];
            debug_assert!(packed.iter().any(Result::is_ok), "widths were checked");
            u16::from(byte[0]) | two[0]
        };
        let magnitude = (1 << (format.bits() - 1)) - 1;
        NotFinite { bits: 2 * magnitude + 1, magnitude, max: code(format.max_finite()), nan: code(f32::NAN) }
    }
}

multiversion! {
    fn bytes_finite(codes: &[u8], not: NotFinite) -> bool {
        let (bits, magnitude, max, nan) = (not.bits as u8, not.magnitude as u8, not.max as u8, not.nan as u8);
        codes.iter().map(|code| u8::from((code & magnitude > max) | (code & bits == nan))).fold(0, |a, b| a | b) == 0
    }
}

multiversion! {
    fn words_finite(codes: &[u16], not: NotFinite) -> bool {
        let NotFinite { bits, magnitude, max, nan } = not;
        codes.iter().map(|code| u16::from((code & magnitude > max) | (code & bits == nan))).fold(0, |a, b| a | b) == 0
    }
}

fn all<T: Sync>(x: &[T], finite: impl Fn(&[T]) -> bool + Sync + Send) -> bool {
    let chunk = 4 * CHUNK;
    if x.len() <= chunk { finite(x) } else { x.par_chunks(chunk).all(finite) }
}

/// Whether no element is infinite, NaN or its format's code for what is not finite.
pub fn all_finite(x: Elements<'_>) -> bool {
    match x.stored() {
        Stored::F32(x) => all(x, numbers_finite),
        Stored::U16(format, codes) => {
            let not = NotFinite::of(format);
            all(codes, |codes| words_finite(codes, not))
        }
        Stored::U8(format, codes) => {
            let not = NotFinite::of(format);
            all(codes, |codes| bytes_finite(codes, not))
        }
        Stored::Derived(_) => (0..x.len().div_ceil(CHUNK)).into_par_iter().all(|chunk| {
            let start = chunk * CHUNK;
            with_scratch(CHUNK, |scratch| numbers_finite(x.read(start, CHUNK.min(x.len() - start), scratch)))
        }),
    }
}
