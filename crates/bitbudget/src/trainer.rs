//! Between a compiled trainer and its file form.

use crate::{CompileError, Compiled, Storage};
use bitbudget_ir::{Graph, Model, NodeId};
use bitbudget_precision::{AssignError, Assignment, Formats, Kind, Level, Method, assign};
use bitbudget_program::{DecodeError, Trainer};
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

/// What an assignment was made by, and which tensors are low.
fn record(assignment: &Assignment, storage: Storage) -> Value {
    let low = assignment.assigned().filter(|&(_, level, _)| level == Level::Low);
    let low: Vec<Value> = low.map(|(t, _, _)| json!([t.operator.0, t.node.0, t.kind as u8])).collect();
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
        "low": low,
    })
}

fn assignment(graph: &Graph, text: &str) -> Result<(Assignment, Storage), TrainerError> {
    let record: Value = serde_json::from_str(text).map_err(|e| TrainerError::Assignment(e.to_string()))?;
    let missing = |key: &str| TrainerError::Assignment(format!("`{key}` is missing or wrong"));
    let string = |key: &str| record[key].as_str().ok_or_else(|| missing(key));
    let format = |key: &str| string(key)?.parse().map_err(|_| missing(key));
    let method: Method = string("method")?.parse().map_err(|_| missing("method"))?;
    let batch = record["batch"].as_u64().and_then(|b| usize::try_from(b).ok()).ok_or_else(|| missing("batch"))?;
    let formats = Formats {
        high: format("high")?,
        low_forward: format("low_forward")?,
        low_backward: format("low_backward")?,
        low_parameter_gradient: format("low_parameter_gradient")?,
    };
    let mut low = BTreeSet::new();
    for entry in record["low"].as_array().ok_or_else(|| missing("low"))? {
        let number = |i: usize| entry[i].as_u64().and_then(|n| u32::try_from(n).ok()).ok_or_else(|| missing("low"));
        low.insert((NodeId(number(0)?), NodeId(number(1)?), number(2)?));
    }
    let demoted = record["demoted"].as_array().ok_or_else(|| missing("demoted"))?;
    let demoted: Option<Vec<usize>> =
        demoted.iter().map(|g| g.as_u64().and_then(|g| usize::try_from(g).ok())).collect();
    let mut assignment = assign(graph, batch, method, 0.0, 0, formats)?;
    let key = |kind: Kind| kind as u32;
    let level = |is_low| if is_low { Level::Low } else { Level::High };
    let levels = assignment.tensors.iter().map(|t| level(low.contains(&(t.operator, t.node, key(t.kind))))).collect();
    assignment.set_levels(graph, levels);
    assignment.demoted = demoted.ok_or_else(|| missing("demoted"))?;
    let simulated = record["simulated"].as_bool().ok_or_else(|| missing("simulated"))?;
    Ok((assignment, if simulated { Storage::Simulated } else { Storage::Packed }))
}
