//! Whether outputs can be written, before anything takes long.

use super::place::{Identity, Place, folder, resolve, standard};
use super::{Folder, lock};
use anyhow::{Context, Result, bail};
use std::fs::{Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Findings about a command's outputs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outputs {
    /// Whether one of them goes to standard output, so that no text for people may go there.
    pub(crate) on_standard_output: bool,
}

/// Checks that files can be written at the places that options name, so that a long run does not fail at its end, and that no
/// two of them are one file, nor one of them a file that the command reads (`inputs`, each with what it is).
///
/// # Errors
/// If a place cannot be written, or is named twice.
pub(crate) fn check(outputs: &[(&'static str, Option<&Path>)], inputs: &[(&'static str, PathBuf)]) -> Result<Outputs> {
    // Only a file that is there can be one that is read.
    let exists = outputs.iter().any(|(_, path)| path.is_some_and(Path::is_file));
    let inputs = if exists { identities(inputs) } else { Vec::new() };
    let streams = [("standard output", "/dev/stdout"), ("standard error", "/dev/stderr")];
    let streams: Vec<_> = streams.into_iter().filter_map(|(what, path)| Some((what, standard(path)?))).collect();
    let mut seen: Vec<(&str, &Path, Identity)> = Vec::new();
    let mut on_standard_output = false;
    for &(option, path) in outputs {
        let Some(path) = path else { continue };
        let cannot = || format!("cannot write {}", path.display());
        let place = resolve(path).with_context(cannot)?;
        on_standard_output |= matches!(place, Place::Output);
        if let Some(identity) = place.identity() {
            if let Some((what, _)) = inputs.iter().find(|(_, input)| *input == identity) {
                bail!(
                    "cannot write {} ({option}): it is the {what} that this command reads; name another file",
                    path.display()
                );
            }
            if let Some((other, named, _)) = seen.iter().find(|(.., other)| *other == identity) {
                let named = named.display();
                bail!("{other} {named} and {option} {} are one file; give each its own", path.display());
            }
            let is_stream = matches!(place, Place::Output | Place::Error);
            if let Some((what, _)) = streams.iter().find(|(_, stream)| *stream == identity).filter(|_| !is_stream) {
                bail!("{option} {} is the file that {what} goes to; name another file", path.display());
            }
            seen.push((option, path, identity));
        }
        writable(&place).with_context(cannot)?;
    }
    Ok(Outputs { on_standard_output })
}

/// The identities of files that are read; the weights of a model may lie beside it.
fn identities(inputs: &[(&'static str, PathBuf)]) -> Vec<(&'static str, Identity)> {
    let models = inputs.iter().filter(|(what, _)| *what == "model");
    let weights =
        models.flat_map(|(what, path)| bitbudget::onnx::external_files(path).into_iter().map(|path| (*what, path)));
    let all = inputs.iter().cloned().chain(weights);
    all.filter_map(|(what, path)| Some((what, resolve(&path).ok()?.identity()?))).collect()
}

/// Checks that a folder is there, or can be made.
///
/// # Errors
/// If a file of its name is there, or it cannot be made or written.
pub(crate) fn check_folder(path: &Path) -> Result<()> {
    let folder = Folder::make(path)?;
    tempfile::tempfile_in(folder.path())
        .map_err(|error| io::Error::from(error.kind()))
        .with_context(|| format!("cannot write into {}", path.display()))?;
    Ok(())
}

/// Whether a place is of a kind that can be written, and its file not read-only.
///
/// # Errors
/// If not.
pub(super) fn allowed(place: &Place) -> io::Result<()> {
    match place {
        Place::Output | Place::Error => Ok(()),
        Place::Into(path) => kind(&std::fs::metadata(path)?),
        Place::File { old: Some(old), .. } => kind(old),
        Place::File { path, old: None } => {
            let folder = folder(path);
            match std::fs::metadata(folder) {
                Ok(found) if found.is_dir() => Ok(()),
                Ok(_) => refused(format!("{} is a file, not a folder", folder.display())),
                Err(_) => refused(format!("there is no folder {}; make it first", folder.display())),
            }
        }
    }
}

fn kind(found: &Metadata) -> io::Result<()> {
    let unwritable = unwritable(found);
    if found.is_dir() {
        refused("it is a folder; name a file in it".into())
    } else if let Some(what) = unwritable {
        refused(format!("it is {what}; name a file, a pipe or a character device"))
    } else if found.permissions().readonly() {
        // The administrator could write it all the same, but whoever made it so did not want that.
        refused("it is read-only; allow writing with `chmod u+w`, or name another file".into())
    } else {
        Ok(())
    }
}

/// The name of a kind of special file that is not written.
#[cfg(unix)]
fn unwritable(found: &Metadata) -> Option<&'static str> {
    use std::os::unix::fs::FileTypeExt;
    let kind = found.file_type();
    (kind.is_block_device().then_some("a disk")).or(kind.is_socket().then_some("a socket"))
}

#[cfg(not(unix))]
fn unwritable(_: &Metadata) -> Option<&'static str> {
    None
}

fn refused(why: String) -> io::Result<()> {
    Err(io::Error::other(why))
}

/// Tries whether a place can be written; a pipe is not opened, which would wait for its reader.
fn writable(place: &Place) -> io::Result<()> {
    allowed(place)?;
    let Place::File { path, old } = place else { return Ok(()) };
    if old.is_some() {
        lock::lock(&OpenOptions::new().write(true).open(path)?)?;
        tempfile::tempfile_in(folder(path)).map_err(|error| error.kind())?;
    } else {
        OpenOptions::new().write(true).create_new(true).open(path)?;
        std::fs::remove_file(path)?;
    }
    Ok(())
}
