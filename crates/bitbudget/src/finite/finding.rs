//! Findings about a step whose numbers are not finite.

use crate::CompileError;
use bitbudget_exec::ExecError;
use bitbudget_formats::Format;

/// The cause of numbers that are not finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// The first tensor that is not finite.
    pub first: NamedTensor,
    /// The forward tensor of which most saturates its format in the same step, if any does.
    pub saturated: Option<Saturated>,
    /// Whether all numbers are finite once forward tensors that saturate are FP32.
    pub is_saturation: bool,
}

/// A tensor of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTensor {
    /// Its name or, for a gradient without one, that of the tensor whose gradient it is.
    pub name: String,
    /// Its computation, in words, with its name.
    pub computes: String,
    /// Whether it is a gradient.
    pub is_gradient: bool,
    /// The format in which it is stored.
    pub format: Format,
}

/// A forward tensor with numbers that its format does not hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Saturated {
    /// Its name, as pins have it.
    pub name: String,
    /// The format in which it is stored.
    pub format: Format,
    /// By what it has that format.
    pub decided: Decided,
    /// The magnitude of its largest number before rounding.
    pub largest: f32,
    /// The share of its numbers that saturate.
    pub share: f64,
    /// A format that holds its largest number, and those of the first [`SEVERAL`] tensors that saturate.
    pub wider: Format,
    /// The names of other tensors that saturate in the same step, those first of which most does.
    pub others: Vec<String>,
}

/// By what a tensor has its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// A pin.
    Pin,
    /// The method, which gives it the high format.
    High,
    /// The method, which gives it the low format.
    Low,
    /// The search under a budget.
    Search,
}

/// How many tensors that saturate are named.
pub const SEVERAL: usize = 3;

/// Why a step cannot be looked at again.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The graph cannot be lowered.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The step failed.
    #[error(transparent)]
    Exec(#[from] ExecError),
}
