//! Places of the kernels' source.

use std::ffi::{CStr, c_char};
use std::fmt;

/// A place of the source, which is a text of the kernels' library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place(*const c_char);

impl Place {
    pub(crate) fn new(text: *const c_char) -> Place {
        Place(text)
    }

    pub(crate) fn number(self) -> usize {
        self.0 as usize
    }

    pub(crate) fn of(number: usize) -> Place {
        Place(number as *const c_char)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: places are texts of a library that is loaded as long as a launch runs.
        write!(f, "{}", unsafe { CStr::from_ptr(self.0) }.to_string_lossy())
    }
}
