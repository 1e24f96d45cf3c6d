//! A compiled trainer: graphs, an assignment, and the programs that are built of them.

use crate::build::{Built, Lowering, build, computes, is_view, rewritten, smallest};
use crate::fp32::Kept;
use crate::plan::Asked;
use crate::{Assignment, Budget, CompileError, Footprint, Graph, Memory, Model, Program, Progress, Solved};
use bitbudget_autodiff::evaluation;
use bitbudget_budget::Overflowed;
use bitbudget_precision::Pinned;
use std::collections::{BTreeMap, BTreeSet};

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
    /// How the assignment was asked for.
    pub(crate) asked: Asked,
    /// The FP32 step that searches go by.
    pub(crate) fp32: Kept,
    /// The formats in which tensors overflowed in training.
    pub(crate) overflowed: Overflowed,
    /// The tensors that overflow and stay as they are, since nothing wider fits the budget.
    pub(crate) refused: BTreeSet<usize>,
    /// The tensors that are pinned, with their formats.
    pub(crate) pinned: Pinned,
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

/// An assignment, and how it was chosen.
pub(crate) struct Chosen {
    pub(crate) assignment: Assignment,
    pub(crate) pinned: Pinned,
    pub(crate) asked: Asked,
    pub(crate) budget: Option<Budget>,
    pub(crate) solved: Option<Solved>,
    pub(crate) fp32: Kept,
}

impl Compiled {
    /// The second half of the compiler: programs of a training step and of the evaluation.
    pub(crate) fn build(
        model: Model,
        training: Graph,
        chosen: Chosen,
        lowering: Lowering,
    ) -> Result<Compiled, CompileError> {
        let Chosen { assignment, pinned, asked, budget, solved, fp32 } = chosen;
        let evaluation = evaluation(&training)?;
        let Programs { train, evaluate, peak } = programs(&training, &evaluation, &assignment, lowering)?;
        let Model { graph: forward, values } = model;
        Ok(Compiled {
            forward,
            training,
            evaluation,
            assignment,
            lowering,
            budget,
            solved,
            asked,
            fp32,
            overflowed: Overflowed::new(),
            refused: BTreeSet::new(),
            pinned,
            peak,
            train,
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
    pub(crate) fn assign(&mut self, assignment: Assignment) -> Result<(), CompileError> {
        let programs = programs(&self.training, &self.evaluation, &assignment, self.lowering)?;
        (self.train, self.evaluate, self.peak) = (programs.train, programs.evaluate, programs.peak);
        self.assignment = assignment;
        Ok(())
    }
}

/// The programs of an assignment, and the peak of a training step.
struct Programs {
    train: Program,
    evaluate: Program,
    peak: Peak,
}

fn programs(
    training: &Graph,
    evaluation: &Graph,
    assignment: &Assignment,
    lowering: Lowering,
) -> Result<Programs, CompileError> {
    let built = build(training, assignment, lowering)?;
    let evaluate = evaluating(&evaluation.stored_in(&assignment.formats), &built.program, lowering)?;
    Ok(Programs { peak: peak(training, &built), train: built.program, evaluate })
}

/// The evaluation as a program, at the largest batch (half that of training, and so on) at which its tensors take no more
/// memory than those of a training step, or at that of a network whose batch is fixed; of the forms that it can have, the one that adds least
/// to a training step's memory.
fn evaluating(graph: &Graph, train: &Program, lowering: Lowering) -> Result<Program, CompileError> {
    let step = Footprint::predicted(train, lowering.threads);
    let beyond =
        |taken: &Footprint| taken.arena.saturating_sub(step.arena) + taken.scratch.saturating_sub(step.scratch);
    let rewritten = rewritten(graph, lowering)?;
    let mut batch = train.batch;
    loop {
        let program = smallest(graph, &rewritten, &[], batch, lowering, &beyond)?.program;
        if program.arena <= train.arena || batch <= 1 || graph.fixed_batch().is_some() {
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
