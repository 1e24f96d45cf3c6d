//! Why a file cannot be imported or a graph cannot be exported.

use std::path::Path;
use std::{fmt, io};

/// One thing that stands in the way of an import, in words for the user: what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportProblem {
    place: Option<String>,
    reason: String,
}

impl ImportProblem {
    pub(crate) fn at(place: impl Into<String>, reason: impl Into<String>) -> ImportProblem {
        ImportProblem { place: Some(place.into()), reason: reason.into() }
    }

    /// Where, unless it is the file as a whole: a node with its operator and operands, an initializer, an input or output.
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// Why, and what to do.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl From<String> for ImportProblem {
    fn from(reason: String) -> ImportProblem {
        ImportProblem { place: None, reason }
    }
}

impl From<&str> for ImportProblem {
    fn from(reason: &str) -> ImportProblem {
        ImportProblem::from(reason.to_string())
    }
}

impl fmt::Display for ImportProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// Everything that stands in the way of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportError {
    problems: Vec<ImportProblem>,
    io: Option<io::ErrorKind>,
}

impl ImportError {
    pub(crate) fn new(problems: Vec<ImportProblem>) -> ImportError {
        ImportError { problems, io: None }
    }

    pub(crate) fn one(problem: impl Into<ImportProblem>) -> ImportError {
        ImportError::new(vec![problem.into()])
    }

    /// The same with another problem, or advice, behind the others.
    pub(crate) fn with(mut self, problem: impl Into<ImportProblem>) -> ImportError {
        self.problems.push(problem.into());
        self
    }

    /// A file that cannot be read.
    pub(crate) fn unreadable(path: &Path, error: &io::Error) -> ImportError {
        let problem = format!("`{}` cannot be read: {error}", path.display());
        ImportError { io: Some(error.kind()), ..ImportError::one(problem) }
    }

    /// The problems, in the order of the file.
    pub fn problems(&self) -> &[ImportProblem] {
        &self.problems
    }

    /// Why the file could not be read, if that is why.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        self.io
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [problem] => write!(f, "the ONNX file cannot be imported: {problem}"),
            problems => {
                write!(f, "the ONNX file cannot be imported, for {} reasons:", problems.len())?;
                problems.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
            }
        }
    }
}

impl std::error::Error for ImportError {}

/// Why a graph cannot be written as ONNX.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the graph cannot be written as ONNX: {0}")]
pub struct ExportError(pub(crate) String);
