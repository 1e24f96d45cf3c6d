//! Between a compiled trainer and its file form.

use crate::{CompileError, Compiled, Storage};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, Model, NodeId};
use bitbudget_precision::{AssignError, Assignment, Formats, Level, Method};
use bitbudget_program::{DecodeError, Trainer};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Why a trainer file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrainerError {
    /// It is damaged.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Its assignment does not fit its graph.
    #[error("the trainer file's assignment is damaged: {0}")]
    Assignment(String),
    /// It cannot be assembled again.
    #[error(transparent)]
    Compile(#[from] CompileError),
}

impl From<AssignError> for TrainerError {
    fn from(error: AssignError) -> TrainerError {
        TrainerError::Assignment(error.to_string())
    }
}

impl Compiled {
    /// The file form, with the given values of parameters, states and constants.
    pub fn encode(&self) -> Vec<u8> {
        Trainer {
            forward: self.forward.clone(),
            training: self.training.clone(),
            assignment: record(&self.assignment, self.storage).to_string(),
            values: self.values.clone(),
            train: self.train.clone(),
            evaluate: self.evaluate.clone(),
        }
        .encode()
    }

    /// The compiled trainer of a file form.
    ///
    /// # Errors
    /// If the bytes are no trainer file, or a damaged one.
    pub fn decode(bytes: &[u8]) -> Result<Compiled, TrainerError> {
        let trainer = Trainer::decode(bytes)?;
        let (assignment, storage) = assignment(&trainer.training, &trainer.assignment)?;
        let model = Model { graph: trainer.forward, values: trainer.values };
        let compiled = Compiled::assemble(model, trainer.training, assignment, storage)?;
        if (&compiled.train, &compiled.evaluate) != (&trainer.train, &trainer.evaluate) {
            return Err(TrainerError::Assignment("the stored programs are not those of its graph".into()));
        }
        Ok(compiled)
    }
}

/// What an assignment was made by, and what it chose.
fn record(assignment: &Assignment, storage: Storage) -> Value {
    let low = assignment.levels.iter().enumerate().filter(|&(_, &level)| level == Level::Low);
    let Formats { high, low_forward, low_backward, low_parameter_gradient } = assignment.by_level;
    json!({
        "method": assignment.method.to_string(),
        "batch": assignment.batch,
        "simulated": storage == Storage::Simulated,
        "demoted": assignment.demoted,
        "high": high.to_string(),
        "low_forward": low_forward.to_string(),
        "low_backward": low_backward.to_string(),
        "low_parameter_gradient": low_parameter_gradient.to_string(),
        "low": low.map(|(tensor, _)| tensor).collect::<Vec<_>>(),
        "chosen": assignment.chosen.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "recomputed": assignment.recomputed.iter().map(|id| id.0).collect::<Vec<_>>(),
    })
}

/// The file form of an assignment.
#[derive(Deserialize)]
struct Record {
    method: String,
    batch: usize,
    simulated: bool,
    demoted: Vec<usize>,
    high: String,
    low_forward: String,
    low_backward: String,
    low_parameter_gradient: String,
    low: BTreeSet<usize>,
    chosen: Vec<String>,
    recomputed: Vec<u32>,
}

fn assignment(graph: &Graph, text: &str) -> Result<(Assignment, Storage), TrainerError> {
    let record: Record = serde_json::from_str(text).map_err(|e| TrainerError::Assignment(e.to_string()))?;
    let wrong = |what: &str| TrainerError::Assignment(format!("`{what}` is wrong"));
    let format = |name: &str| name.parse::<Format>().map_err(|_| wrong(name));
    let method: Method = record.method.parse().map_err(|_| wrong("method"))?;
    let formats = Formats {
        high: format(&record.high)?,
        low_forward: format(&record.low_forward)?,
        low_backward: format(&record.low_backward)?,
        low_parameter_gradient: format(&record.low_parameter_gradient)?,
    };
    let chosen: Result<Vec<Format>, TrainerError> = record.chosen.iter().map(|name| format(name)).collect();
    let recomputed: Vec<NodeId> = record.recomputed.into_iter().map(NodeId).collect();
    let backward = graph.backward();
    let again = |id: &NodeId| graph.contains(*id) && !backward[id.index()] && graph.op(*id).source_name().is_none();
    if !recomputed.iter().all(again) {
        return Err(wrong("recomputed"));
    }
    let mut assignment = Assignment::of_choices(graph, record.batch, method, formats, chosen?, recomputed)?;
    let level = |tensor| if record.low.contains(&tensor) { Level::Low } else { Level::High };
    assignment.levels = (0..assignment.tensors.len()).map(level).collect();
    if record.demoted.iter().any(|&group| group >= assignment.groups.len()) {
        return Err(wrong("demoted"));
    }
    assignment.demoted = record.demoted;
    Ok((assignment, if record.simulated { Storage::Simulated } else { Storage::Packed }))
}
