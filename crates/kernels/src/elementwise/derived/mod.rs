//! Operands that are stored nowhere, but computed as they are read.
//!
//! The numbers are those that would have been read back had the operand been stored in its format; what overflows on
//! the way is not counted, since elements may be read several times.

mod channels;

use std::fmt;
use std::sync::{Arc, OnceLock};

use bitbudget_formats::{Counts, Format, Overflow};

use crate::elementwise::chain::{ChainData, Part, PlannedPart, ReadPlan, Reader, planned};
use crate::error::{ShapeError, elements};
use crate::tensors::elements::{Computed, Elements, Mask, Storage};
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

/// A chain whose last result is computed as it is read, any number of times.
pub struct DerivedPlan {
    plan: Arc<ReadPlan>,
    len: usize,
    format: Format,
}

impl fmt::Debug for DerivedPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DerivedPlan").field("len", &self.len).field("format", &self.format).finish_non_exhaustive()
    }
}

impl DerivedPlan {
    /// Plans a chain over `[n, c, s]` that reads tensors that are stored so, and as many numbers as `scalars` says.
    ///
    /// # Errors
    /// As of [`crate::ChainPlan::new`]; also if there is no part, or if one reads or writes an output: there are none.
    pub fn new(
        shape: [usize; 3],
        parts: &[PlannedPart],
        tensors: &[Storage],
        scalars: usize,
    ) -> Result<Self, ShapeError> {
        let plan = ReadPlan::new(shape, parts, tensors, scalars)?;
        let format = format(parts.last().and_then(|part| part.rounding));
        Ok(DerivedPlan { plan: Arc::new(plan), len: elements(&shape), format })
    }

    /// The last part's result, with the bits of [`crate::chain()`].
    ///
    /// # Errors
    /// If a tensor's size is wrong, or it is not stored as planned.
    pub fn bind<'a>(&self, data: ChainData<'a>) -> Result<Derived<'a>, ShapeError> {
        let reader = Reader::new(Arc::clone(&self.plan), data)?;
        let (len, format) = (self.len, self.format);
        Ok(Derived { kind: Kind::Chain(Box::new(reader)), len, format, finite: OnceLock::new() })
    }
}

impl<'a> Derived<'a> {
    /// The last part's result of a chain of elementwise functions over `[n, c, s]`, planned for once.
    ///
    /// # Errors
    /// As of [`DerivedPlan::new`] and [`DerivedPlan::bind`].
    pub fn chain(shape: [usize; 3], parts: &[Part<'a>]) -> Result<Self, ShapeError> {
        let (parts, data) = planned(parts);
        let tensors: Vec<Storage> = data.tensors.iter().map(|x| x.storage()).collect();
        DerivedPlan::new(shape, &parts, &tensors, data.scalars.len())?.bind(data)
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

/// The overflow counts of rounding the channels of [`Derived::channels`].
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
