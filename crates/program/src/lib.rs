//! The compiled trainer: instructions over buffers, with a text form for people.
//!
//! A program is plain data at a fixed batch size. A buffer has a storage format and, where a step computes it, a place in
//! one block of memory, the arena. An instruction has one part, or several that run together and share what only they
//! need; a part computes in FP32 from what its operands hold and rounds its result to the format of its output buffer on
//! the way. This crate knows nothing of devices and executes nothing.
//!
//! ```
//! use bitbudget_formats::Format;
//! use bitbudget_ir::{DType, Layout, ops};
//! use bitbudget_program::{Buffer, BufferId, Family, Instruction, Kernel, Machine, Part, Program, Role, Source};
//!
//! let buffer = |name: &str, source, offset| Buffer {
//!     name: name.into(), shape: vec![8], dtype: DType::F32, format: Format::FP32, packed: true, layout: Layout::ROWS,
//!     source, offset,
//! };
//! let relu = Part { op: ops::Relu {}.into(), inputs: vec![BufferId(0)], output: BufferId(1), rounding: None };
//! let kernel = Kernel { family: Family::Elementwise, roles: vec![Role::Head], workspace: 0, scratch: 0 };
//! let program = Program {
//!     machine: Machine::Cpu,
//!     batch: 8,
//!     arena: 32,
//!     alignment: 64,
//!     buffers: vec![buffer("x", Source::Input, None), buffer("y", Source::None, Some(0))],
//!     instructions: vec![Instruction::Compute { parts: vec![relu], kernel, workspace: None }],
//!     outputs: vec![("y".into(), BufferId(1))],
//! };
//! program.check()?;
//! assert!(program.to_string().contains("b1 = relu(b0)"));
//! # Ok::<(), bitbudget_program::ProgramError>(())
//! ```

mod check;
mod dot;
mod footprint;
mod given;
mod kernel;
mod program;
mod progress;
mod text;

pub use bitbudget_ir::Loss;
pub use check::ProgramError;
pub use footprint::Footprint;
pub use given::{Given, TURNS};
pub use kernel::{Family, Kernel, Role};
pub use program::{Buffer, BufferId, Instruction, Machine, Part, Program, Rounding, Source};
pub use progress::{DynamicScale, Progress};
