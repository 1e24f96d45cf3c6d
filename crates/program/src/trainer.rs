//! The trainer file: everything that training needs, in one file. Protocol buffers, then their CRC-32.

use crate::wire::{DecodeError, ProgramMessage, from_message, to_message};
use crate::{DynamicScale, Program, Progress};
use bitbudget_ir::{Graph, verify};
use prost::Message;
use std::collections::BTreeMap;

/// A compiled trainer with its weights.
#[derive(Clone, Debug)]
pub struct Trainer {
    /// The forward graph, for taking the trained network away.
    pub forward: Graph,
    /// The training graph that the programs were lowered from, for lowering again after a promotion.
    pub training: Graph,
    /// The assignment of formats to the training graph's tensors, as JSON.
    pub assignment: String,
    /// Values of parameters, states and constants by name.
    pub values: BTreeMap<String, Vec<f32>>,
    /// How far the values have been trained.
    pub progress: Progress,
    /// One training step.
    pub train: Program,
    /// One evaluation step in the trained assignment.
    pub evaluate: Program,
}

#[derive(Clone, PartialEq, Message)]
struct TrainerMessage {
    #[prost(string, tag = "1")]
    magic: String,
    #[prost(string, tag = "2")]
    forward: String,
    #[prost(string, tag = "3")]
    training: String,
    #[prost(string, tag = "4")]
    assignment: String,
    #[prost(btree_map = "string, message", tag = "5")]
    values: BTreeMap<String, ValuesMessage>,
    #[prost(message, optional, tag = "6")]
    train: Option<ProgramMessage>,
    #[prost(message, optional, tag = "7")]
    evaluate: Option<ProgramMessage>,
    #[prost(uint32, tag = "8")]
    updates: u32,
    #[prost(message, optional, tag = "9")]
    loss_scale: Option<ScaleMessage>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ScaleMessage {
    #[prost(float, tag = "1")]
    scale: f32,
    #[prost(uint64, tag = "2")]
    clean_steps: u64,
}

#[derive(Clone, PartialEq, Message)]
struct ValuesMessage {
    #[prost(float, repeated, tag = "1")]
    values: Vec<f32>,
}

/// The first field of every trainer file, with the version of its layout.
const MAGIC: &str = "bitbudget trainer 4";

impl Trainer {
    /// The file form.
    pub fn encode(&self) -> Vec<u8> {
        let values = self.values.iter().map(|(n, v)| (n.clone(), ValuesMessage { values: v.clone() })).collect();
        let message = TrainerMessage {
            magic: MAGIC.into(),
            forward: self.forward.to_string(),
            training: self.training.to_string(),
            assignment: self.assignment.clone(),
            values,
            train: Some(to_message(&self.train)),
            evaluate: Some(to_message(&self.evaluate)),
            updates: self.progress.updates,
            loss_scale: self
                .progress
                .loss_scale
                .map(|DynamicScale { scale, clean_steps }| ScaleMessage { scale, clean_steps }),
        };
        let mut bytes = message.encode_to_vec();
        let checksum = crc32fast::hash(&bytes);
        bytes.extend(checksum.to_le_bytes());
        bytes
    }

    /// Whether bytes begin as a trainer file does.
    pub fn recognise(bytes: &[u8]) -> bool {
        // Field 1, length-delimited, then the magic's text up to its version.
        bytes.get(2..).is_some_and(|rest| rest.starts_with(b"bitbudget trainer"))
    }

    /// The trainer of a file form, with graphs and programs checked.
    ///
    /// # Errors
    /// If the bytes are not a trainer file of this version, or a damaged one.
    pub fn decode(bytes: &[u8]) -> Result<Trainer, DecodeError> {
        if !Trainer::recognise(bytes) {
            return Err(DecodeError::new("the file does not begin as a trainer file does"));
        }
        let magic = bytes.get(2..2 + MAGIC.len()).map(String::from_utf8_lossy).unwrap_or_default();
        if magic != MAGIC {
            let text = format!("it is a `{magic}`, this build reads `{MAGIC}`; compile the network again");
            return Err(DecodeError::new(text));
        }
        let (message, checksum) = bytes.split_last_chunk().ok_or_else(|| DecodeError::new("the file is too short"))?;
        if crc32fast::hash(message) != u32::from_le_bytes(*checksum) {
            return Err(DecodeError::new("the file is damaged: its checksum is wrong; compile the network again"));
        }
        let message = TrainerMessage::decode(message).map_err(|e| DecodeError::new(e.to_string()))?;
        let program = |message: Option<ProgramMessage>| {
            message.ok_or_else(|| DecodeError::new("a program is missing")).and_then(from_message)
        };
        Ok(Trainer {
            forward: graph(&message.forward)?,
            training: graph(&message.training)?,
            assignment: message.assignment,
            values: message.values.into_iter().map(|(n, v)| (n, v.values)).collect(),
            progress: Progress { updates: message.updates, loss_scale: message.loss_scale.map(scale).transpose()? },
            train: program(message.train)?,
            evaluate: program(message.evaluate)?,
        })
    }
}

fn scale(message: ScaleMessage) -> Result<DynamicScale, DecodeError> {
    let ScaleMessage { scale, clean_steps } = message;
    match scale.is_normal() && scale > 0.0 {
        true => Ok(DynamicScale { scale, clean_steps }),
        false => Err(DecodeError::new(format!("its loss scale is {scale}, which is not a positive number"))),
    }
}

fn graph(text: &str) -> Result<Graph, DecodeError> {
    let graph: Graph = text.parse().map_err(|e| DecodeError::new(format!("its graph does not parse: {e}")))?;
    verify(&graph).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        DecodeError::new(format!("its graph is wrong: {}", faults.join("; ")))
    })?;
    Ok(graph)
}
