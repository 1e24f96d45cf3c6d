//! The functions over slices.

use thiserror::Error;

use crate::codec::{Code, count_all, round_all};
use crate::counts::{Counts, Overflow};
use crate::element::{Constants, round};
use crate::format::{Encoding, Format};
use crate::path::Path;

/// Why a slice cannot be packed or unpacked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The format's elements do not take as many bytes as those of the slice of codes.
    #[error("{format} takes {} byte(s) per element, the slice of codes has {bytes}", format.bytes())]
    Width {
        /// The format.
        format: Format,
        /// Bytes of one element of the slice.
        bytes: usize,
    },
    /// The format has numbers that BF16 lacks.
    #[error("{format} has numbers that bf16 lacks; unpack it to FP32")]
    NotBf16 {
        /// The format.
        format: Format,
    },
    /// The slices differ in length.
    #[error("{numbers} numbers cannot pair with {codes} codes; make both slices equally long")]
    Length {
        /// Length of the slice of numbers.
        numbers: usize,
        /// Length of the slice of codes.
        codes: usize,
    },
}

/// Rounds single numbers and slices to one format, with the format's constants at hand.
#[derive(Clone, Copy, Debug)]
pub struct Rounder {
    encoding: Encoding,
    constants: Constants,
}

impl Rounder {
    /// The rounder to `format` with `overflow`.
    pub fn new(format: Format, overflow: Overflow) -> Rounder {
        Rounder { encoding: format.encoding, constants: Constants::new(format, overflow) }
    }

    /// The number of the format nearest to `x`, as the paper's section 3 rounds for its formats; FP32 leaves `x` as it
    /// is, whatever the overflow mode.
    ///
    /// The paper's formats round ties away from zero, except that a subnormal number is rounded twice: in the FP32 sum
    /// with the smallest normal number, then to the format.
    #[inline]
    pub fn round(&self, x: f32) -> f32 {
        match self.encoding {
            Encoding::Fp32 => x,
            Encoding::Paper => round::<false>(&self.constants, x),
            Encoding::Ieee | Encoding::OcpE4m3 => round::<true>(&self.constants, x),
        }
    }

    /// Rounds every number in place and counts those that the format could not hold, in the same pass.
    pub fn round_slice(&self, xs: &mut [f32]) -> Counts {
        self.round_slice_on(Path::best(), xs)
    }

    fn round_slice_on(&self, path: Path, xs: &mut [f32]) -> Counts {
        match self.encoding {
            Encoding::Fp32 => count_all(path, xs),
            Encoding::Paper => round_all::<false>(path, &self.constants, xs),
            Encoding::Ieee | Encoding::OcpE4m3 => round_all::<true>(path, &self.constants, xs),
        }
    }
}

/// Rounds every number to `format` in place, as [`Rounder::round`] does, and counts in the same pass.
pub fn round_slice(format: Format, overflow: Overflow, xs: &mut [f32]) -> Counts {
    Rounder::new(format, overflow).round_slice(xs)
}

/// Rounds every number to `format` and writes its code in the low bits of a byte; counts in the same pass.
///
/// # Errors
///
/// Where the format has more than 8 bits or the slices differ in length; nothing is written then.
pub fn pack_u8(format: Format, overflow: Overflow, xs: &[f32], codes: &mut [u8]) -> Result<Counts, CodecError> {
    pack_on(Path::best(), format, overflow, xs, codes)
}

/// Rounds every number to `format` and writes its code in the low bits of two bytes; counts in the same pass.
///
/// # Errors
///
/// Where the format has not 9 to 16 bits or the slices differ in length; nothing is written then.
pub fn pack_u16(format: Format, overflow: Overflow, xs: &[f32], codes: &mut [u16]) -> Result<Counts, CodecError> {
    pack_on(Path::best(), format, overflow, xs, codes)
}

/// Writes the number that each one-byte code stands for; codes that packing never makes give NaN.
///
/// # Errors
///
/// Where the format has more than 8 bits or the slices differ in length; nothing is written then.
pub fn unpack_u8(format: Format, codes: &[u8], xs: &mut [f32]) -> Result<(), CodecError> {
    unpack_on(Path::best(), format, codes, xs)
}

/// Writes the number that each two-byte code stands for; codes that packing never makes give NaN.
///
/// # Errors
///
/// Where the format has not 9 to 16 bits or the slices differ in length; nothing is written then.
pub fn unpack_u16(format: Format, codes: &[u16], xs: &mut [f32]) -> Result<(), CodecError> {
    unpack_on(Path::best(), format, codes, xs)
}

/// Writes the bits of the BF16 number that each one-byte code stands for, as [`unpack_u8`] does in FP32: every format of
/// at most 8 bits is exact in BF16, and what is not finite is the same as there.
///
/// # Errors
///
/// Where the format has more than 8 bits or the slices differ in length; nothing is written then.
pub fn unpack_u8_bf16(format: Format, codes: &[u8], out: &mut [u16]) -> Result<(), CodecError> {
    unpack_bf16_on(Path::best(), format, codes, out)
}

/// Writes the bits of the BF16 number that each two-byte code stands for, as [`unpack_u16`] does in FP32.
///
/// # Errors
///
/// Where the format has not 9 to 16 bits, has numbers that BF16 lacks ([`Format::exact_in_bf16`]), or the slices differ
/// in length; nothing is written then.
pub fn unpack_u16_bf16(format: Format, codes: &[u16], out: &mut [u16]) -> Result<(), CodecError> {
    unpack_bf16_on(Path::best(), format, codes, out)
}

fn pack_on<T: Code>(
    path: Path,
    format: Format,
    overflow: Overflow,
    xs: &[f32],
    codes: &mut [T],
) -> Result<Counts, CodecError> {
    check::<T>(format, xs.len(), codes.len())?;
    Ok(T::encode_all(path, format, overflow, xs, codes))
}

fn unpack_on<T: Code>(path: Path, format: Format, codes: &[T], xs: &mut [f32]) -> Result<(), CodecError> {
    check::<T>(format, xs.len(), codes.len())?;
    T::decode_all(path, format, codes, xs);
    Ok(())
}

fn unpack_bf16_on<T: Code>(path: Path, format: Format, codes: &[T], words: &mut [u16]) -> Result<(), CodecError> {
    check::<T>(format, words.len(), codes.len())?;
    if !format.exact_in_bf16() {
        return Err(CodecError::NotBf16 { format });
    }
    T::decode_bf16_all(path, format, codes, words);
    Ok(())
}

fn check<T>(format: Format, numbers: usize, codes: usize) -> Result<(), CodecError> {
    let bytes = size_of::<T>();
    if format.bytes() != bytes {
        return Err(CodecError::Width { format, bytes });
    }
    if numbers != codes {
        return Err(CodecError::Length { numbers, codes });
    }
    Ok(())
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod path_tests;
