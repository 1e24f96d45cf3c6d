//! The facade's error: one shape for everything that can fail.

mod compile;
mod kind;
mod told;

use crate::{MemoryError, PlanError, ProbeError, TrainerError, zoo};
use bitbudget_exec::ExecError;
use bitbudget_ir::GraphError;
use bitbudget_onnx::{ExportError, ImportError};
use bitbudget_profile::ProfileError;
use bitbudget_train as train;
use std::error::Error as StdError;
use std::fmt;
use told::Told;

pub use compile::CompileError;
pub use kind::ErrorKind;

/// A failure. Its message says what is wrong, where, and what to do; methods return these separately.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    place: Option<String>,
    help: Option<String>,
    source: Box<dyn StdError + Send + Sync>,
}

impl Error {
    /// An error in words.
    pub(crate) fn new(kind: ErrorKind, place: &str, reason: &str, help: &str) -> Error {
        let source = format!("{reason}; {help}").into();
        Error { kind, place: Some(place.to_string()), help: Some(help.to_string()), source }
    }

    fn of(error: impl Told + StdError + Send + Sync + 'static) -> Error {
        Error { kind: error.kind(), place: error.place(), help: error.help(), source: Box::new(error) }
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where: a node with its operator, a tensor, an input, a file's field, an option's pattern, where one can be told. Of several
    /// faults, that of the first.
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// The message without what to do, where it ends in that.
    pub fn reason(&self) -> String {
        let text = self.source.to_string();
        let end = self.help.as_ref().map(|help| format!("; {help}"));
        end.and_then(|end| text.strip_suffix(&end).map(str::to_string)).unwrap_or(text)
    }

    /// Advice, where it is known. Of several faults, that about the first.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl StdError for Error {
    /// The error that the message is of.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}

/// Makes the errors of the crates below errors of this one.
macro_rules! errors {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for Error {
            fn from(error: $error) -> Error {
                Error::of(error)
            }
        })*

        impl ErrorKind {
            /// The kind of an error of this library, whatever crate it comes from; nothing for errors from elsewhere.
            pub fn of(error: &(dyn StdError + 'static)) -> Option<ErrorKind> {
                if let Some(error) = error.downcast_ref::<Error>() {
                    return Some(error.kind);
                }
                $(if let Some(error) = error.downcast_ref::<$error>() {
                    return Some(Told::kind(error));
                })*
                None
            }
        }
    };
}

errors!(
    CompileError,
    ExecError,
    ExportError,
    GraphError,
    ImportError,
    MemoryError,
    PlanError,
    ProbeError,
    ProfileError,
    TrainerError,
    train::Error,
    zoo::Error,
);
