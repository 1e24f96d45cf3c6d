//! A chain as it is given: functions and their operands.

use bitbudget_formats::{Format, Overflow};

use crate::elementwise::function::Function;
use crate::tensors::elements::Elements;

/// One function of a chain.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    /// What it computes.
    pub function: Function<'a>,
    /// On what, in the order that [`Function`] states.
    pub operands: Vec<Operand<'a>>,
    /// How its result is rounded before anything reads it.
    pub rounding: Option<(Format, Overflow)>,
    /// The output that stores its result, which is rounded in the same way.
    pub output: Option<usize>,
}

/// What a part reads.
#[derive(Clone, Copy, Debug)]
pub enum Operand<'a> {
    /// A tensor of the chain's shape.
    Elements(Elements<'a>),
    /// `[c]`: one number for each channel.
    Channel(Elements<'a>),
    /// One number for all elements.
    Scalar(f32),
    /// The rounded result of an earlier part.
    Part(usize),
    /// What an output held before the chain ran, for updates in place.
    Output(usize),
}
