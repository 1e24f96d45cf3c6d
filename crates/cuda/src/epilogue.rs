//! What becomes of a kernel's results.

use crate::chain::{Rounding, result_formats, written};
use crate::elements::Elements;
use bitbudget_formats::{Format, Overflow};

/// How a kernel rounds its results, and how they lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epilogue {
    /// How they are rounded, if they are.
    pub rounding: Option<Rounding>,
    /// How they lie.
    pub elements: Elements,
}

impl Epilogue {
    /// FP32 numbers as they are computed.
    pub const FP32: Epilogue = Epilogue { rounding: None, elements: Elements::Fp32 };

    /// Codes of a format; what it cannot hold is counted.
    pub fn counted(format: Format, overflow: Overflow) -> Epilogue {
        Epilogue { rounding: Some((format, overflow, true)), elements: Elements::Codes(format) }
    }

    /// Whether overflows are counted.
    pub fn is_counted(self) -> bool {
        self.rounding.is_some_and(|(.., is_counted)| is_counted)
    }

    /// What becomes of numbers that the format cannot hold.
    pub(crate) fn overflow(self) -> Overflow {
        self.rounding.map_or(Overflow::Saturate, |(_, overflow, _)| overflow)
    }

    pub(crate) fn formats(self) -> impl Iterator<Item = (Format, Overflow)> {
        result_formats(self.rounding, Some(self.elements))
    }

    /// Whether elements that lie so keep their bits.
    pub(crate) fn is_copy(self, from: Elements) -> bool {
        self.rounding.is_none() && from == self.elements
    }

    /// The statements that make the bits `y0[e]` of the bits `x[e]`.
    pub(crate) fn moved(self, from: Elements) -> String {
        if self.is_copy(from) {
            return "            y0[e] = x[e];\n".into();
        }
        let mut text = format!("            const float exact0 = {};\n", from.number("x[e]"));
        self.write(&mut text, "0");
        text
    }

    /// The statements that make bits of a number, as those of [`written`].
    pub(crate) fn write(self, text: &mut String, tag: &str) {
        written(text, tag, self.rounding, Some(self.elements));
    }
}
