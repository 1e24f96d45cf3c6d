//! The graph in the making, and what the rows of `ops` may do with it.

mod emit;
mod initializers;
mod node;
mod operands;
pub(crate) mod parameters;
mod state;

pub(crate) use node::{Node, Operand, Padded, Value, axes, axis, decimal};
pub(crate) use parameters::{is_uniform, reader};
pub(crate) use state::Importer;
