//! The common part of readers of folders and archives.

use crate::{Error, ErrorKind, Result};
use std::path::Path;

/// The folder as a `NotFound` error where it is not one.
pub(super) fn check_folder(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let why = if folder.exists() { "is a file, not a folder: unpack it and name the folder" } else { "does not exist" };
    Err(Error::new(ErrorKind::NotFound, format!("data folder {} {why}", folder.display())))
}

/// The note of data that has no test split.
pub(super) fn no_test_note(what: &str) -> String {
    format!("There is no {what}, so there are no test examples.")
}
