//! The settings that sizes depend on.

/// How tensors are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// In the bits of their formats.
    #[default]
    Packed,
    /// As FP32 numbers, rounded to their formats: what a simulation does.
    Simulated,
}

/// The settings that sizes depend on.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Examples per step.
    pub batch: usize,
    /// How tensors are stored.
    pub storage: Storage,
    /// Tensors and workspace begin at multiples of so many bytes: what the target needs.
    pub alignment: usize,
}
