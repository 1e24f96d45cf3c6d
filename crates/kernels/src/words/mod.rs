//! Vector instructions: one body compiled for several instruction sets, and tables of one-byte codes.

pub(crate) mod simd;
pub(crate) mod translate;
