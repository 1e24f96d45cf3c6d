//! How much memory this process may still take, and what is said where that is too little.
//!
//! Rust ends the process when an allocation fails, so what takes much is estimated before it begins.

use bitbudget_report::Rounding::{Down, Up};
use bitbudget_report::amounts;
use std::fmt;
use std::path::{Path, PathBuf};

/// There is not enough memory for something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct MemoryError {
    /// For what.
    pub what: String,
    /// Bytes that it may take.
    pub needed: usize,
    /// Bytes that there are.
    pub available: usize,
    /// Advice.
    pub advice: String,
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.reason(), self.advice)
    }
}

impl MemoryError {
    /// The fault, without the advice.
    pub fn reason(&self) -> String {
        let [needed, available] = amounts([(self.needed, Up), (self.available, Down)]);
        format!("{} takes up to {needed}, but only {available} of memory are available", self.what)
    }
}

/// Bytes that this process may still take; where the system does not tell, there is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Available {
    /// Of addresses and data, as `ulimit -v` and `ulimit -d` limit them. A thread takes some of these too.
    pub addresses: usize,
    /// Of memory that the machine or the container has.
    pub memory: usize,
}

/// Addresses that a thread reserves for its stack and its allocations.
const THREAD: usize = 68 << 20;

impl Available {
    /// The memory that is available now.
    pub fn now() -> Available {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let (limits, status) = (read("/proc/self/limits"), read("/proc/self/status"));
        let free = |limit: &str, taken: &str| {
            let limit = after(&limits, limit)?.parse::<usize>().ok()?;
            Some(limit.saturating_sub(kibibytes(&status, taken)?))
        };
        let addresses = [free("Max address space", "VmSize:"), free("Max data size", "VmData:")];
        let machine = read("/proc/meminfo");
        let machine =
            kibibytes(&machine, "MemAvailable:").map(|free| free + kibibytes(&machine, "SwapFree:").unwrap_or(0));
        let smallest = |of: &mut dyn Iterator<Item = usize>| of.min().unwrap_or(usize::MAX);
        Available {
            addresses: smallest(&mut addresses.into_iter().flatten()),
            memory: smallest(&mut machine.into_iter().chain(groups(&read("/proc/self/cgroup")))),
        }
    }

    /// Whether there is so much, in so many new threads.
    pub fn has(&self, bytes: usize, threads: usize) -> bool {
        bytes <= self.memory && bytes.saturating_add(threads * THREAD) <= self.addresses
    }

    /// Checks that there is so much.
    ///
    /// # Errors
    /// If there is not.
    pub fn check(&self, what: &str, needed: usize, threads: usize, advice: &str) -> Result<(), MemoryError> {
        if self.has(needed, threads) {
            return Ok(());
        }
        let (what, advice) = (what.to_string(), advice.to_string());
        let (needed, available) = match needed > self.memory {
            true => (needed, self.memory),
            false => (needed.saturating_add(threads * THREAD), self.addresses),
        };
        Err(MemoryError { what, needed, available, advice })
    }
}

/// The first word behind a name at the beginning of a line.
fn after<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()
}

fn kibibytes(text: &str, name: &str) -> Option<usize> {
    Some(after(text, name)?.parse::<usize>().ok()?.saturating_mul(1024))
}

/// The memory left in the control groups of this process and in their parents.
fn groups(own: &str) -> Vec<usize> {
    let mut free = Vec::new();
    for line in own.lines() {
        // `0::/path` in version 2, `4:memory:/path` in version 1.
        let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else { continue };
        let (mount, names) = match controllers {
            "" => ("/sys/fs/cgroup", ["memory.max", "memory.current"]),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", ["memory.limit_in_bytes", "memory.usage_in_bytes"])
            }
            _ => continue,
        };
        let folder = PathBuf::from(format!("{mount}{path}"));
        for folder in folder.ancestors().take_while(|folder| folder.starts_with(mount)) {
            free.extend(left(folder, names));
        }
    }
    free
}

/// The memory left in a control group. Cached files count as free.
fn left(folder: &Path, [limit, taken]: [&str; 2]) -> Option<usize> {
    let number = |name: &str| std::fs::read_to_string(folder.join(name)).ok()?.trim().parse::<usize>().ok();
    let stat = std::fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let cached = after(&stat, "inactive_file ").and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
    Some(number(limit)?.saturating_sub(number(taken)?.saturating_sub(cached)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_system_are_read() {
        let limits = "Max cpu time              unlimited            unlimited            seconds\n\
                      Max address space         204800000            unlimited            bytes\n";
        assert_eq!(after(limits, "Max address space"), Some("204800000"));
        assert_eq!(after(limits, "Max cpu time"), Some("unlimited"));
        assert_eq!(kibibytes("VmPeak:\t  10 kB\nVmSize:\t  200 kB\n", "VmSize:"), Some(204_800));
    }

    #[test]
    fn what_a_control_group_has_left_counts_without_cached_files() {
        let folder = std::env::temp_dir().join(format!("bitbudget-group-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let names = ["memory.max", "memory.current"];
        for (name, text) in [(names[0], "1000\n"), (names[1], "700\n"), ("memory.stat", "anon 5\ninactive_file 300\n")]
        {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let limited = left(&folder, names);
        std::fs::write(folder.join(names[0]), "max\n").unwrap();
        let unlimited = left(&folder, names);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!((limited, unlimited), (Some(600), None));
    }

    #[test]
    fn too_little_memory_is_an_error_that_says_how_much_is_missing() {
        let available = Available { addresses: 300 << 20, memory: 200 << 20 };
        let check = |needed: usize, threads| available.check("the search", needed << 20, threads, "do less");
        assert_eq!(check(200, 1), Ok(()));
        let message = |needed, threads| check(needed, threads).unwrap_err().to_string();
        assert_eq!(
            message(201, 0),
            "the search takes up to 201.0 MiB, but only 200.0 MiB of memory are available; do less"
        );
        assert_eq!(
            message(200, 2),
            "the search takes up to 336.0 MiB, but only 300.0 MiB of memory are available; do less"
        );
    }
}
