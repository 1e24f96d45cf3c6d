//! Between a compiled trainer and its file form.

mod file;

use crate::fp32::Kept;
use crate::{Budget, Chosen, CompileError, Compiled, Engine, Limit, Lowering, Measured, Rules, Solved, Storage};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, Model, NodeId, TrainingId};
use bitbudget_precision::{AssignError, Assignment, Formats, Level, Method, tensors};
use bitbudget_profile::Profile;
use bitbudget_report::Rounding::{Nearest, Up};
use bitbudget_report::amounts;
use file::File;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub use file::DecodeError;
pub(crate) use file::is_trainer;

/// Why a trainer file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrainerError {
    /// It is damaged.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Its assignment does not fit its graph.
    #[error("the trainer file's assignment is damaged: {0}")]
    Assignment(String),
    /// Its checksum is right, but its assignment is not one that this build writes.
    #[error("the trainer file is another build's: {0}; compile the network again")]
    Build(String),
    /// The programs that this build makes of it take more memory than its budget.
    #[error(
        "as this build compiles the trainer file, a step takes {}; compile the network again",
        above(*.needed, *.budget)
    )]
    Budget {
        /// Bytes of the budget.
        budget: usize,
        /// Bytes of a step at its peak.
        needed: usize,
    },
    /// It cannot be built.
    #[error(transparent)]
    Compile(#[from] CompileError),
}

fn above(needed: usize, budget: usize) -> String {
    let [needed, budget] = amounts([(needed, Up), (budget, Nearest)]);
    format!("{needed}, more than its budget of {budget}")
}

impl From<AssignError> for TrainerError {
    fn from(error: AssignError) -> TrainerError {
        TrainerError::Assignment(error.to_string())
    }
}

impl Compiled {
    /// The file form, with the given values of parameters, states and constants.
    pub fn encode(&self) -> Vec<u8> {
        File {
            forward: self.forward.clone(),
            training: self.training.clone(),
            assignment: self.record().to_string(),
            values: self.values.clone(),
            progress: self.progress,
        }
        .encode()
    }

    /// The compiled trainer of a file form.
    ///
    /// # Errors
    /// If the bytes are not a trainer file, or one that is damaged or from another build.
    pub fn decode(bytes: &[u8]) -> Result<Compiled, TrainerError> {
        let trainer = File::decode(bytes)?;
        let wrong = |e: serde_json::Error| TrainerError::Build(format!("its assignment has {e}"));
        let record: Record = serde_json::from_str(&trainer.assignment).map_err(wrong)?;
        let (assignment, lowering) = assignment(&trainer.training, &record)?;
        let mut positions = record.overflowed.iter().map(|(at, _)| at).chain(&record.refused).chain(&record.pinned);
        if positions.any(|&at| at >= assignment.tensors.len()) {
            return Err(TrainerError::Assignment("`overflowed`, `refused` or `pinned` is wrong".into()));
        }
        let model = Model { graph: trainer.forward, values: trainer.values };
        let pinned = record.pinned.iter().map(|&at| (at, assignment.chosen[at])).collect();
        let chosen = Chosen { assignment, pinned, budget: None, solved: None, fp32: Kept::default() };
        let mut compiled = Compiled::build(model, trainer.training, chosen, lowering)?;
        if let Some(record) = &record.budget {
            record.give(&mut compiled)?;
        }
        for (at, name) in &record.overflowed {
            compiled.overflowed.insert(*at, format(name)?);
        }
        compiled.progress = trainer.progress;
        compiled.refused = record.refused.clone();
        Ok(compiled)
    }

    /// What the assignment was made by, and what it chose.
    fn record(&self) -> Value {
        let Compiled { assignment, lowering, .. } = self;
        let low = assignment.levels.iter().enumerate().filter(|&(_, &level)| level == Level::Low);
        let Formats { high, low_forward, low_backward, low_parameter_gradient } = assignment.by_level;
        json!({
            "method": assignment.method.to_string(),
            "batch": assignment.batch,
            "simulated": lowering.storage == Storage::Simulated,
            "rewrite": lowering.rewrite.is_some(),
            "threads": lowering.threads,
            "reassociation": lowering.rewrite == Some(Rules::Reassociating),
            "demoted": assignment.demoted,
            "high": high.to_string(),
            "low_forward": low_forward.to_string(),
            "low_backward": low_backward.to_string(),
            "low_parameter_gradient": low_parameter_gradient.to_string(),
            "low": low.map(|(tensor, _)| tensor).collect::<Vec<_>>(),
            "chosen": names(&assignment.chosen),
            "recomputed": assignment.recomputed.iter().map(|id| id.0).collect::<Vec<_>>(),
            "budget": self.budget.as_ref().zip(self.solved.as_ref()).map(|(budget, solved)| BudgetRecord::of(budget, solved)),
            "overflowed": self.overflowed.iter().map(|(at, format)| (at, format.to_string())).collect::<Vec<_>>(),
            "refused": self.refused,
            "pinned": self.pinned.keys().collect::<Vec<_>>(),
        })
    }
}

