//! What is done with a file's dropout.

/// Which dropout a network trains with. None is applied in evaluation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dropout {
    /// That which the file has in training mode.
    #[default]
    Keep,
    /// All that the file has, in evaluation mode too.
    On,
    /// None.
    Off,
}
