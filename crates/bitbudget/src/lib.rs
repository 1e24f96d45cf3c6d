//! Compiles a network into a mixed-precision trainer, and trains it: what a program embeds.
//!
//! A [`Session`] is a compiled trainer on a machine: from an ONNX file, or a network that is known or made by hand, it runs steps and
//! whole trainings, evaluates, promotes tensors that overflow, and saves. The programs of `examples/` show that in full.
//!
//! ```
//! use bitbudget::zoo::{Network, Spec, build};
//! use bitbudget::{Array, Inputs, Options, SaveAs, Session};
//!
//! let spec = Spec { network: Network::SqueezeNet, width: 0.1, classes: 10, input: [3, 32, 32], seed: 0, ..Spec::default() };
//! let mut session = Session::compile(build(&spec)?, &Options { batch: 2, threads: 1, ..Options::default() })?;
//! let images = vec![0.5; 2 * 3 * 32 * 32];
//! let arrays = [("input", Array::f32(&[2, 3, 32, 32], &images)), ("labels", Array::integers(&[2], &[3, 7]))];
//! let step = session.step(&Inputs { learning_rate: 0.05, ..Inputs::new(arrays) })?;
//! assert!(step.loss > 0.0 && step.outputs["logits"].len() == 2 * 10);
//! let network = session.save(SaveAs::Onnx)?;
//! assert!(Session::from_onnx_bytes(&network, &Options::default()).is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`compile`] is the whole way through the compiler in one function. It composes the passes, which know nothing of each other: `autodiff`
//! makes the training graph, `precision` gives every tensor a format, or `budget` those that fit a budget, `rewrite` replaces operators by
//! equal ones that need less memory then, `schedule` orders
//! them and gives their tensors places, `lower` turns all that into a program.
//!
//! Everything that fails is an [`Error`], which tells kind, place, reason and what to do apart.

mod annotations;
#[cfg(test)]
mod budget_tests;
mod build;
pub mod comparison;
mod compile;
mod compiled;
mod drawing;
mod error;
mod explain;
mod exports;
mod finite;
mod fp32;
mod network;
mod options;
mod overview;
mod plan;
mod profiling;
mod promotion;
mod report;
mod roofline;
mod session;
mod threads;
mod trainer;
mod work;

pub use annotations::{Annotated, Pairs, annotated, forward_formats};
pub use bitbudget_budget::{
    Available, Budget, BudgetError, Certificate, Demoted, Engine, Granularity, LARGEST_TIME_WEIGHT, LONGEST_SEARCH,
    Limit, Measured, MemoryError, ParseLimitError, Priced, Shortage, Solved,
};
pub use build::Lowering;
pub use compile::{compile, compile_as};
pub use compiled::{Compiled, Peak};
pub use drawing::Shown;
pub use error::{CompileError, Error, ErrorKind};
pub use explain::{Explained, Firing, Storing, TensorExplained, explain};
pub use exports::*;
pub use finite::{Cause, Decided, Kept, NamedTensor, ProbeError, SEVERAL, Saturated};
pub use network::{closing_function, data_interface, parameters, updates};
pub use options::Options;
pub use overview::{OperatorTotals, Overview};
pub use plan::{FileKind, Plan, PlanError, Problem};
pub use profiling::profiling;
pub use promotion::{Promoted, Promotion};
pub use report::report;
pub use roofline::{Card, InstructionBound, Roofline};
pub use session::{Precision, Profiler, SaveAs, Session, StepResult};
pub use trainer::{DecodeError, TrainerError};
pub use work::{InstructionWork, instruction_work};
