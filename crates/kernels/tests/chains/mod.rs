//! Chains for tests.

use bitbudget_formats::{Format, Overflow};
use bitbudget_kernels::{Function, Operand, Part};

/// `[n, c, s]`, with rows of every kind of length: one, short, not a power of two, longer than a tile; the last but one
/// have channels so large that one-byte codes go through tables.
pub(crate) const SHAPES: [[usize; 3]; 11] = [
    [2, 3, 1],
    [70, 50, 1],
    [3, 5, 2],
    [40, 70, 4],
    [9, 40, 16],
    [2, 7, 49],
    [5, 3, 600],
    [1, 2, 5000],
    [41, 5, 100],
    [33, 2, 128],
    [3, 0, 4],
];

pub(crate) const EPSILON: f32 = 1e-3;

pub(crate) fn part<'a>(
    function: Function,
    operands: Vec<Operand<'a>>,
    rounding: Option<(Format, Overflow)>,
    output: Option<usize>,
) -> Part<'a> {
    Part { function, operands, rounding, output }
}