/// A setting of the assignment that cannot be read.
fn damaged(error: impl std::fmt::Display) -> TrainerError {
    TrainerError::Assignment(error.to_string())
}

fn names(formats: &[Format]) -> Vec<String> {
    formats.iter().map(ToString::to_string).collect()
}

fn format(name: &str) -> Result<Format, TrainerError> {
    name.parse().map_err(|_| TrainerError::Assignment(format!("`{name}` is wrong")))
}

/// The file form of an assignment.
#[derive(Deserialize)]
struct Record {
    method: String,
    batch: usize,
    simulated: bool,
    rewrite: bool,
    threads: usize,
    reassociation: bool,
    demoted: Vec<usize>,
    high: String,
    low_forward: String,
    low_backward: String,
    low_parameter_gradient: String,
    low: BTreeSet<usize>,
    chosen: Vec<String>,
    recomputed: Vec<u32>,
    budget: Option<BudgetRecord>,
    overflowed: Vec<(usize, String)>,
    refused: BTreeSet<usize>,
    pinned: BTreeSet<usize>,
}

/// The file form of a budget, with which promotion goes on.
#[derive(Serialize, Deserialize)]
struct BudgetRecord {
    bytes: usize,
    fp32: usize,
    threads: usize,
    forward: Vec<String>,
    backward: Vec<String>,
    recompute: bool,
    granularity: String,
    time_weight: f64,
    max_slowdown: Option<f64>,
    profile: Option<(String, Profile)>,
    seconds: f64,
}

impl BudgetRecord {
    fn of(budget: &Budget, solved: &Solved) -> BudgetRecord {
        let measured = budget.measured.as_ref();
        BudgetRecord {
            bytes: solved.budget,
            fp32: solved.fp32,
            threads: budget.threads,
            forward: names(&budget.forward),
            backward: names(&budget.backward),
            recompute: budget.recompute,
            granularity: budget.granularity.to_string(),
            time_weight: budget.time_weight,
            max_slowdown: budget.max_slowdown,
            profile: measured.map(|Measured { name, profile }| (name.clone(), profile.clone())),
            seconds: budget.seconds,
        }
    }

    /// Gives a trainer its budget again.
    fn give(&self, compiled: &mut Compiled) -> Result<(), TrainerError> {
        let formats = |names: &[String]| names.iter().map(|name| format(name)).collect::<Result<Vec<_>, _>>();
        let measured = self.profile.clone().map(|(name, profile)| Measured { name, profile });
        compiled.budget = Some(Budget {
            limit: Limit::Bytes(self.bytes),
            threads: self.threads,
            forward: formats(&self.forward)?,
            backward: formats(&self.backward)?,
            recompute: self.recompute,
            granularity: self.granularity.parse().map_err(damaged)?,
            time_weight: self.time_weight,
            max_slowdown: self.max_slowdown,
            measured,
            engine: Engine::Embedded,
            seconds: self.seconds,
            effort: None,
        });
        let peak = compiled.step_bytes();
        if peak > self.bytes {
            return Err(TrainerError::Budget { budget: self.bytes, needed: peak });
        }
        compiled.solved = Some(Solved {
            budget: self.bytes,
            fp32: self.fp32,
            peak,
            solver: None,
            demote: None,
            demote_allowed: false,
            instead: None,
        });
        Ok(())
    }
}

fn assignment(graph: &Graph, record: &Record) -> Result<(Assignment, Lowering), TrainerError> {
    let wrong = |what: &str| TrainerError::Assignment(format!("`{what}` is wrong"));
    let method: Method = record.method.parse().map_err(|_| wrong("method"))?;
    let formats = Formats {
        high: format(&record.high)?,
        low_forward: format(&record.low_forward)?,
        low_backward: format(&record.low_backward)?,
        low_parameter_gradient: format(&record.low_parameter_gradient)?,
    };
    let chosen: Result<Vec<Format>, TrainerError> = record.chosen.iter().map(|name| format(name)).collect();
    let recomputed: Vec<TrainingId> = record.recomputed.iter().copied().map(TrainingId).collect();
    let backward = graph.backward();
    let is_result = |id: NodeId| graph.contains(id) && !backward[id.index()] && graph.op(id).source_name().is_none();
    let again = |id: &TrainingId| is_result(id.node());
    if !recomputed.iter().all(again) {
        return Err(wrong("recomputed"));
    }
    let (batch, tensors) = (record.batch, tensors(graph, record.batch));
    let mut assignment = Assignment::of_choices(graph, batch, &tensors, method, formats, chosen?, recomputed)?;
    let level = |tensor| if record.low.contains(&tensor) { Level::Low } else { Level::High };
    assignment.levels = (0..assignment.tensors.len()).map(level).collect();
    if record.demoted.iter().any(|&group| group >= assignment.groups.len()) {
        return Err(wrong("demoted"));
    }
    assignment.demoted = record.demoted.clone();
    let storage = if record.simulated { Storage::Simulated } else { Storage::Packed };
    let rules = if record.reassociation { Rules::Reassociating } else { Rules::Exact };
    Ok((assignment, Lowering { storage, rewrite: record.rewrite.then_some(rules), threads: record.threads }))
}
