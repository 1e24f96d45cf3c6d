//! The kinds of errors.

/// The kinds of [`crate::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument or an option has no meaning, or not together with the others.
    Invalid,
    /// A file or folder is not there.
    NotFound,
    /// Reading or writing failed.
    Io,
    /// The content of a file is damaged, or that of another kind of file.
    Corrupt,
    /// Two things that have to agree do not: data and network, profile and network, inputs and program, a file and this build.
    Mismatch,
    /// A network, a file or data that are legal but not handled.
    Unsupported,
    /// No assignment fits the budget, or none was found.
    Budget,
    /// Numbers that have to be finite are not.
    NotFinite,
    /// There is not enough memory, on this machine or on a device.
    OutOfMemory,
    /// A device or its threads cannot be had, or fail.
    Device,
}
