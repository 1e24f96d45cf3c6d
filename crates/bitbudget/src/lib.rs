//! Compiles a network into a mixed-precision trainer, and trains it: what a program embeds.
//!
//! A [`Session`] is a compiled trainer on a machine: from an ONNX file, or a network that is known or made by hand, it runs steps and
//! whole trainings, evaluates, promotes tensors that overflow, and saves. The programs of `examples/` show that in full.
//!
//! ```
//! use bitbudget::zoo::{Network, Spec, build};
//! use bitbudget::{Array, Inputs, Options, SaveAs, Session};
//!
//! let spec = Spec { network: Network::SqueezeNet, width: 0.1, classes: 10, input: [3, 32, 32], seed: 0 };
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
mod compiled;
mod drawing;
mod error;
mod explain;
mod exports;
mod finite;
mod fp32;
mod network;
mod overview;
mod plan;
mod profiling;
mod promotion;
mod report;
mod session;
mod threads;
mod trainer;
mod work;

use bitbudget_autodiff::training_with;
use bitbudget_budget::{Network, fit};
use bitbudget_ir::verify;
use bitbudget_precision::{PinError, Pinned, Setting, Tensor, assign_with, pins_of, tensors};
use compiled::Chosen;
use plan::Asked;

pub use annotations::{Annotated, Pairs, annotated, forward_formats};
pub use bitbudget_budget::{
    Available, Budget, BudgetError, Certificate, Demoted, Engine, Granularity, LARGEST_TIME_WEIGHT, LONGEST_SEARCH,
    Limit, Measured, MemoryError, ParseLimitError, Priced, Shortage, Solved,
};
pub use build::Lowering;
pub use compiled::{Compiled, Peak};
pub use drawing::Shown;
pub use error::{CompileError, Error, ErrorKind};
pub use explain::{Explained, Firing, Storing, TensorExplained, explain};
pub use exports::*;
pub use finite::{Cause, Decided, Kept, NamedTensor, ProbeError, SEVERAL, Saturated};
pub use network::{closing_softmax, data_network, parameters, updates};
pub use overview::{OperatorTotals, Overview};
pub use plan::{FileKind, Plan, PlanError, Problem};
pub use profiling::profiling;
pub use promotion::{Promoted, Promotion};
pub use report::report;
pub use session::{Precision, Profiler, SaveAs, Session, StepResult};
pub use trainer::{DecodeError, TrainerError};
pub use work::{InstructionWork, instruction_work};

/// Compiler options.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Examples per step.
    pub batch: usize,
    /// How parameters are updated.
    pub optimizer: Optimizer,
    /// When parameters are updated.
    pub updates: Updates,
    /// How formats are chosen.
    pub method: Method,
    /// The share of elements to make low at least, for the methods that use it.
    pub low_ratio: f64,
    /// The seed of random choices.
    pub seed: u64,
    /// The formats of high and low precision.
    pub formats: Formats,
    /// Formats that are asked for, whatever the method would choose.
    pub pins: Vec<Pin>,
    /// How tensors are stored.
    pub storage: Storage,
    /// By which rules graphs are rewritten. Without, tensors that can be computed in passing are stored too.
    pub rewrite: Option<Rules>,
    /// Threads of the run where there is no budget, which has its own: each has scratch memory, which counts where a program is chosen
    /// for the memory that it takes. 0 leaves scratch memory out.
    pub threads: usize,
    /// The memory that the training step may take; `None` for as much as the method takes.
    pub budget: Option<Budget>,
}

impl Default for Options {
    /// The paper's setting: batch 128, SGD, demotion of half of the elements.
    fn default() -> Self {
        let (optimizer, formats, storage) = (Optimizer::sgd(), Formats::PAPER, Storage::Packed);
        let (method, updates) = (Method::Demote, Updates::IfFinite);
        let (batch, low_ratio, seed, pins) = (128, 0.5, 0, Vec::new());
        Options {
            batch,
            optimizer,
            updates,
            method,
            low_ratio,
            seed,
            formats,
            pins,
            storage,
            rewrite: Some(Rules::Exact),
            threads: 0,
            budget: None,
        }
    }
}

