//! Between a compiled trainer and its file form.

mod error;
mod file;

use crate::compiled::Chosen;
use crate::fp32::Kept;
use crate::plan::Text;
use crate::{Budget, Compiled, Engine, Limit, Lowering, Measured, Plan, Rules, Solved, Storage};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, Model};
use bitbudget_precision::{Assignment, Level, Pinned, tensors};
use bitbudget_profile::Profile;
use bitbudget_program::Machine;
use file::File;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;

pub use error::TrainerError;
pub use file::DecodeError;
pub(crate) use file::is_trainer;

/// A trainer's compilation: the record that assignment files have too, and the fields that only a trainer needs.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// The assignment with its settings and those of its budget, whose limit is in bytes. The optimizer is in the training graph.
    plan: Plan,
    lowering: LoweringRecord,
    /// The groups that are demoted, and the tensors that are low: promotion goes by these, and formats do not tell them where high
    /// and low ones are the same.
    demoted: Vec<usize>,
    low: BTreeSet<usize>,
    /// The tensors that keep their formats, those in which tensors overflowed, and the tensors that nothing wider fits.
    pinned: BTreeSet<usize>,
    overflowed: Vec<(usize, Text<Format>)>,
    refused: BTreeSet<usize>,
    /// Fields that a plan words differently, or leaves to the run.
    budget: Option<FittedRecord>,
}

/// How programs are built. An assignment file leaves that, and the threads, to the options of the run.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LoweringRecord {
    simulated: bool,
    rewrite: bool,
    reassociation: bool,
    threads: usize,
    /// Whether its programs are made for CUDA devices.
    #[serde(default)]
    cuda: bool,
}

/// A budget that was fitted. An assignment file names the profile's file, and FP32's peak is another at another batch.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FittedRecord {
    /// Bytes of FP32's peak.
    fp32: usize,
    profile: Option<Profile>,
}

