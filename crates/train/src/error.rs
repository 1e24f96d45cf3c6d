//! The crate's error.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bitbudget_exec::{self as exec, ExecError};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error as a sentence that names the file and says what to do.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    place: Option<String>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

/// Errors of the same kind and message are equal.
impl PartialEq for Error {
    fn eq(&self, other: &Error) -> bool {
        (self.kind, &self.message) == (other.kind, &other.message)
    }
}

impl Eq for Error {}

/// The kinds of [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file or folder is not there.
    NotFound,
    /// A file is there but its content is damaged, truncated or of another format.
    Corrupt,
    /// Two things that have to agree do not: data and labels, data and network.
    Mismatch,
    /// The input is legal but not handled.
    Unsupported,
    /// An option has no meaning: an unknown name, a number out of range.
    Invalid,
    /// Reading or writing failed.
    Io,
    /// There is not enough memory, on this machine or on a device.
    OutOfMemory,
    /// A device or its threads cannot be had, or fail.
    Device,
}

impl Error {
    /// An error of a kind, also of a program's own examples.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), place: None, source: None }
    }

    pub(crate) fn corrupt(path: &Path, what: impl std::fmt::Display) -> Self {
        let place = Some(path.display().to_string());
        Error { place, ..Error::new(ErrorKind::Corrupt, format!("{}: {what}", path.display())) }
    }

    /// `action` is a verb: "read", "write".
    pub(crate) fn io(path: &Path, action: &str, error: std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Io,
        };
        let place = Some(path.display().to_string());
        let message = format!("cannot {action} {}: {error}", path.display());
        Error { place, source: Some(Arc::new(error)), ..Error::new(kind, message) }
    }

    /// A program could not be compiled again during a run.
    pub fn compile(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        let message = error.to_string();
        Error { source: Some(Arc::new(error)), ..Error::new(ErrorKind::Invalid, message) }
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where: a file, or the part of a step that failed, where there is one.
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }
}

impl From<ExecError> for Error {
    fn from(error: ExecError) -> Error {
        let kind = match error.kind() {
            exec::ErrorKind::Inputs => ErrorKind::Mismatch,
            exec::ErrorKind::Step => ErrorKind::Invalid,
            exec::ErrorKind::Device => ErrorKind::Device,
            exec::ErrorKind::OutOfMemory => ErrorKind::OutOfMemory,
        };
        let place = Some(error.place().to_string());
        Error { kind, message: error.to_string(), place, source: Some(Arc::new(error)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitbudget_exec::{Inputs, Values};
    use bitbudget_program::{Buffer, BufferId, Machine, Program, Source};
    use std::error::Error as _;

    /// A program with one constant, which needs a value.
    fn program(arena: usize) -> Program {
        let buffer = Buffer {
            name: "c".into(),
            shape: vec![1],
            dtype: bitbudget_ir::DType::F32,
            format: bitbudget_formats::Format::FP32,
            packed: true,
            layout: bitbudget_ir::Layout::ROWS,
            source: Source::Constant,
            offset: None,
        };
        let outputs = vec![("c".into(), BufferId(0))];
        Program {
            machine: Machine::Cpu,
            batch: 1,
            arena,
            alignment: 64,
            buffers: vec![buffer],
            instructions: Vec::new(),
            outputs,
        }
    }

    #[test]
    fn an_error_of_a_step_keeps_kind_place_and_source() {
        let mut executor = exec::Executor::new(exec::Target::Cpu, 1).unwrap();
        let error = executor.run(&program(0), &mut Values::default(), &Inputs::default()).unwrap_err();
        let message = error.to_string();
        let error = Error::from(error);
        assert_eq!((error.kind(), error.place(), error.to_string()), (ErrorKind::Mismatch, Some("`c`"), message));
        assert!(error.source().is_some_and(|source| source.is::<ExecError>()));
        let error = Error::from(executor.load(&program(usize::MAX / 2)).unwrap_err());
        assert_eq!((error.kind(), error.place()), (ErrorKind::OutOfMemory, Some("the memory of a step")));
    }
}
