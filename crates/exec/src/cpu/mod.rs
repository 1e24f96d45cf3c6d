//! Instructions on the CPU: slices out of one block of memory, kernels over them.

mod arena;
mod chain;
mod derive;
mod elementwise;
mod kernel;
mod load;
mod operands;
mod part;
mod sources;
mod step;

pub(crate) use arena::Arena;
pub(crate) use load::Bound;
pub(crate) use step::run;
