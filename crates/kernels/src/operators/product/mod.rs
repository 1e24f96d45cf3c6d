//! The common part of all products: a block of the result in vector registers, and operands packed for it.

mod kernel;
mod lanes;
mod peak;

pub(crate) use kernel::{Arithmetic, Block, Kernel, LANES, ROWS, VECTORS, narrow};
pub(crate) use lanes::{interleave, pair, pair_up, separate, single};
pub use peak::multiply_adds;
