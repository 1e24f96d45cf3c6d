//! Selects the kernel of every step for a target, with the memory that it needs.
//!
//! A [`Group`] is the operators of one step at a batch size, as plain data. A [`Target`] says what its kernels can do: which operands
//! they compute in passing, how they compute a group, which workspace and scratch memory that takes. What is selected never depends
//! on the machine at hand, so that predicted bytes are the same on every machine of a target; the executor binds a selected kernel to
//! the instructions that the machine has.
//!
//! ```
//! use bitbudget_ir::{Graph, NodeId};
//! use bitbudget_program::Family;
//! use bitbudget_select::{Cpu, Group, Target};
//!
//! let graph: Graph = r#"graph "g" {
//!   %0 = input {name="x"} : f32[N,8,16,16]
//!   %1 = parameter {name="w"} : f32[4,8,3,3]
//!   %2 = conv(%0, %1) : f32[N,4,14,14] output
//!   return "y" = %2
//! }"#.parse()?;
//! let group = Group::new(&graph, &[NodeId(2)], &[false; 3], 32);
//! let kernel = Cpu.kernel(&group);
//! assert_eq!(kernel.family, Family::Convolution);
//! assert!(kernel.workspace > 0); // Packed weights.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cpu;
pub mod geometry;
mod group;
mod needs;

use bitbudget_ir::{Graph, NodeId};
use bitbudget_program::Kernel;

pub use cpu::Cpu;
pub use group::{Group, Member, Operand};
pub use needs::{Convolution, Needs, convolution};

/// A kind of machine that programs are made for.
pub trait Target {
    /// Whether the kernel of `reader` can compute operand `position` in passing.
    fn takes(&self, graph: &Graph, reader: NodeId, position: usize) -> bool;

    /// The memory that the kernel of one operator needs, what it computes in passing apart.
    fn needs(&self, member: &Member) -> Needs;

    /// How a group is computed.
    fn kernel(&self, group: &Group) -> Kernel;
}

/// The kernels of steps; `inside` says by node which results are used inside their step only.
pub fn select(target: &dyn Target, graph: &Graph, steps: &[Vec<NodeId>], inside: &[bool], batch: usize) -> Vec<Kernel> {
    steps.iter().map(|nodes| target.kernel(&Group::new(graph, nodes, inside, batch))).collect()
}
