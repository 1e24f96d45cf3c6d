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
//! Everything that fails is an [`Error`], with a kind and a place beside its message.

mod annotations;
#[cfg(test)]
mod budget_tests;
mod build;
pub mod comparison;
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

use bitbudget_autodiff::{evaluation, training_with};
use bitbudget_budget::{Network, Overflowed, fit};
use bitbudget_ir::verify;
use bitbudget_lower::LowerError;
use bitbudget_precision::{PinError, Pinned, Setting, Tensor, assign_with, pins_of, tensors};
use build::{Built, build, computes, is_view, rewritten, smallest};
use std::collections::{BTreeMap, BTreeSet};

pub use annotations::{Annotated, Pairs, annotated, forward_formats};
pub use bitbudget_budget::{
    Available, Budget, BudgetError, Certificate, Demoted, Engine, Granularity, LARGEST_TIME_WEIGHT, LONGEST_SEARCH,
    Limit, Measured, MemoryError, ParseLimitError, Priced, Shortage, Solved,
};
pub use build::Lowering;
pub use drawing::Shown;
pub use error::{Error, ErrorKind};
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

/// A compiled trainer.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The network.
    pub forward: Graph,
    /// Its training step.
    pub training: Graph,
    /// Its evaluation, whose nodes stand for those of the training step.
    pub evaluation: Graph,
    /// The formats of the training graph's tensors.
    pub assignment: Assignment,
    /// How graphs become programs.
    pub lowering: Lowering,
    /// The memory that a training step may take, and how an assignment that fits is searched for.
    pub budget: Option<Budget>,
    /// How the assignment came to fit the budget, if there was one.
    pub solved: Option<Solved>,
    /// The FP32 step that searches go by.
    fp32: fp32::Kept,
    /// The formats in which tensors overflowed in training.
    overflowed: Overflowed,
    /// The tensors that overflow and stay as they are, since nothing wider fits the budget.
    refused: BTreeSet<usize>,
    /// The tensors that are pinned, with their formats.
    pinned: Pinned,
    /// The memory of a training step at its peak, without what threads need for themselves.
    pub peak: Peak,
    /// The training step as a program.
    pub train: Program,
    /// The evaluation as a program, in the same formats; of smaller batches where it would take more memory than a step.
    pub evaluate: Program,
    /// Initial values of parameters, states and constants by name.
    pub values: BTreeMap<String, Vec<f32>>,
    /// How far the values have been trained.
    pub progress: Progress,
}

/// The peak of a training step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peak {
    /// Bytes by use.
    pub memory: Memory,
    /// The number of the instruction at which the peak is, among those that compute.
    pub instruction: usize,
    /// The number of instructions that compute.
    pub instructions: usize,
    /// The computation of that instruction, with the tensor's name.
    pub computes: String,
}

/// Why a network cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The network or its derivative is not well formed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Graph(Vec<GraphError>),
    /// Pins have no meaning for the network.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Pins(Vec<PinError>),
    /// The assignment that was given is not one of the network.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The formats cannot be chosen.
    #[error(transparent)]
    Assign(#[from] AssignError),
    /// No assignment fits the budget.
    #[error(transparent)]
    Budget(BudgetError),
    /// The profile is not the network's.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The graph cannot be lowered.
    #[error(transparent)]
    Lower(#[from] LowerError),
}

/// What passes say of a step that the search asks for is said as they say it.
impl From<BudgetError> for CompileError {
    fn from(error: BudgetError) -> CompileError {
        match error {
            BudgetError::Assign(error) => CompileError::Assign(error),
            BudgetError::Build(failure) => match failure.downcast() {
                Ok(error) => *error,
                Err(failure) => CompileError::Budget(BudgetError::Build(failure)),
            },
            error => CompileError::Budget(error),
        }
    }
}

impl From<GraphError> for CompileError {
    fn from(error: GraphError) -> CompileError {
        CompileError::Graph(vec![error])
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
    let chosen = Chosen { assignment, pinned, budget: options.budget.clone(), solved, fp32 };
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
    let chosen = Chosen { assignment, pinned, budget: options.budget.clone(), solved, fp32: fp32::Kept::default() };
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

/// An assignment, and how it was chosen.
struct Chosen {
    assignment: Assignment,
    pinned: Pinned,
    budget: Option<Budget>,
    solved: Option<Solved>,
    fp32: fp32::Kept,
}

impl Compiled {
    /// The second half of the compiler: programs of a training step and of the evaluation.
    fn build(model: Model, training: Graph, chosen: Chosen, lowering: Lowering) -> Result<Compiled, CompileError> {
        let Chosen { assignment, pinned, budget, solved, fp32 } = chosen;
        let evaluation = evaluation(&training)?;
        let built = build(&training, &assignment, lowering)?;
        let evaluate = evaluating(&evaluation.stored_in(&assignment.formats), &built.program, lowering)?;
        let peak = peak(&training, &built);
        let Model { graph: forward, values } = model;
        Ok(Compiled {
            forward,
            training,
            evaluation,
            assignment,
            lowering,
            budget,
            solved,
            fp32,
            overflowed: Overflowed::new(),
            refused: BTreeSet::new(),
            pinned,
            peak,
            train: built.program,
            evaluate,
            values,
            progress: Progress::default(),
        })
    }

    /// The evaluation without any rounding.
    ///
    /// # Errors
    /// If the graph cannot be lowered.
    pub fn evaluate_fp32(&self) -> Result<Program, CompileError> {
        evaluating(&self.evaluation, &self.train, self.lowering)
    }

    /// Takes another assignment of the same training graph.
    ///
    /// # Errors
    /// If the graph cannot be lowered.
    fn assign(&mut self, assignment: Assignment) -> Result<(), CompileError> {
        let built = build(&self.training, &assignment, self.lowering)?;
        let evaluation = self.evaluation.stored_in(&assignment.formats);
        self.evaluate = evaluating(&evaluation, &built.program, self.lowering)?;
        self.peak = peak(&self.training, &built);
        self.train = built.program;
        self.assignment = assignment;
        Ok(())
    }
}

/// The evaluation as a program, at the largest batch (half that of training, and so on) at which its tensors take no more
/// memory than those of a training step; of the forms that it can have, the one that adds least to a training step's memory.
fn evaluating(graph: &Graph, train: &Program, lowering: Lowering) -> Result<Program, CompileError> {
    let step = Footprint::predicted(train, lowering.threads);
    let beyond = |lowered: &Built| {
        let Footprint { arena, scratch, .. } = Footprint::predicted(&lowered.program, lowering.threads);
        arena.saturating_sub(step.arena) + scratch.saturating_sub(step.scratch)
    };
    let rewritten = rewritten(graph, lowering)?;
    let mut batch = train.batch;
    loop {
        let program = smallest(graph, &rewritten, &[], batch, lowering, &beyond)?.program;
        if program.arena <= train.arena || batch <= 1 {
            return Ok(program);
        }
        batch /= 2;
    }
}

/// The peak that a step's schedule states, in words too.
fn peak(training: &Graph, built: &Built) -> Peak {
    let Built { graph, schedule, .. } = built;
    let at = schedule.peak.step;
    Peak {
        memory: schedule.peak,
        instruction: schedule.steps.iter().take(at).filter(|step| !is_view(schedule, step)).count(),
        instructions: schedule.steps.iter().filter(|step| !is_view(schedule, step)).count(),
        computes: schedule.steps.get(at).map(|step| computes(training, graph, step)).unwrap_or_default(),
    }
}
