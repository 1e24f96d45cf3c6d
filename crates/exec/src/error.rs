//! Errors of a step.

use bitbudget_cuda::DriverError;
use bitbudget_kernels::ShapeError;
use bitbudget_select::geometry::GeometryError;

/// The kinds of [`ExecError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The inputs or values that were given are not those of the program.
    Inputs,
    /// An instruction cannot be computed.
    Step,
    /// A device or its threads cannot be had, or fail.
    Device,
    /// There is not enough memory, on this machine or on the device.
    OutOfMemory,
}

/// A step failed; nothing is lost, for kept values change only when a step succeeds up to their update.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct ExecError {
    kind: ErrorKind,
    place: String,
    reason: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ExecError {
    pub(crate) fn new(place: impl Into<String>, cause: impl Into<Cause>) -> ExecError {
        let Cause { kind, reason, source } = cause.into();
        ExecError { kind, place: place.into(), reason, source }
    }

    /// That something is not what the program takes.
    pub(crate) fn inputs(place: impl Into<String>, reason: String) -> ExecError {
        ExecError { kind: ErrorKind::Inputs, ..ExecError::new(place, reason) }
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where: an instruction, an input, a kept value, a device.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Why, without the place.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// The kind and reason of an error, without its place.
pub(crate) struct Cause {
    kind: ErrorKind,
    reason: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl From<String> for Cause {
    fn from(reason: String) -> Cause {
        Cause { kind: ErrorKind::Step, reason, source: None }
    }
}

impl From<&str> for Cause {
    fn from(reason: &str) -> Cause {
        Cause::from(reason.to_string())
    }
}

impl From<Fault> for Cause {
    fn from(fault: Fault) -> Cause {
        let kind = match &fault {
            Fault::Memory(_) => ErrorKind::OutOfMemory,
            Fault::Candle(error) if is_full(&error.to_string()) => ErrorKind::OutOfMemory,
            Fault::Candle(_) => ErrorKind::Device,
            Fault::Shape(_) | Fault::Geometry(_) | Fault::Operands(_) => ErrorKind::Step,
        };
        Cause { kind, reason: fault.to_string(), source: Some(Box::new(fault)) }
    }
}

impl From<candle_core::Error> for Cause {
    fn from(error: candle_core::Error) -> Cause {
        Fault::Candle(error).into()
    }
}

impl From<DriverError> for Cause {
    fn from(error: DriverError) -> Cause {
        let kind = match &error {
            DriverError::Memory(_) => ErrorKind::OutOfMemory,
            DriverError::Device(_) | DriverError::Compiler(_) => ErrorKind::Device,
        };
        Cause { kind, reason: error.to_string(), source: Some(Box::new(error)) }
    }
}

impl From<rayon::ThreadPoolBuildError> for Cause {
    fn from(error: rayon::ThreadPoolBuildError) -> Cause {
        Cause { kind: ErrorKind::Device, reason: error.to_string(), source: Some(Box::new(error)) }
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

/// The message of a device's driver, with advice where the device has run out of memory.
fn told(text: String) -> String {
    match is_full(&text) {
        true => {
            "the CUDA device has no memory left, where every tensor takes as much as an FP32 one; give a smaller batch"
                .to_string()
        }
        false => text,
    }
}

/// Whether a device's driver says that it has no memory left.
fn is_full(text: &str) -> bool {
    text.contains("CUDA_ERROR_OUT_OF_MEMORY")
}

/// The error itself; candle wraps it together with a backtrace, which says nothing to users.
fn without_backtrace(error: &candle_core::Error) -> &candle_core::Error {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => without_backtrace(inner),
        candle_core::Error::Context { inner, .. } => without_backtrace(inner),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{ErrorKind, ExecError, Fault};
    use std::error::Error;

    #[test]
    fn an_error_keeps_its_source_and_kind() {
        let error = ExecError::new("the memory of a step", Fault::Memory(3 << 20));
        assert_eq!((error.kind(), error.place()), (ErrorKind::OutOfMemory, "the memory of a step"));
        assert_eq!(error.source().unwrap().to_string(), error.reason());
        assert_eq!(error.to_string(), format!("the memory of a step: {}", error.reason()));
        let full = candle_core::Error::Msg("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")".into());
        assert_eq!(ExecError::new("relu", full.bt()).kind(), ErrorKind::OutOfMemory);
        let missing = ExecError::inputs("`w`", "has no value".into());
        assert!(missing.kind() == ErrorKind::Inputs && missing.source().is_none());
    }

    #[test]
    fn a_full_device_is_told_in_words() {
        let full = candle_core::Error::Msg("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")".into());
        let message = Fault::Candle(full.bt()).to_string();
        assert!(message.contains("no memory left") && message.contains("smaller batch"), "{message}");
        assert_eq!(Fault::Candle(candle_core::Error::Msg("else".into()).bt()).to_string(), "else");
    }
}
