//! Floating-point formats: round, pack, unpack, count overflows.
//!
//! This crate knows bit layouts and how to run through slices of numbers quickly. It knows nothing about tensors,
//! graphs, devices or threads: every function works on one slice in the calling thread, and callers split slices.
//!
//! ```
//! use bitbudget_formats::{Format, Overflow, pack_u8, round_slice, unpack_u8};
//!
//! let format: Format = "1-4-3".parse()?;
//! assert_eq!(format, Format::PAPER_LOW_FORWARD);
//! let values = [0.3, -1.0e9, 1.0e-9];
//!
//! // Rounded in place, as FP32 numbers.
//! let mut rounded = values;
//! let counts = round_slice(format, Overflow::Saturate, &mut rounded);
//! assert_eq!(rounded, [0.3125, -30.0, 0.0]);
//! assert_eq!((counts.overflow, counts.underflow), (1, 1));
//!
//! // The same numbers in one byte each.
//! let mut codes = [0u8; 3];
//! pack_u8(format, Overflow::Saturate, &values, &mut codes)?;
//! let mut unpacked = [0.0; 3];
//! unpack_u8(format, &codes, &mut unpacked)?;
//! assert_eq!(unpacked, rounded);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Encodings
//!
//! | names | infinity and NaN codes | ties | zeros |
//! |---|---|---|---|
//! | `1-E-M`, `1-E-M@B` (the paper's formats) | none; the sign bit alone means "not finite" | away from zero | only +0 |
//! | `fp16`, `bf16`, `e5m2` (IEEE layout) | top exponent | to even | +0 and -0 |
//! | `e4m3` (OCP) | `S.1111.111` is NaN, no infinity | to even | +0 and -0 |
//! | `fp32` | top exponent | never rounds | +0 and -0 |
//!
//! The paper's formats are those of Lee, Sharma and Aiken, "Training with Mixed-Precision Floating-Point
//! Assignments", TMLR 2023. Their top exponent holds numbers, so `1-4-3` is not OCP E4M3 and `1-5-2` is not OCP E5M2.
//!
//! # What is not finite stays visible
//!
//! A NaN stays a NaN in every format, [`Overflow`] mode and packed form; it becomes the positive quiet NaN
//! `0x7fc00000`, its payload and sign are lost. An infinity that [`Overflow::NotFinite`] makes or keeps is an infinity
//! after rounding, and after packing in the IEEE layouts. The paper's formats and `e4m3` have no code for it: there it
//! is packed as NaN. Apart from that, packing then unpacking gives the bits that rounding gives.

#[cfg(target_arch = "x86_64")]
mod avx512;
mod codec;
mod counts;
mod element;
mod format;
mod loops;
mod name;
mod path;
mod slices;
#[cfg(target_arch = "x86_64")]
mod table;

#[cfg(target_arch = "x86_64")]
pub use avx512::{Pack64, Unpack64};
pub use counts::{Counts, Overflow, PROMOTION_THRESHOLD};
pub use element::Constants;
pub use format::{Format, FormatError};
pub use name::ParseFormatError;
pub use slices::{
    CodecError, Rounder, pack_u8, pack_u16, round_slice, unpack_u8, unpack_u8_bf16, unpack_u16, unpack_u16_bf16,
};
