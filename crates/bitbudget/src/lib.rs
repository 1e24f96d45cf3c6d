//! Compiles a network into a mixed-precision trainer: the whole way through the compiler in one function.
//!
//! [`compile`] composes the passes, which know nothing of each other: `autodiff` makes the training graph, `precision`
//! gives every tensor a format, `schedule` orders it, `lower` turns it into a program.
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

mod trainer;

use bitbudget_autodiff::{Evaluation, Optimizer, evaluation, training};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, GraphError, Model, NodeId, verify};
use bitbudget_lower::{LowerError, lower};
use bitbudget_precision::{AssignError, Assignment, Formats, Method, assign};
use bitbudget_program::Program;
use bitbudget_schedule::plan;
use std::collections::BTreeMap;

pub use trainer::TrainerError;

/// What to compile for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Examples per step.
    pub batch: usize,
    /// How parameters are updated.
    pub optimizer: Optimizer,
    /// How formats are chosen.
    pub method: Method,
    /// The share of elements to make low at least, for the methods that go by it.
    pub low_ratio: f64,
    /// The seed of random choices.
    pub seed: u64,
    /// What high and low mean.
    pub formats: Formats,
}

impl Default for Options {
    /// The paper's setting: batch 128, SGD, demotion of half of the elements.
    fn default() -> Self {
        let (optimizer, formats) = (Optimizer::sgd(), Formats::PAPER);
        Options { batch: 128, optimizer, method: Method::Demote, low_ratio: 0.5, seed: 0, formats }
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
    /// The training step as a program.
    pub train: Program,
    /// The evaluation as a program, in the same formats.
    pub evaluate: Program,
    /// Initial values of parameters, states and constants by name.
    pub values: BTreeMap<String, Vec<f32>>,
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
    let training = training(&model.graph, &options.optimizer)?;
    let Options { batch, method, low_ratio, seed, formats, .. } = *options;
    let assignment = assign(&training, batch, method, low_ratio, seed, formats)?;
    Compiled::assemble(model, training, assignment)
}

impl Compiled {
    fn assemble(model: Model, training: Graph, assignment: Assignment) -> Result<Compiled, CompileError> {
        let evaluation = evaluation(&training)?;
        let train = program(&training, &assignment.formats, assignment.batch)?;
        let formats = assignment.renamed(&evaluation.from_training, evaluation.graph.len());
        let evaluate = program(&evaluation.graph, &formats, assignment.batch)?;
        let Model { graph: forward, values } = model;
        Ok(Compiled { forward, training, evaluation, assignment, train, evaluate, values })
    }

    /// The evaluation without any rounding.
    ///
    /// # Errors
    /// If the graph cannot be lowered.
    pub fn evaluate_fp32(&self) -> Result<Program, CompileError> {
        let graph = &self.evaluation.graph;
        Ok(program(graph, &vec![Format::FP32; graph.len()], self.assignment.batch)?)
    }

    /// Makes tensors (nodes of the training graph) high for good and lowers anew; returns those that were low.
    ///
    /// # Errors
    /// If the graph cannot be lowered.
    pub fn promote(&mut self, tensors: &[u32]) -> Result<Vec<NodeId>, CompileError> {
        let nodes: Vec<NodeId> = tensors.iter().map(|&t| NodeId(t)).collect();
        let promoted = self.assignment.promote(&self.training, &nodes);
        if !promoted.is_empty() {
            let formats = self.assignment.renamed(&self.evaluation.from_training, self.evaluation.graph.len());
            self.train = program(&self.training, &self.assignment.formats, self.assignment.batch)?;
            self.evaluate = program(&self.evaluation.graph, &formats, self.assignment.batch)?;
        }
        Ok(promoted)
    }
}

fn program(graph: &Graph, formats: &[Format], batch: usize) -> Result<Program, LowerError> {
    lower(graph, formats, &plan(graph, formats), batch)
}
