//! The size that files may have (`ulimit -f`): whoever writes more is ended by the system, and what was written stays behind.

use std::io;
use std::sync::OnceLock;

/// Checks that a file of so many bytes is within the limit.
///
/// # Errors
/// If it is not.
pub(super) fn check(bytes: u64) -> io::Result<()> {
    static LIMIT: OnceLock<Option<u64>> = OnceLock::new();
    match *LIMIT.get_or_init(limit) {
        Some(limit) if bytes > limit => {
            let why = format!("it would have {bytes} bytes, and files may have {limit} here; see `ulimit -f`");
            Err(io::Error::new(io::ErrorKind::FileTooLarge, why))
        }
        _ => Ok(()),
    }
}

/// The limit, if there is one and the system says so.
fn limit() -> Option<u64> {
    // Max file size             61440                unlimited            bytes
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max file size"))?;
    line.split_whitespace().next()?.parse().ok()
}
