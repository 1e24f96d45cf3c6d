//! Why a file cannot be imported or a graph cannot be exported.

use std::fmt;

/// Everything that stands in the way of an import, each in words for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportError {
    problems: Vec<String>,
}

impl ImportError {
    pub(crate) fn new(problems: Vec<String>) -> ImportError {
        ImportError { problems }
    }

    pub(crate) fn one(problem: impl Into<String>) -> ImportError {
        ImportError { problems: vec![problem.into()] }
    }

    /// The problems, in the order of the file.
    pub fn problems(&self) -> &[String] {
        &self.problems
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
