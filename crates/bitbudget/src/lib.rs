//! Compiles a network into a mixed-precision trainer: the whole way through the compiler in one function.
//!
//! [`compile`] composes the passes, which know nothing of each other: `autodiff` makes the training graph, `precision`
//! gives every tensor a format, `rewrite` replaces operators by equal ones that need less memory then, `schedule` orders
//! them and gives their tensors places, `lower` turns all that into a program.
//!
//! ```
//! use bitbudget::{Options, compile};
//! use bitbudget_zoo::{Network, Spec, build};
//!
//! let spec = Spec { network: Network::SqueezeNet, width: 0.1, classes: 10, input: [3, 32, 32], seed: 0 };
//! let compiled = compile(build(&spec)?, &Options { batch: 8, ..Options::default() })?;
//! assert_eq!(compiled.train.batch, 8);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod budget;
mod profiling;
mod trainer;

use bitbudget_autodiff::{Evaluation, Optimizer, Updates, evaluation, training_with};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, GraphError, Model, NodeId, verify};
use bitbudget_lower::{LowerError, lower};
use bitbudget_precision::{AssignError, Assignment, Formats, Method, assign};
use bitbudget_program::Program;
use bitbudget_rewrite::{Recomputed, recompute, rewrite};
use bitbudget_schedule::{Place, Schedule, Setting, plan, plan_in_order};
use std::collections::BTreeMap;

pub use bitbudget_precision::budget::Granularity;
pub use bitbudget_schedule::{Memory, Storage};
pub use bitbudget_solver::Engine;
pub use budget::{Budget, BudgetError, Certificate, Demoted, Limit, Solved};
pub use profiling::{profile_kind, profiling};
pub use trainer::TrainerError;

/// What to compile for.
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
    /// The share of elements to make low at least, for the methods that go by it.
    pub low_ratio: f64,
    /// The seed of random choices.
    pub seed: u64,
    /// What high and low mean.
    pub formats: Formats,
    /// How tensors are stored.
    pub storage: Storage,
    /// The memory that the training step may take; `None` for as much as the method takes.
    pub budget: Option<Budget>,
}

impl Default for Options {
    /// The paper's setting: batch 128, SGD, demotion of half of the elements.
    fn default() -> Self {
        let (optimizer, formats, storage) = (Optimizer::sgd(), Formats::PAPER, Storage::Packed);
        let (method, updates) = (Method::Demote, Updates::IfFinite);
        Options { batch: 128, optimizer, updates, method, low_ratio: 0.5, seed: 0, formats, storage, budget: None }
    }
}

/// A compiled trainer.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The network.
    pub forward: Graph,
    /// Its training step.
    pub training: Graph,
    /// Its evaluation.
    pub evaluation: Evaluation,
    /// The formats of the training graph's tensors.
    pub assignment: Assignment,
    /// How they are stored.
    pub storage: Storage,
    /// How the assignment came to fit a budget, if there was one.
    pub solved: Option<Solved>,
    /// The memory of a training step at its peak, without what threads need for themselves.
    pub peak: Peak,
    /// The training step as a program.
    pub train: Program,
    /// The evaluation as a program, in the same formats.
    pub evaluate: Program,
    /// Initial values of parameters, states and constants by name.
    pub values: BTreeMap<String, Vec<f32>>,
}

/// The peak of a training step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peak {
    /// Bytes by use.
    pub memory: Memory,
    /// The number of the instruction at which the peak is, among those that compute.
    pub instruction: usize,
    /// How many instructions compute.
    pub instructions: usize,
    /// What that instruction computes, with the tensor's name.
    pub computes: String,
}

