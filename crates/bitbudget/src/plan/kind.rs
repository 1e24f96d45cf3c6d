//! The kinds of files that plans are written in.

use super::error::PlanError;
use std::path::Path;

/// How a plan is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// TOML, with one line per tensor.
    Toml,
    /// JSON.
    Json,
}

impl FileKind {
    /// The kind of a file of that name.
    ///
    /// # Errors
    /// If it ends neither in `.toml` nor in `.json`.
    pub fn of(path: &Path) -> Result<FileKind, PlanError> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => Ok(FileKind::Toml),
            Some("json") => Ok(FileKind::Json),
            _ => Err(PlanError::Kind(path.display().to_string())),
        }
    }
}
