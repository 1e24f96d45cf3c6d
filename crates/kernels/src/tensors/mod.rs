//! Tensors as they lie in memory, and how they are cut into tiles and tasks.

#[cfg(target_arch = "x86_64")]
pub(crate) mod blocks;
pub(crate) mod elements;
pub(crate) mod parallel;
pub(crate) mod tile;
pub(crate) mod walk;
