//! Operands that are stored nowhere, but computed as they are read.
//!
//! The numbers are those that would have been read back had the operand been stored in its format; what overflows on
//! the way is not counted, since elements may be read several times.

mod channels;

use std::fmt;
use std::sync::OnceLock;

use bitbudget_formats::{Counts, Format, Overflow};

use crate::elementwise::chain::{Part, Reader};
use crate::error::{ShapeError, elements};
use crate::tensors::elements::{Computed, Elements, Mask};
pub use channels::ChannelRun;
use channels::Channels;

/// An operand that is computed as it is read; [`Elements::derived`] makes it one of a kernel.
pub struct Derived<'a> {
    kind: Kind<'a>,
    len: usize,
    format: Format,
    /// Whether all numbers are known to be finite, once that was asked.
    finite: OnceLock<bool>,
}

enum Kind<'a> {
    Chain(Box<Reader<'a>>),
    Channels(Channels<'a>),
}

impl fmt::Debug for Derived<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Derived").field("len", &self.len).field("format", &self.format).finish_non_exhaustive()
    }
}

impl<'a> Derived<'a> {
    /// The last part's result of a chain of elementwise functions over `[n, c, s]`, with the bits of [`crate::chain()`].
    ///
    /// # Errors
    /// As of [`crate::chain()`]; also if there is no part, or if one reads or writes an output: there are none.
    pub fn chain(shape: [usize; 3], parts: &[Part<'a>]) -> Result<Self, ShapeError> {
        let reader = Reader::new(shape, parts)?;
        let format = format(parts.last().and_then(|part| part.rounding));
        Ok(Derived { kind: Kind::Chain(Box::new(reader)), len: elements(&shape), format, finite: OnceLock::new() })
    }

    /// Channels of several tensors side by side, `[batch, all counts together, plane]`, which are rounded as stated: a
    /// concatenation, a slice or a shuffle of channels.
    ///
    /// # Errors
    /// If a run leaves its tensor, or a tensor's size is wrong.
    pub fn channels(
        batch: usize,
        plane: usize,
        runs: &[ChannelRun<'a>],
        rounding: Option<(Format, Overflow)>,
    ) -> Result<Self, ShapeError> {
        let channels = Channels::new(batch, plane, runs, rounding)?;
        let len = elements(&[batch, channels.count(), plane]);
        Ok(Derived { kind: Kind::Channels(channels), len, format: format(rounding), finite: OnceLock::new() })
    }

    /// The same, of which it is known that all numbers are finite: kernels then need not look.
    #[must_use]
    pub fn known_finite(self) -> Self {
        Derived { finite: OnceLock::from(true), ..self }
    }
}

impl<'a> Elements<'a> {
    /// Elements that are computed as they are read.
    pub fn derived(derived: &'a Derived<'a>) -> Self {
        Elements::computed(derived)
    }
}

impl Computed for Derived<'_> {
    fn is_finite(&self) -> bool {
        *self.finite.get_or_init(|| match &self.kind {
            Kind::Chain(reader) => reader.is_finite(),
            Kind::Channels(channels) => channels.is_finite(),
        })
    }

    fn mask(&self) -> Option<Mask<'_>> {
        match &self.kind {
            Kind::Chain(reader) => reader.mask(),
            Kind::Channels(_) => None,
        }
    }

    fn len(&self) -> usize {
        self.len
    }

    fn format(&self) -> Format {
        self.format
    }

    fn unpack(&self, start: usize, y: &mut [f32]) {
        debug_assert!(start + y.len() <= self.len);
        match &self.kind {
            Kind::Chain(reader) => reader.unpack(start, y),
            Kind::Channels(channels) => channels.unpack(start, y),
        }
    }
}

/// What rounding the channels of [`Derived::channels`] overflows.
///
/// # Errors
/// As of [`Derived::channels`].
pub fn count_channels(
    batch: usize,
    plane: usize,
    runs: &[ChannelRun<'_>],
    rounding: Option<(Format, Overflow)>,
) -> Result<Counts, ShapeError> {
    Ok(Channels::new(batch, plane, runs, rounding)?.counts(rounding))
}

fn format(rounding: Option<(Format, Overflow)>) -> Format {
    rounding.map_or(Format::FP32, |(format, _)| format)
}

/// FP32 elements of scratch memory that a thread takes at most for one chain of so many parts, which have so many operands
/// together, while a kernel reads what it is.
pub fn derived_scratch(operands: usize, parts: usize) -> usize {
    Reader::scratch(operands + parts)
}
