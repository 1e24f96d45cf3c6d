//! The target of a path, with links followed.

use crate::console::remark;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// The most links that are followed, as in Linux.
const MOST_LINKS: usize = 40;

/// How long opening a pipe may take before the user is told of it.
const PATIENCE: Duration = Duration::from_millis(500);

/// Where an output goes.
#[derive(Debug)]
pub(super) enum Place {
    /// Standard output, by "-" or the name of its descriptor.
    Output,
    /// Standard error, by the name of its descriptor.
    Error,
    /// A device, a pipe or another open descriptor, to be written into.
    Into(PathBuf),
    /// A file with links followed, and what it is now if it is there; replaced as a whole.
    File { path: PathBuf, old: Option<Metadata> },
}

/// Follows a path to the place that it names; links may end where no file is yet.
///
/// # Errors
/// If links run in a circle, the path leads through a file, or it cannot be read.
pub(super) fn resolve(path: &Path) -> io::Result<Place> {
    if path == Path::new("-") {
        return Ok(Place::Output);
    }
    let mut at = path.to_path_buf();
    for _ in 0..=MOST_LINKS {
        if let Some((own, number)) = descriptor(&at) {
            // Opened again, a descriptor of a file would begin at its start.
            return match (own, number) {
                (true, 1) => Ok(Place::Output),
                (true, 2) => Ok(Place::Error),
                _ => std::fs::metadata(&at).map(|_| Place::Into(at)),
            };
        }
        let found = match std::fs::symlink_metadata(&at) {
            Ok(found) => found,
            Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => {
                return Ok(Place::File { path: at, old: None });
            }
            Err(error) => return Err(error),
        };
        if found.is_symlink() {
            at = folder(&at).join(std::fs::read_link(&at)?);
        } else if found.is_file() || found.is_dir() {
            return Ok(Place::File { path: at, old: Some(found) });
        } else {
            return Ok(Place::Into(at));
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "its symbolic links run in a circle"))
}

/// The folder that a file lies in.
pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The number of a descriptor, for `/dev/fd/1` and the names that lead there, and whether it is one of this process.
fn descriptor(path: &Path) -> Option<(bool, u32)> {
    let number = path.file_name()?.to_str()?.parse().ok()?;
    let folder = folder(path).canonicalize().ok()?;
    let process = folder.strip_prefix("/proc").ok().filter(|_| folder.ends_with("fd"))?.components().next()?;
    Some((process.as_os_str().to_str() == Some(&std::process::id().to_string()), number))
}

/// Opens a device, a pipe or a descriptor; what a file behind a descriptor holds stays. Says so where it waits for a pipe's reader.
pub(super) fn open_into(path: &Path) -> io::Result<File> {
    let (opened, is_open) = mpsc::channel::<()>();
    let shown = path.display().to_string();
    let waiting = std::thread::spawn(move || {
        if is_open.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            remark("note", format!("{shown} is a pipe that nobody reads yet: waiting for a reader"));
        }
    });
    let file = OpenOptions::new().append(true).open(path);
    drop(opened);
    // It cannot fail, and says nothing more.
    let _ = waiting.join();
    file
}

/// The identity of a file, whatever its name; nothing for a device such as `/dev/null`, which any
/// number of outputs may share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// A file that is there.
    #[cfg(unix)]
    There(u64, u64),
    /// A file by its full name.
    Named(PathBuf),
    Output,
}

impl Place {
    /// The identity of this place.
    pub(super) fn identity(&self) -> Option<Identity> {
        match self {
            Place::Output => standard("/dev/stdout").or(Some(Identity::Output)),
            Place::Error => standard("/dev/stderr"),
            Place::Into(path) => {
                std::fs::metadata(path).ok().filter(|found| !is_shared(found)).and_then(|found| there(&found))
            }
            Place::File { path, old } => {
                let folder = folder(path).canonicalize().ok();
                let named = || Some(Identity::Named(folder?.join(path.file_name()?)));
                old.as_ref().and_then(there).or_else(named)
            }
        }
    }
}

/// The file that a standard stream goes to, if it is one.
pub(super) fn standard(stream: &str) -> Option<Identity> {
    std::fs::metadata(stream).ok().filter(Metadata::is_file).and_then(|found| there(&found))
}

/// Whether outputs do not get in each other's way there.
#[cfg(unix)]
fn is_shared(found: &Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_char_device(&found.file_type())
}

#[cfg(not(unix))]
fn is_shared(_: &Metadata) -> bool {
    true
}

#[cfg(unix)]
fn there(found: &Metadata) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    Some(Identity::There(found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn there(_: &Metadata) -> Option<Identity> {
    None
}