impl Options {
    /// How the options have graphs lowered.
    pub fn lowering(&self) -> Lowering {
        let threads = self.budget.as_ref().map_or(self.threads, |budget| budget.threads);
        Lowering { storage: self.storage, rewrite: self.rewrite, threads }
    }

    /// How the options have formats chosen.
    fn setting(&self) -> Setting {
        let Options { method, low_ratio, seed, formats, .. } = *self;
        Setting { method, low_ratio, seed, formats }
    }
}

/// Compiles a network: the whole way through the compiler.
///
/// # Errors
/// If the network has no `[N, classes]` output, cannot be differentiated, or the options do not fit it.
pub fn compile(model: Model, options: &Options) -> Result<Compiled, CompileError> {
    let (batch, lowering) = (options.batch, options.lowering());
    let training = training(&model.graph, options)?;
    let tensors = tensors(&training, batch);
    let pinned = pinned(&training, &tensors, options).map_err(CompileError::Pins)?;
    let mut fp32 = fp32::Kept::default();
    let (assignment, solved) = match &options.budget {
        Some(budget) => {
            let step = fp32.step(&training, batch, lowering)?;
            let taken = |assignment: &Assignment| fp32::taken(&training, assignment, lowering);
            let network = Network { training: &training, batch, tensors: &tensors, pinned: &pinned, taken: &taken };
            let (assignment, solved) = fit(network, &step, &options.setting(), budget)?;
            (assignment, Some(solved))
        }
        None => (assign_with(&training, batch, &tensors, &options.setting(), &pinned)?, None),
    };
    let (asked, budget) = (Asked::of(options), options.budget.clone());
    let chosen = Chosen { assignment, pinned, asked, budget, solved, fp32 };
    Compiled::build(model, training, chosen, lowering)
}

/// Compiles a network with exactly the assignment of a plan.
///
/// Of the options, those that [`Plan::options`] gives are to be the plan's, but for the batch.
///
/// # Errors
/// If the network has no `[N, classes]` output or cannot be differentiated, the assignment is not one of the network (with
/// everything that is wrong with it), or it does not fit the budget.
pub fn compile_as(model: Model, options: &Options, plan: &Plan) -> Result<Compiled, CompileError> {
    let training = training(&model.graph, options)?;
    let (batch, method, lowering) = (options.batch, options.method, options.lowering());
    let tensors = tensors(&training, batch);
    let (pinned, problems) = match pinned(&training, &tensors, options) {
        Ok(pinned) => (pinned, Vec::new()),
        Err(errors) => (Pinned::new(), errors.into_iter().map(Problem::from).collect()),
    };
    let choices = plan.choices(&training, &tensors, problems)?;
    // What is pinned stays as it is here, edited or not.
    let pinned = pinned.into_keys().map(|at| (at, choices.formats[at])).collect();
    let (formats, recomputed) = (choices.formats, choices.recomputed);
    let assignment = Assignment::of_choices(&training, batch, &tensors, method, plan.by_level(), formats, recomputed)?;
    let check = |budget| threads::check(&training, &assignment, lowering, budget);
    let solved = options.budget.as_ref().map(check).transpose()?;
    let (asked, budget, fp32) = (Asked::of(options), options.budget.clone(), fp32::Kept::default());
    let chosen = Chosen { assignment, pinned, asked, budget, solved, fp32 };
    Compiled::build(model, training, chosen, lowering)
}

/// The training graph of a network, to which the budget's profile belongs.
fn training(forward: &Graph, options: &Options) -> Result<Graph, CompileError> {
    verify(forward).map_err(CompileError::Graph)?;
    if let Some(measured) = options.budget.as_ref().and_then(|budget| budget.measured.as_ref()) {
        measured.profile.check(forward)?;
    }
    Ok(training_with(forward, &options.optimizer, options.updates)?)
}

/// The formats that pins give to the tensors of a training graph.
fn pinned(training: &Graph, tensors: &[Tensor], options: &Options) -> Result<Pinned, Vec<PinError>> {
    let method = options.method;
    let formats = if method == Method::Fp32 { Formats::FP32 } else { options.formats };
    let widest = options.budget.as_ref().filter(|_| method == Method::Ilp).and_then(Budget::widest);
    let high = widest.unwrap_or(PinFormats { forward: formats.high, backward: formats.high });
    pins_of(&options.pins, training, tensors, method, &formats, high)
}
