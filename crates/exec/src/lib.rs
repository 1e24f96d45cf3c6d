//! Runs a program's step on the CPU, or through a driver on a CUDA device.
//!
//! An [`Executor`] loads a program: it finds the kernels of its instructions and takes the memory of its steps, once. The
//! [`Loaded`] program then runs step by step; [`Values`] holds what is kept from step
//! to step, so that a training and an evaluation program share their weights. A step is given arrays by name and returns
//! named outputs. Results do not depend on the number of threads. This crate knows nothing of graphs, assignments or data.
//!
//! On the CPU every instruction is a kernel of our own, kept values are candle's tensors, and what a step computes lies packed in
//! one block of memory, as the program says. Programs for CUDA devices do the same there, through a [`Driver`]: with feature `cuda`
//! NVIDIA's, in tests an emulator.
//!
//! ```
//! use bitbudget_exec::{Array, Executor, Inputs, Target, Values};
//! use bitbudget_formats::Format;
//! use bitbudget_ir::{DType, Layout, ops};
//! use bitbudget_program::{Buffer, BufferId, Family, Instruction, Kernel, Machine, Part, Program, Role, Source};
//!
//! let buffer = |source, offset| Buffer {
//!     name: "x".into(), shape: vec![4], dtype: DType::F32, format: Format::FP32, packed: true, layout: Layout::ROWS,
//!     source, offset,
//! };
//! let relu = Part { op: ops::Relu {}.into(), inputs: vec![BufferId(0)], output: BufferId(1), rounding: None };
//! let kernel = Kernel { family: Family::Elementwise, roles: vec![Role::Head], workspace: 0, scratch: 0 };
//! let program = Program {
//!     machine: Machine::Cpu,
//!     batch: 4,
//!     arena: 16,
//!     alignment: 64,
//!     buffers: vec![buffer(Source::Input, None), buffer(Source::None, Some(0))],
//!     instructions: vec![Instruction::Compute { parts: vec![relu], kernel, workspace: None }],
//!     outputs: vec![("y".into(), BufferId(1))],
//! };
//! let mut executor = Executor::new(Target::Cpu, 1)?;
//! let mut values = Values::default();
//! let inputs = Inputs::new([("x", Array::f32(&[4], &[-1.0, 2.0, -3.0, 4.0]))]);
//! let loaded = executor.load(&program)?;
//! let step = loaded.step(&mut executor, &mut values, &inputs)?;
//! assert_eq!(step.outputs["y"], [0.0, 2.0, 0.0, 4.0]);
//! # Ok::<(), bitbudget_exec::ExecError>(())
//! ```

mod ceilings;
mod cpu;
mod device;
mod error;
mod executor;
mod inputs;
#[cfg(feature = "cuda")]
mod nvidia;
mod outcome;
mod values;

pub use bitbudget_cuda::{Driver, DriverError, Effort};
pub use bitbudget_program::Footprint;
pub use ceilings::{Ceilings, ceilings};
pub use device::{Device, DeviceWork, device_work, source as cuda_source};
pub use error::{ErrorKind, ExecError};
pub use executor::{Executor, Loaded, Target};
pub use inputs::{Array, Inputs, Numbers};
pub use outcome::{OverflowCount, Step};
pub use values::Values;
