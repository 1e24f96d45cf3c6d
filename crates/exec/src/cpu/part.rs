//! A part of an instruction, with what is known of it before a step.

use crate::error::Fault;
use bitbudget_formats::{Format, Overflow};
use bitbudget_kernels::Function;
use bitbudget_program::BufferId;
use std::ops::Range;

/// The codes in which truth values are stored: a format of one byte that has 0 and 1.
pub(super) const TRUTH: Format = Format::PAPER_LOW_FORWARD;

/// Where the numbers of an operand are.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Origin {
    /// The earlier content of a result of the same instruction.
    Output(usize),
    /// The result of an earlier part of the same instruction.
    Part(usize),
    /// The storage of a buffer in the arena.
    Arena(BufferId, Range<usize>),
    /// An input of the step.
    Given(BufferId),
    /// A number of the training loop.
    Scalar(BufferId),
    /// A kept buffer that the instruction reads, by its position among them.
    Kept(usize),
}

/// One part with what is known of it.
#[derive(Debug)]
pub(super) struct BoundPart {
    pub(super) origins: Vec<Origin>,
    /// How it is computed element by element, if it is.
    pub(super) elementwise: Option<Function>,
    pub(super) rounding: Option<(Format, Overflow)>,
    /// Whether its overflows are asked for.
    pub(super) is_counted: bool,
    /// The format of the result.
    pub(super) format: Format,
    /// Where the result is stored, if it is.
    pub(super) place: Option<usize>,
}

impl BoundPart {
    /// Whether it reads the result of an earlier part.
    pub(super) fn reads(&self, part: usize) -> bool {
        self.origins.iter().any(|origin| matches!(*origin, Origin::Part(read) if read == part))
    }
}

/// The fault of a buffer that is read where nothing is.
pub(super) fn missing(id: BufferId) -> Fault {
    Fault::Operands(format!("{id} holds nothing"))
}
