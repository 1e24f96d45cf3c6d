//! Functions, and graphs within nodes: calls are replaced by the nodes of their functions before the file is analysed; the branches and bodies
//! of control flow are copied while it is imported.

mod copy;
mod functions;
mod node;
pub(crate) mod notes;
pub(crate) mod quantized;
pub(crate) mod standard;
pub(crate) mod subgraphs;
pub(crate) mod weights;

pub(crate) use copy::Copy;
pub(crate) use functions::functions;
pub(crate) use node::{captures, node_name, reads};
