//! A file that grows while a run goes on.

use super::place::{Place, open_into, resolve};
use super::{Folder, check, limit, lock};
use crate::console::{self, remark, whole};
use anyhow::{Context, Result};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file of records, each there at once, so that a run can be watched.
///
/// The run goes on where it cannot be written any more: whole records stay, and the error comes in the end. Meanwhile no other
/// run may write it; a run that dies leaves the records that it wrote and no lock.
#[derive(Debug)]
pub(crate) struct Growing {
    /// As it was named.
    named: PathBuf,
    to: To,
    /// The folder that was made for it.
    folder: Option<Folder>,
    failed: Option<anyhow::Error>,
}

#[derive(Debug)]
enum To {
    Output,
    Error,
    /// A device or a pipe.
    Into(File),
    File(Records),
}

/// A file at its true place, with the bytes of its whole records. One without records goes away in the end.
#[derive(Debug)]
struct Records {
    file: File,
    path: PathBuf,
    whole: u64,
}

impl Records {
    /// Appends a record, or leaves the file as it was.
    fn append(&mut self, record: &[u8]) -> io::Result<()> {
        let size = self.whole + record.len() as u64;
        let written = limit::check(size).and_then(|()| self.file.write_all(record));
        match &written {
            Ok(()) => self.whole = size,
            Err(_) => {
                let _ = self.file.set_len(self.whole);
            }
        }
        written
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        // The lock is still there.
        if self.whole == 0 {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Growing {
    /// Creates a file or empties it.
    ///
    /// # Errors
    /// If that cannot be done, or another run is writing it.
    pub(crate) fn create(path: &Path) -> Result<Growing> {
        let to = open(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Growing { named: path.to_path_buf(), to, folder: None, failed: None })
    }

    /// Creates a file in a folder, with what it begins with.
    ///
    /// # Errors
    /// If that cannot be done.
    pub(crate) fn create_in(folder: Folder, name: &str, head: &[u8]) -> Result<Growing> {
        let path = folder.path().join(name);
        let mut growing = Growing::create(&path)?;
        if let To::File(records) = &mut growing.to {
            records.append(head).with_context(|| format!("cannot write {}", path.display()))?;
        }
        growing.folder = Some(folder);
        Ok(growing)
    }

    /// Appends a record, unless that failed before.
    pub(crate) fn append(&mut self, record: &[u8]) {
        if self.failed.is_some() || record.is_empty() {
            return;
        }
        let written = match &mut self.to {
            To::Output => console::write(record),
            To::Error => io::stderr().write_all(record).map_err(Into::into),
            To::Into(file) => file.write_all(record).map_err(Into::into),
            To::File(records) => records.append(record).map_err(Into::into),
        };
        let Err(error) = written else { return };
        remark(
            "warning",
            format!("cannot write {}: {}; the run goes on without it", self.named.display(), whole(&error)),
        );
        self.failed = Some(error);
    }

    /// Ends the file.
    ///
    /// # Errors
    /// If a record could not be written.
    pub(crate) fn finish(self) -> Result<()> {
        let Growing { named, to, folder, failed } = self;
        let synced = match (failed, &to) {
            (Some(error), _) => Err(error),
            (None, To::File(records)) => records.file.sync_all().map_err(Into::into),
            (None, _) => Ok(()),
        };
        // The file before its folder, so that an empty one goes away with it.
        drop(to);
        drop(folder);
        synced.with_context(|| format!("{} is not complete", named.display()))
    }
}

fn open(path: &Path) -> io::Result<To> {
    let place = resolve(path)?;
    check::allowed(&place)?;
    match place {
        Place::Output => Ok(To::Output),
        Place::Error => Ok(To::Error),
        Place::Into(path) => open_into(&path).map(To::Into),
        Place::File { path, .. } => {
            // What another run is writing must not be emptied, so the lock comes first.
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
            lock::lock(&file)?;
            file.set_len(0)?;
            Ok(To::File(Records { file, path, whole: 0 }))
        }
    }
}
