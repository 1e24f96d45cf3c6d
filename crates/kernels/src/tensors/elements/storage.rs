//! How tensors are stored, without their elements: what plans are made from.

use bitbudget_formats::{Format, Overflow};

use super::{Elements, Output, Place, Stored};

/// How an operand is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// FP32 numbers that are all numbers of a format.
    Numbers(Format),
    /// Codes of a format of at most 16 bits.
    Codes(Format),
    /// Nowhere: numbers of a format that are computed as they are read.
    Computed(Format),
}

impl Storage {
    /// The format whose numbers the elements are.
    pub fn format(self) -> Format {
        match self {
            Storage::Numbers(format) | Storage::Codes(format) | Storage::Computed(format) => format,
        }
    }

    /// Whether FP32 numbers are stored.
    pub fn holds_numbers(self) -> bool {
        matches!(self, Storage::Numbers(_))
    }

    /// The format of codes of one byte.
    pub(crate) fn bytes(self) -> Option<Format> {
        match self {
            Storage::Codes(format) => Some(format).filter(|format| format.bytes() == 1),
            Storage::Numbers(_) | Storage::Computed(_) => None,
        }
    }

    /// Whether rounding to a format leaves the elements as they are: numbers of it that are never infinite. Those that are
    /// stored in FP32 may be.
    pub(crate) fn stays_in(self, format: Format) -> bool {
        !self.holds_numbers() && self.format() == format && !Overflow::NotFinite.keeps_infinity(format)
    }
}

/// How a result is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultStorage {
    /// Whether it is stored as codes of the format that it is rounded to.
    pub is_packed: bool,
    /// How it is rounded.
    pub rounding: Option<(Format, Overflow)>,
}

impl ResultStorage {
    /// The format of codes of one byte.
    pub(crate) fn bytes(self) -> Option<Format> {
        let (format, _) = self.rounding.filter(|_| self.is_packed)?;
        Storage::Codes(format).bytes()
    }
}

impl Elements<'_> {
    /// How the elements are stored.
    pub fn storage(self) -> Storage {
        match self.stored() {
            Stored::F32(_) => Storage::Numbers(self.format()),
            Stored::U16(format, _) | Stored::U8(format, _) => Storage::Codes(format),
            Stored::Derived(_) => Storage::Computed(self.format()),
        }
    }
}

impl Output<'_> {
    /// How the result is stored.
    pub fn storage(&self) -> ResultStorage {
        ResultStorage { is_packed: !matches!(self.place, Place::F32(_)), rounding: self.rounding }
    }
}
