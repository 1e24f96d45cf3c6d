//! The bytes of a trainer file: protocol buffers, then their CRC-32.

use crate::ErrorKind;
use bitbudget_ir::{Graph, verify};
use bitbudget_program::{DynamicScale, Progress};
use prost::Message;
use std::collections::BTreeMap;

/// Why bytes are not a trainer file that this build reads.
#[derive(Debug, thiserror::Error)]
#[error("the trainer file cannot be read: {reason}; compile the network again")]
pub struct DecodeError {
    kind: ErrorKind,
    /// The field, where one is wrong.
    field: Option<&'static str>,
    reason: String,
}

impl DecodeError {
    fn new(reason: impl Into<String>) -> DecodeError {
        DecodeError { kind: ErrorKind::Corrupt, field: None, reason: reason.into() }
    }

    fn at(field: &'static str, reason: impl Into<String>) -> DecodeError {
        DecodeError { field: Some(field), ..DecodeError::new(reason) }
    }

    /// The kind: that it is damaged, or of another version.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The field, where one is wrong.
    pub fn place(&self) -> Option<&str> {
        self.field
    }

    /// Advice.
    pub fn help(&self) -> Option<&str> {
        Some("compile the network again")
    }
}

/// The contents of a trainer file. It holds no programs: loading builds these for the machine at hand.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// The forward graph, for taking the trained network away.
    pub(super) forward: Graph,
    /// The training graph.
    pub(super) training: Graph,
    /// The assignment of formats to the training graph's tensors, and the budget, as JSON.
    pub(super) assignment: String,
    /// Values of parameters, states and constants by name.
    pub(super) values: BTreeMap<String, Vec<f32>>,
    /// How far the values have been trained.
    pub(super) progress: Progress,
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
    #[prost(uint32, tag = "6")]
    updates: u32,
    #[prost(message, optional, tag = "7")]
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
const MAGIC: &str = "bitbudget trainer 8";

impl File {
    /// The file form.
    pub(super) fn encode(&self) -> Vec<u8> {
        let values = self.values.iter().map(|(n, v)| (n.clone(), ValuesMessage { values: v.clone() })).collect();
        let message = TrainerMessage {
            magic: MAGIC.into(),
            forward: self.forward.to_string(),
            training: self.training.to_string(),
            assignment: self.assignment.clone(),
            values,
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

    /// The content of a file form, with its graphs checked.
    ///
    /// # Errors
    /// If the bytes are not a trainer file of this version, or a damaged one.
    pub(super) fn decode(bytes: &[u8]) -> Result<File, DecodeError> {
        if !is_trainer(bytes) {
            return Err(DecodeError::new("the file does not begin as a trainer file does"));
        }
        let Some(magic) = bytes.get(2..2 + MAGIC.len()).map(String::from_utf8_lossy) else {
            return Err(DecodeError::at("magic", format!("it ends after {} bytes", bytes.len())));
        };
        if magic != MAGIC {
            let error = DecodeError::at("magic", format!("it is a `{magic}`, this build reads `{MAGIC}`"));
            return Err(DecodeError { kind: ErrorKind::Mismatch, ..error });
        }
        let (message, checksum) = bytes.split_last_chunk().ok_or_else(|| DecodeError::new("the file is too short"))?;
        if crc32fast::hash(message) != u32::from_le_bytes(*checksum) {
            return Err(DecodeError::at("checksum", "the file is damaged: its checksum is wrong"));
        }
        let message = TrainerMessage::decode(message).map_err(|e| DecodeError::new(e.to_string()))?;
        Ok(File {
            forward: graph("forward", &message.forward)?,
            training: graph("training", &message.training)?,
            assignment: message.assignment,
            values: message.values.into_iter().map(|(n, v)| (n, v.values)).collect(),
            progress: Progress { updates: message.updates, loss_scale: message.loss_scale.map(scale).transpose()? },
        })
    }
}

/// Whether bytes begin as a trainer file does, of any version; a file that is cut off within its first bytes does so too.
pub(crate) fn is_trainer(bytes: &[u8]) -> bool {
    // Field 1, length-delimited, then the magic's text up to its version.
    const START: &[u8] = b"bitbudget trainer";
    let text = bytes.get(2..).unwrap_or_default();
    bytes.first() == Some(&0x0a) && !text.is_empty() && START.iter().zip(text).all(|(expected, byte)| expected == byte)
}

fn scale(message: ScaleMessage) -> Result<DynamicScale, DecodeError> {
    let ScaleMessage { scale, clean_steps } = message;
    match scale.is_normal() && scale > 0.0 {
        true => Ok(DynamicScale { scale, clean_steps }),
        false => {
            Err(DecodeError::at("loss scale", format!("its loss scale is {scale}, which is not a positive number")))
        }
    }
}

fn graph(field: &'static str, text: &str) -> Result<Graph, DecodeError> {
    let graph: Graph = text.parse().map_err(|e| DecodeError::at(field, format!("its graph does not parse: {e}")))?;
    verify(&graph).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        DecodeError::at(field, format!("its graph is wrong: {}", faults.join("; ")))
    })?;
    Ok(graph)
}
