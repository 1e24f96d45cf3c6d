//! Every output of the command line: files that appear whole or not at all, and files that grow.
//!
//! [`check`] tries every place before the work begins, [`save`] writes a file, [`Growing`] appends to one while a run goes on.
//! A symbolic link stays and what it points to is written; devices and pipes are written into; files that are read-only, that
//! another run is writing or that two options name are refused.

mod check;
mod folder;
mod growing;
mod limit;
mod lock;
mod place;

use crate::console;
use anyhow::{Context, Result};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use tempfile::NamedTempFile;

pub(crate) use check::{check, check_folder};
pub(crate) use folder::Folder;
pub(crate) use growing::Growing;
use place::{Place, resolve};

/// Reads an input.
///
/// # Errors
/// If it cannot be read; a folder is named as one.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).map_err(|error| match path.is_dir() {
        true => io::Error::new(error.kind(), "it is a folder, not a file"),
        false => error,
    });
    bytes.with_context(|| format!("cannot read {}", path.display()))
}

/// Reads a text file.
///
/// # Errors
/// As for [`read`]; also if it is not UTF-8.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read(path)?)
        .with_context(|| format!("cannot read {}: it is not a text file in UTF-8", path.display()))
}

/// Writes an output: a file whole or not at all, anything else by writing into it; "-" is standard output.
///
/// # Errors
/// If the place cannot be written.
pub(crate) fn save(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = match resolve(path).and_then(|place| check::allowed(&place).map(|()| place)) {
        Ok(Place::Output) => return console::write(bytes),
        Ok(Place::Error) => io::stderr().write_all(bytes),
        Ok(Place::Into(path)) => place::open_into(&path).and_then(|mut file| file.write_all(bytes)),
        Ok(Place::File { path, old }) => replace(&path, old.as_ref(), bytes),
        Err(error) => Err(error),
    };
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Tries whether an output of so many bytes can be written, and leaves no trace of that.
///
/// # Errors
/// If not: as for [`save`].
pub(crate) fn rehearse(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = match resolve(path) {
        Ok(Place::File { path, old }) => beside(&path, old.as_ref(), bytes).map(drop),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Whether a path names no file that is replaced, but standard output, a device or a pipe.
pub(crate) fn is_stream(path: &Path) -> bool {
    resolve(path).is_ok_and(|place| !matches!(place, Place::File { .. }))
}

/// Writes a file beside the place of another, private at first if that one is there.
fn beside(path: &Path, old: Option<&Metadata>, bytes: &[u8]) -> io::Result<NamedTempFile> {
    limit::check(bytes.len() as u64)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".bitbudget-");
    #[cfg(unix)]
    if old.is_none() {
        // As of any new file: the process's mask takes from it.
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    }
    // Errors without the name of the temporary file, which users need not know.
    let mut file = builder.tempfile_in(place::folder(path)).map_err(|error| error.kind())?;
    file.as_file_mut().write_all(bytes)?;
    Ok(file)
}

/// Replaces a file, or makes it: written beside its place and synced, then renamed; it keeps the permissions of the old one.
fn replace(path: &Path, old: Option<&Metadata>, bytes: &[u8]) -> io::Result<()> {
    let file = beside(path, old, bytes)?;
    if let Some(old) = old {
        keep_permissions(file.as_file(), old)?;
    }
    file.as_file().sync_all()?;
    match file.persist(path) {
        Ok(_) => {}
        // A file that is mounted by itself, as containers have them, cannot be replaced, only filled.
        Err(error) if error.error.kind() == io::ErrorKind::ResourceBusy => {
            let mut file = OpenOptions::new().write(true).truncate(true).open(path)?;
            file.write_all(bytes)?;
            file.sync_all()?;
        }
        Err(error) => return Err(error.error),
    }
    // The rename lasts once the folder is on the disk; not every file system can sync one.
    let _ = File::open(place::folder(path)).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Gives a file the mode of an older one, and its owner where this user may do so.
#[cfg(unix)]
fn keep_permissions(file: &File, old: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    // First the owner, since a change of it takes bits of the mode away.
    let _ = std::os::unix::fs::fchown(file, Some(old.uid()), Some(old.gid()));
    file.set_permissions(old.permissions())
}

#[cfg(not(unix))]
fn keep_permissions(_: &File, _: &Metadata) -> io::Result<()> {
    Ok(())
}
