/// Why a kernel refused its arguments; nothing has been written then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// A slice is longer or shorter than its shape says.
    #[error("{kernel}: `{argument}` holds {found} elements where its shape needs {expected}")]
    Length {
        /// The kernel that was called.
        kernel: &'static str,
        /// The argument at fault.
        argument: &'static str,
        /// Elements that the shape asks for.
        expected: usize,
        /// Elements that came.
        found: usize,
    },
    /// Shapes or attributes contradict each other.
    #[error("{kernel}: {reason}")]
    Geometry {
        /// The kernel that was called.
        kernel: &'static str,
        /// The fault, with its numbers.
        reason: String,
    },
}

/// The product of `dims`; it saturates, so that an absurd shape never matches a real slice.
pub(crate) fn elements(dims: &[usize]) -> usize {
    if dims.contains(&0) { 0 } else { dims.iter().fold(1, |product, &d| product.saturating_mul(d)) }
}

/// Compares the length of each named slice with what its shape needs.
pub(crate) fn check(kernel: &'static str, slices: &[(&'static str, usize, usize)]) -> Result<(), ShapeError> {
    match slices.iter().find(|(_, found, expected)| found != expected) {
        None => Ok(()),
        Some(&(argument, found, expected)) => Err(ShapeError::Length { kernel, argument, expected, found }),
    }
}

/// A contradiction between shapes or attributes.
pub(crate) fn geometry(kernel: &'static str, reason: impl Into<String>) -> ShapeError {
    ShapeError::Geometry { kernel, reason: reason.into() }
}
