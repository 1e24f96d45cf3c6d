//! One writer per file: locks of the system, which end with the process that has them, however it ends.

use std::fs::{File, TryLockError};
use std::io;

/// Locks a file for this process.
///
/// # Errors
/// If another process has it; where the file system has no locks, nothing is locked.
pub(super) fn lock(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let process = holder(file).map_or(String::new(), |process| format!(" (process {process})"));
            Err(io::Error::other(format!(
                "another run{process} is writing it; wait until that ends, or name another file"
            )))
        }
    }
}

/// The process that has the lock of a file, as far as the system says.
#[cfg(unix)]
fn holder(file: &File) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let found = file.metadata().ok()?;
    let (device, inode) = (found.dev(), found.ino());
    let major = ((device >> 8) & 0xfff) | ((device >> 32) & !0xfff);
    let minor = (device & 0xff) | ((device >> 12) & !0xff);
    let place = format!("{major:02x}:{minor:02x}:{inode}");
    // 1: FLOCK  ADVISORY  WRITE 2781 fd:00:131 0 EOF
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let mut lines = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.find(|words| words.get(5) == Some(&place.as_str()))?.get(4)?.parse().ok()
}

#[cfg(not(unix))]
fn holder(_: &File) -> Option<u32> {
    None
}
