//! With or without rounding.

/// In which numbers an evaluation computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// The formats of the assignment.
    Assigned,
    /// FP32, whatever the assignment says.
    Fp32,
}
