//! Tables of 256 bytes to choose from.

/// A table of 256 bytes, or two of which a bit of the table entry of another byte chooses.
#[derive(Clone, Copy)]
pub(crate) enum Choice<'a> {
    One(&'a [u8; 256]),
    /// The first table where the class of the byte at the same place is 0, the second where it is 1.
    ByClass {
        tables: [&'a [u8; 256]; 2],
        classes: &'a [u8; 256],
        bytes: *const u8,
    },
}