impl Compiled {
    /// The file form, with the given values of parameters, states and constants.
    pub fn encode(&self) -> Vec<u8> {
        File {
            forward: self.forward.clone(),
            training: self.training.clone(),
            assignment: json!(self.record()).to_string(),
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
        let record: Record = serde_json::from_str(&trainer.assignment).map_err(TrainerError::of_another_build)?;
        let (assignment, pinned) = record.assignment(&trainer.training)?;
        let budget = record.budget();
        let (asked, lowering) = (record.plan.asked(), record.lowering.lowering());
        let fp32 = record.budget.as_ref().map(|fitted| fitted.fp32);
        let (model, fp32_step) = (Model { graph: trainer.forward, values: trainer.values }, Kept::default());
        let chosen = Chosen { assignment, pinned, asked, budget, solved: None, fp32: fp32_step };
        let mut compiled = Compiled::build(model, trainer.training, chosen, lowering)?;
        compiled.solved = compiled.fitted(fp32)?;
        compiled.overflowed = record.overflowed.iter().map(|&(at, Text(format))| (at, format)).collect();
        compiled.progress = trainer.progress;
        compiled.refused = record.refused;
        Ok(compiled)
    }

    /// The settings of the assignment, and its result.
    fn record(&self) -> Record {
        let Compiled { training, assignment, asked, lowering, .. } = self;
        let fitted = self.budget.as_ref().zip(self.solved.as_ref());
        let in_bytes = fitted.map(|(budget, solved)| Budget { limit: Limit::Bytes(solved.budget), ..budget.clone() });
        let low = assignment.levels.iter().enumerate().filter(|&(_, &level)| level == Level::Low);
        Record {
            plan: Plan::of(training, assignment, assignment.by_level, asked, in_bytes.as_ref()),
            lowering: LoweringRecord {
                simulated: lowering.storage == Storage::Simulated,
                rewrite: lowering.rewrite.is_some(),
                reassociation: lowering.rewrite == Some(Rules::Reassociating),
                threads: lowering.threads,
                cuda: lowering.machine == Machine::Cuda,
            },
            demoted: assignment.demoted.clone(),
            low: low.map(|(tensor, _)| tensor).collect(),
            pinned: self.pinned.keys().copied().collect(),
            overflowed: self.overflowed.iter().map(|(&at, &format)| (at, Text(format))).collect(),
            refused: self.refused.clone(),
            budget: fitted.map(|(budget, solved)| FittedRecord {
                fp32: solved.fp32,
                profile: budget.measured.as_ref().map(|measured| measured.profile.clone()),
            }),
        }
    }

    /// The result of the assignment under the budget, if the file has one.
    ///
    /// # Errors
    /// If it is more than the budget.
    fn fitted(&self, fp32: Option<usize>) -> Result<Option<Solved>, TrainerError> {
        let (Some(Budget { limit: Limit::Bytes(budget), .. }), Some(fp32)) = (&self.budget, fp32) else {
            return Ok(None);
        };
        let (budget, peak) = (*budget, self.step_bytes());
        if peak > budget {
            return Err(TrainerError::Budget { budget, needed: peak });
        }
        let (solver, demote, demote_allowed, instead) = (None, None, false, None);
        Ok(Some(Solved { budget, fp32, peak, solver, demote, demote_allowed, instead }))
    }
}

impl LoweringRecord {
    fn lowering(&self) -> Lowering {
        let storage = if self.simulated { Storage::Simulated } else { Storage::Packed };
        let machine = if self.cuda { Machine::Cuda } else { Machine::Cpu };
        let rules = if self.reassociation { Rules::Reassociating } else { Rules::Exact };
        Lowering { storage, rewrite: self.rewrite.then_some(rules), threads: self.threads, machine }
    }
}

impl Record {
    /// The assignment, and the formats of what is pinned.
    ///
    /// # Errors
    /// If it is not one of the training graph.
    fn assignment(&self, graph: &Graph) -> Result<(Assignment, Pinned), TrainerError> {
        self.plan.check().map_err(TrainerError::of_plan)?;
        let (method, batch) = self.plan.method_and_batch();
        let tensors = tensors(graph, batch);
        let choices = self.plan.choices(graph, &tensors, Vec::new()).map_err(TrainerError::of_plan)?;
        let (formats, recomputed) = (choices.formats, choices.recomputed);
        let by_level = self.plan.by_level();
        let mut assignment = Assignment::of_choices(graph, batch, &tensors, method, by_level, formats, recomputed)?;
        let overflowed: BTreeSet<usize> = self.overflowed.iter().map(|&(at, _)| at).collect();
        let groups: BTreeSet<usize> = self.demoted.iter().copied().collect();
        let (tensors, none) = (assignment.tensors.len(), "does not name tensors of the network");
        for (field, positions, count, reason) in [
            ("low", &self.low, tensors, none),
            ("pinned", &self.pinned, tensors, none),
            ("overflowed", &overflowed, tensors, none),
            ("refused", &self.refused, tensors, none),
            ("demoted", &groups, assignment.groups.len(), "does not name groups of the network"),
        ] {
            if positions.last().is_some_and(|&last| last >= count) {
                return Err(TrainerError::field(field, reason));
            }
        }
        let level = |tensor| if self.low.contains(&tensor) { Level::Low } else { Level::High };
        assignment.levels = (0..tensors).map(level).collect();
        assignment.demoted = self.demoted.clone();
        let pinned = self.pinned.iter().map(|&at| (at, assignment.chosen[at])).collect();
        Ok((assignment, pinned))
    }

    /// The budget, with which promotion goes on by the embedded solver.
    fn budget(&self) -> Option<Budget> {
        let fitted = self.budget.as_ref()?;
        let budget = self.plan.options(self.lowering.threads).budget?;
        let measured = |name: &str| Some(Measured { name: name.to_string(), profile: fitted.profile.clone()? });
        let measured = self.plan.profile().and_then(measured);
        Some(Budget { measured, engine: Engine::Embedded, ..budget })
    }
}
