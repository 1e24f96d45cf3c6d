//! The crate's error.

use std::path::Path;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error as a sentence that names the file and says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

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
}

impl Error {
    /// An error of a kind, also of a program's own examples.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into() }
    }

    pub(crate) fn corrupt(path: &Path, what: impl std::fmt::Display) -> Self {
        Error::new(ErrorKind::Corrupt, format!("{}: {what}", path.display()))
    }

    /// `action` is a verb: "read", "write".
    pub(crate) fn io(path: &Path, action: &str, error: &std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Io,
        };
        Error::new(kind, format!("cannot {action} {}: {error}", path.display()))
    }

    /// A program could not be compiled again during a run.
    pub fn compile(error: &impl std::fmt::Display) -> Self {
        Error::new(ErrorKind::Invalid, error.to_string())
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}
