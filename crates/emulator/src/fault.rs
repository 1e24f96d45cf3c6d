//! What is wrong with a kernel.

use std::fmt;

/// A fault, where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its kind.
    pub kind: FaultKind,
    /// File and line of the kernel's source.
    pub place: String,
    /// The block and the thread in it.
    pub thread: (u32, u32),
    /// What exactly happened.
    pub detail: String,
}

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// Bytes outside the memory that there is.
    Outside,
    /// An address that is no multiple of the bytes that are read or written at once.
    Misaligned,
    /// Two threads, of which one writes, without an order between them.
    Race,
    /// Shared memory that a copy under way will still write, or that nothing has written.
    NotWritten,
    /// A barrier or a collective function that not all threads reach.
    Divergent,
    /// A turn that never comes.
    NoTurn,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (block, thread) = self.thread;
        write!(f, "{}: {:?}: {} (block {block}, thread {thread})", self.place, self.kind, self.detail)
    }
}
