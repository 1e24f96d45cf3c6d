//! Vector instructions: one body compiled for several instruction sets ([`simd`]), what is written in the instructions of one
//! set ([`avx512`]), and tables of one-byte codes ([`translate`]).

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
pub(crate) mod choice;
pub(crate) mod random;
pub(crate) mod simd;
pub(crate) mod translate;
