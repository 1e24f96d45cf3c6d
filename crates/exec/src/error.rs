//! Errors of a step.

use bitbudget_kernels::ShapeError;
use bitbudget_select::geometry::GeometryError;

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
    #[error("{}", told(without_backtrace(.0).to_string()))]
    Candle(#[from] candle_core::Error),
    #[error(transparent)]
    Shape(#[from] ShapeError),
    #[error(transparent)]
    Geometry(#[from] GeometryError),
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

/// What a device's driver says, in words that help where it has run out of memory.
fn told(text: String) -> String {
    match text.contains("CUDA_ERROR_OUT_OF_MEMORY") {
        true => {
            "the CUDA device has no memory left, where every tensor takes as much as an FP32 one; give a smaller batch"
                .to_string()
        }
        false => text,
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

#[cfg(test)]
mod tests {
    use super::Fault;

    #[test]
    fn a_full_device_is_told_in_words() {
        let full = candle_core::Error::Msg("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")".into());
        let message = Fault::Candle(full.bt()).to_string();
        assert!(message.contains("no memory left") && message.contains("smaller batch"), "{message}");
        assert_eq!(Fault::Candle(candle_core::Error::Msg("else".into()).bt()).to_string(), "else");
    }
}
