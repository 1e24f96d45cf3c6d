//! What can go wrong in a step.

use bitbudget_kernels::ShapeError;

/// A step failed; nothing is lost, for kept values change only when a step succeeds up to their update.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct ExecError {
    place: String,
    reason: String,
}

impl ExecError {
    pub(crate) fn new(place: impl Into<String>, reason: impl ToString) -> ExecError {
        ExecError { place: place.into(), reason: reason.to_string() }
    }
}

/// Why one instruction failed; the executor adds the place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{}", without_backtrace(.0))]
    Candle(#[from] candle_core::Error),
    #[error(transparent)]
    Shape(#[from] ShapeError),
    #[error("{0}")]
    Operands(String),
    #[error(
        "a block of {} MiB cannot be had from the system; give a smaller batch or --budget, or free memory or address space",
        .0.div_ceil(1 << 20)
    )]
    Memory(usize),
}

impl From<Fault> for candle_core::Error {
    fn from(fault: Fault) -> candle_core::Error {
        match fault {
            Fault::Candle(error) => error,
            other => candle_core::Error::wrap(other),
        }
    }
}

/// The error itself; candle wraps it together with a backtrace, which says nothing to users.
pub(crate) fn without_backtrace(error: &candle_core::Error) -> &candle_core::Error {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => without_backtrace(inner),
        candle_core::Error::Context { inner, .. } => without_backtrace(inner),
        other => other,
    }
}
