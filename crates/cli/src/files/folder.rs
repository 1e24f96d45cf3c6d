//! Folders for outputs.

use super::place::{Place, resolve};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// A folder for outputs. One that was made and is still empty in the end goes away again.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// The folders that were not there before, outer ones first.
    made: Vec<PathBuf>,
}

impl Folder {
    /// Takes a folder, or makes it with those around it.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(crate) fn make(path: &Path) -> Result<Folder> {
        if path == Path::new("-") {
            bail!("standard output is not a folder; name a folder, ./- for one called `-`");
        }
        // A link may lead to where no folder is yet, but not in a circle.
        let target = match path.exists() {
            true => path.to_path_buf(),
            false => match resolve(path).with_context(|| format!("cannot create the folder {}", path.display()))? {
                Place::File { path, .. } | Place::Into(path) => path,
                Place::Output | Place::Error => path.to_path_buf(),
            },
        };
        let mut folder = Folder { path: path.to_path_buf(), made: Vec::new() };
        let missing = target.ancestors().filter(|part| !part.as_os_str().is_empty()).take_while(|part| !part.is_dir());
        let missing: Vec<PathBuf> = missing.map(Path::to_path_buf).collect();
        for part in missing.into_iter().rev() {
            match std::fs::create_dir(&part) {
                Ok(()) => folder.made.push(part),
                Err(_) if part.is_dir() => {}
                Err(_) if part.exists() => {
                    bail!("cannot create the folder {}: {} is a file", path.display(), part.display())
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot create the folder {}", path.display()));
                }
            }
        }
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Folders that are not empty stay.
        self.made.iter().rev().for_each(|made| {
            let _ = std::fs::remove_dir(made);
        });
    }
}
