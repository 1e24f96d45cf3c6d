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

    /// The fault of a text that is of the other kind.
    pub(super) fn misnamed(self, text: &str) -> Option<&'static str> {
        match self {
            FileKind::Toml if text.trim_start().starts_with('{') => Some("the text is JSON; name the file .json"),
            FileKind::Json if toml::from_str::<toml::Table>(text).is_ok_and(|table| !table.is_empty()) => {
                Some("the text is TOML; name the file .toml")
            }
            _ => None,
        }
    }
}
