//! Selects the kernel of every step for a target, with the memory that it needs.
//!
//! A [`Group`] is the operators of one step at a batch size, as plain data. A [`Target`] says what its kernels can do: which operands
//! they compute in passing, how they compute a group, which workspace and scratch memory that takes, how memory is aligned, and about how many seconds a step takes. What is selected never depends
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

mod alone;
mod cpu;
mod cuda;
pub mod geometry;
mod group;
mod load;
mod machine;
mod needs;
mod select;
mod target;

pub use alone::alone;
pub use cpu::Cpu;
pub use cuda::Cuda;
pub use group::{Group, Member, Operand};
pub use load::Load;
pub use machine::target;
pub use needs::{Convolution, Needs, convolution};
pub use select::select;
pub use target::Target;