/// Why a network cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The network or its derivative is not well formed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Graph(Vec<GraphError>),
    /// The formats cannot be chosen.
    #[error(transparent)]
    Assign(#[from] AssignError),
    /// No assignment fits the budget.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// The graph cannot be lowered.
    #[error(transparent)]
    Lower(#[from] LowerError),
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
    verify(&model.graph).map_err(CompileError::Graph)?;
    let training = training_with(&model.graph, &options.optimizer, options.updates)?;
    let Options { batch, method, low_ratio, seed, formats, storage, .. } = *options;
    let (assignment, solved) = match &options.budget {
        Some(budget) => {
            budget::fit(&training, options, budget).map(|(assignment, solved)| (assignment, Some(solved)))?
        }
        None => (assign(&training, batch, method, low_ratio, seed, formats)?, None),
    };
    let compiled = Compiled::assemble(model, training, assignment, storage)?;
    Ok(Compiled { solved, ..compiled })
}

impl Compiled {
    fn assemble(
        model: Model,
        training: Graph,
        assignment: Assignment,
        storage: Storage,
    ) -> Result<Compiled, CompileError> {
        let evaluation = evaluation(&training)?;
        let batch = assignment.batch;
        let Lowered { program: train, graph, schedule } =
            program(&training, &assignment.formats, &assignment.recomputed, batch, storage)?;
        let formats = assignment.renamed(&evaluation.from_training, evaluation.graph.len());
        let evaluate = program(&evaluation.graph, &formats, &[], batch, storage)?.program;
        let peak = peak(&graph, &schedule);
        let Model { graph: forward, values } = model;
        Ok(Compiled { forward, training, evaluation, assignment, storage, solved: None, peak, train, evaluate, values })
    }

    /// The evaluation without any rounding.
    ///
    /// # Errors
    /// If the graph cannot be lowered.
    pub fn evaluate_fp32(&self) -> Result<Program, CompileError> {
        let graph = &self.evaluation.graph;
        Ok(program(graph, &vec![Format::FP32; graph.len()], &[], self.assignment.batch, self.storage)?.program)
    }

    /// Makes tensors (nodes of the training graph) high for good and lowers anew; returns those that were low.
    ///
    /// # Errors
    /// If the graph cannot be lowered.
    pub fn promote(&mut self, tensors: &[u32]) -> Result<Vec<NodeId>, CompileError> {
        let nodes: Vec<NodeId> = tensors.iter().map(|&t| NodeId(t)).collect();
        let promoted = self.assignment.promote(&self.training, &nodes);
        if !promoted.is_empty() {
            let batch = self.assignment.batch;
            let formats = self.assignment.renamed(&self.evaluation.from_training, self.evaluation.graph.len());
            let Assignment { formats: chosen, recomputed, .. } = &self.assignment;
            let Lowered { program: train, graph, schedule } =
                program(&self.training, chosen, recomputed, batch, self.storage)?;
            self.train = train;
            self.peak = peak(&graph, &schedule);
            self.evaluate = program(&self.evaluation.graph, &formats, &[], batch, self.storage)?.program;
        }
        Ok(promoted)
    }
}

/// The peak that a schedule states, in words too.
fn peak(graph: &Graph, schedule: &Schedule) -> Peak {
    let computes = |step: &bitbudget_schedule::Step| {
        let node = |&id: &NodeId| match graph.node(id).name.as_str() {
            "" => format!("{} {id}", graph.op(id).name()),
            name => format!("{} `{name}`", graph.op(id).name()),
        };
        step.nodes.iter().map(node).collect::<Vec<_>>().join(" and ")
    };
    let is_view = |step: &&bitbudget_schedule::Step| {
        step.nodes.iter().all(|id| schedule.places[id.index()] == Some(Place::Alias))
    };
    let at = schedule.peak.step;
    Peak {
        memory: schedule.peak,
        instruction: schedule.steps.iter().take(at).filter(|step| !is_view(step)).count(),
        instructions: schedule.steps.iter().filter(|step| !is_view(step)).count(),
        computes: schedule.steps.get(at).map(computes).unwrap_or_default(),
    }
}

/// A program with the graph and the schedule that it was lowered from.
struct Lowered {
    program: Program,
    graph: Graph,
    schedule: Schedule,
}

/// From a graph with formats to a program; the backward pass computes the nodes in `recomputed` again.
fn program(
    graph: &Graph,
    formats: &[Format],
    recomputed: &[NodeId],
    batch: usize,
    storage: Storage,
) -> Result<Lowered, CompileError> {
    let (graph, formats) = rewrite(graph, formats)?;
    if recomputed.is_empty() {
        let workspace = workspace(&graph, &formats, batch);
        let setting = Setting { batch, storage, workspace: &workspace };
        let schedule = plan(&graph, &formats, &setting);
        return Ok(Lowered { program: lower(&graph, &formats, &schedule, &setting)?, graph, schedule });
    }
    let order = order(&graph, batch);
    let Recomputed { graph, formats, origins } = recompute(&graph, &formats, &order, recomputed)?;
    let workspace = workspace(&graph, &formats, batch);
    let setting = Setting { batch, storage, workspace: &workspace };
    let schedule = plan_in_order(&graph, &formats, &setting);
    let mut program = lower(&graph, &formats, &schedule, &setting)?;
    // Overflows are counted by nodes of the training graph, and once.
    program.count_as(&|id| origins.get(id as usize).filter(|origin| !origin.again).map(|origin| origin.node.0));
    Ok(Lowered { program, graph, schedule })
}

/// The order in which nodes are computed, whatever their formats.
fn order(graph: &Graph, batch: usize) -> Vec<NodeId> {
    let setting = Setting { batch, storage: Storage::Packed, workspace: &[] };
    let schedule = plan(graph, &vec![Format::FP32; graph.len()], &setting);
    schedule.steps.into_iter().flat_map(|step| step.nodes).collect()
}

/// Bytes that every node's kernel needs beside operands and result.
fn workspace(graph: &Graph, formats: &[Format], batch: usize) -> Vec<usize> {
    let of = |id: NodeId| {
        let operands = graph.operands(id);
        let shape = |id: NodeId| graph.ty(id).shape.at(batch);
        let operands: Vec<(Vec<usize>, Format)> = operands.iter().map(|&o| (shape(o), formats[o.index()])).collect();
        bitbudget_exec::workspace(graph.op(id), &operands, &shape(id))
    };
    graph.ids().map(of).collect()
}
