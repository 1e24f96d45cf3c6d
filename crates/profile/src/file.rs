//! The profile as plain data, and its file.

use crate::error::ProfileError;
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, Loss, NodeId};
use bitbudget_precision::Kind;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeSet;

/// The version of the file's layout; files of others are refused.
pub const VERSION: u32 = 1;

/// The cost of rounding each tensor of a network to each format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The version of the layout, [`VERSION`].
    pub version: u32,
    /// The [`fingerprint`] of the forward network.
    pub network: String,
    /// How it was measured.
    pub settings: Settings,
    /// Times of steps and their parts.
    pub seconds: Seconds,
    /// The tensors, in the order in which they were given.
    pub tensors: Vec<TensorProfile>,
}

/// How a profile is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The data of the batches, for people.
    pub data: String,
    /// The name of the loss; cross-entropy in files without it.
    #[serde(default = "usual_loss", skip_serializing_if = "is_usual")]
    pub loss: String,
    /// The seed with which they were drawn, for people.
    pub seed: u64,
    /// Examples per batch.
    pub batch: usize,
    /// The number of batches.
    pub batches: usize,
    /// The learning rate of the step that rounded gradients change.
    pub learning_rate: f32,
    /// The factor of gradients when they are rounded.
    pub loss_scale: f32,
    /// The formats, by name in the file.
    #[serde(serialize_with = "write_formats", deserialize_with = "read_formats")]
    pub formats: Vec<Format>,
}

fn usual_loss() -> String {
    Loss::default().to_string()
}

fn is_usual(loss: &str) -> bool {
    loss == usual_loss()
}

/// Seconds at the profile's batch, in FP32, of the fastest step measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seconds {
    /// CPU threads that ran.
    pub threads: usize,
    /// A whole training step.
    pub step: f64,
    /// The nodes of the forward part that compute something; parts of one instruction share its time evenly.
    pub forward: Vec<NodeSeconds>,
}

/// The time of one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSeconds {
    /// The node of the training graph.
    pub node: u32,
    /// Its name.
    pub name: String,
    /// Seconds per step.
    pub seconds: f64,
}

/// One tensor over all batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorProfile {
    /// Its kind.
    pub kind: Kind,
    /// The node of the training graph whose result it is, or whose result's gradient it is.
    pub node: u32,
    /// The node's name.
    pub name: String,
    /// Its size in elements at the profile's batch, as assignments count it.
    pub elements: u64,
    /// The smallest number; of a gradient without the loss scale.
    pub min: f64,
    /// The largest number.
    pub max: f64,
    /// The mean of the magnitudes.
    pub mean_abs: f64,
    /// The effect of each format, in the order of [`Settings::formats`].
    pub formats: Vec<FormatProfile>,
}

/// A tensor in a format.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormatProfile {
    /// The format, by name in the file.
    #[serde(serialize_with = "write_format", deserialize_with = "read_format")]
    pub format: Format,
    /// The share of the rounded numbers that overflow, 0 to 1.
    pub overflow: f64,
    /// The share that is not zero and becomes it.
    pub underflow: f64,
    /// The second moment of the change of the loss, at first order: see the crate's documentation.
    pub cost: f64,
}

impl Profile {
    /// The profile in a file's bytes.
    ///
    /// # Errors
    /// If they are not a profile, one of another version, or one with numbers that no measurement gives.
    pub fn read(bytes: &[u8]) -> Result<Profile, ProfileError> {
        let fault = |e: &dyn std::fmt::Display| ProfileError::Format(e.to_string());
        let profile: Profile = serde_json::from_slice(bytes).map_err(|e| fault(&e))?;
        profile.validate().map_err(|reason| fault(&reason))?;
        Ok(profile)
    }

    /// The file's text.
    ///
    /// # Errors
    /// None for profiles that were measured or read.
    pub fn write(&self) -> Result<String, ProfileError> {
        let text = serde_json::to_string_pretty(self).map_err(|e| ProfileError::Format(e.to_string()))?;
        Ok(format!("{text}\n"))
    }

    /// Checks that the profile was measured with a loss.
    ///
    /// # Errors
    /// If it was measured with another one.
    pub fn check_loss(&self, loss: &Loss) -> Result<(), ProfileError> {
        match (loss.to_string(), &self.settings.loss) {
            (expected, found) if expected == *found => Ok(()),
            (expected, found) => Err(ProfileError::Loss { expected, found: found.clone() }),
        }
    }

    /// Checks that the profile is one of `forward`.
    ///
    /// # Errors
    /// If it is of another network.
    pub fn check(&self, forward: &Graph) -> Result<(), ProfileError> {
        let expected = fingerprint(forward);
        match self.network == expected {
            true => Ok(()),
            false => Err(ProfileError::Network { expected, found: self.network.clone() }),
        }
    }

    /// The tensor of a kind and node of the training graph.
    pub fn tensor(&self, kind: Kind, node: NodeId) -> Option<&TensorProfile> {
        self.tensors.iter().find(|t| (t.kind, t.node) == (kind, node.0))
    }

    /// The cost of rounding a tensor to a format: 0 for FP32, `None` if the profile did not measure it.
    pub fn cost(&self, kind: Kind, node: NodeId, format: Format) -> Option<f64> {
        self.tensor(kind, node)?.cost(format)
    }

    /// Seconds that computing a node of the forward part takes at the profile's batch; none for views and sources.
    pub fn seconds_of(&self, node: NodeId) -> f64 {
        self.seconds.forward.iter().find(|n| n.node == node.0).map_or(0.0, |n| n.seconds)
    }

    fn validate(&self) -> Result<(), String> {
        if self.version != VERSION {
            return Err(format!("version {} is not {VERSION}", self.version));
        }
        let times = self.seconds.forward.iter().map(|n| n.seconds);
        if times.chain([self.seconds.step]).any(|s| s.is_nan() || s < 0.0) {
            return Err("a time is negative".into());
        }
        let mut seen = BTreeSet::new();
        for tensor in &self.tensors {
            let name = &tensor.name;
            if !seen.insert((tensor.kind, tensor.node)) {
                return Err(format!("{} `{name}` is there twice", tensor.kind));
            }
            if !tensor.formats.iter().map(|f| f.format).eq(self.settings.formats.iter().copied()) {
                return Err(format!("the formats of `{name}` are not those of the settings"));
            }
            let ratio = |x: f64| (0.0..=1.0).contains(&x);
            if tensor
                .formats
                .iter()
                .any(|f| f.cost.is_nan() || f.cost < 0.0 || !ratio(f.overflow) || !ratio(f.underflow))
            {
                return Err(format!("a cost or ratio of {} `{name}` is out of range", tensor.kind));
            }
        }
        Ok(())
    }
}

impl TensorProfile {
    /// The cost of rounding it to a format: 0 for FP32, `None` if the profile did not measure it.
    pub fn cost(&self, format: Format) -> Option<f64> {
        let known = self.formats.iter().find(|f| f.format == format).map(|f| f.cost);
        known.or((format == Format::FP32).then_some(0.0))
    }

    /// Its largest cost in any of the formats.
    pub fn worst(&self) -> f64 {
        self.formats.iter().map(|f| f.cost).fold(0.0, f64::max)
    }
}

/// A short text that differs between networks: a hash (64-bit FNV-1a) of operators, shapes and names, not of weights.
pub fn fingerprint(forward: &Graph) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = forward.whole_text().bytes().fold(0xcbf2_9ce4_8422_2325, step);
    format!("{hash:016x}")
}

fn write_format<S: Serializer>(format: &Format, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(format)
}

fn read_format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Format, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

fn write_formats<S: Serializer>(formats: &[Format], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(formats.iter().map(Format::to_string))
}

fn read_formats<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Format>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    names.iter().map(|name| name.parse().map_err(serde::de::Error::custom)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        let formats = vec![Format::BF16, Format::PAPER_LOW_FORWARD];
        let row =
            |format: &Format| FormatProfile { format: *format, overflow: 0.1, underflow: 1.0 / 3.0, cost: 0.1 + 0.2 };
        let tensor = TensorProfile {
            kind: Kind::OutputGradient,
            node: 7,
            name: "conv".into(),
            elements: 12,
            min: -1.0e-7,
            max: 3.5,
            mean_abs: 0.7,
            formats: formats.iter().map(row).collect(),
        };
        let settings = Settings {
            loss: usual_loss(),
            data: "digits".into(),
            seed: 3,
            batch: 16,
            batches: 4,
            learning_rate: 0.05,
            loss_scale: 65536.0,
            formats,
        };
        let forward = vec![NodeSeconds { node: 7, name: "conv".into(), seconds: 0.25 }];
        let seconds = Seconds { threads: 2, step: 1.0, forward };
        Profile { version: VERSION, network: fingerprint(&Graph::new("a")), settings, seconds, tensors: vec![tensor] }
    }

    #[test]
    fn a_file_reads_back_as_it_was() {
        let profile = profile();
        assert_eq!(Profile::read(profile.write().unwrap().as_bytes()).unwrap(), profile);
    }

    #[test]
    fn costs_and_times_are_found() {
        let profile = profile();
        let cost = |kind, node, format| profile.cost(kind, NodeId(node), format);
        assert_eq!(cost(Kind::OutputGradient, 7, Format::BF16), Some(0.1 + 0.2));
        assert_eq!(cost(Kind::OutputGradient, 7, Format::FP32), Some(0.0));
        assert_eq!(cost(Kind::OutputGradient, 7, Format::FP16), None);
        assert_eq!(cost(Kind::Output, 7, Format::BF16), None);
        assert_eq!((profile.seconds_of(NodeId(7)), profile.seconds_of(NodeId(8))), (0.25, 0.0));
    }

    #[test]
    fn other_networks_are_refused() {
        let profile = profile();
        profile.check(&Graph::new("a")).unwrap();
        let error = profile.check(&Graph::new("b")).unwrap_err();
        assert!(error.to_string().contains("of another network"), "{error}");
    }

    #[test]
    fn damaged_files_are_refused() {
        let text = profile().write().unwrap();
        let cases = [
            ("\"version\": 1", "\"version\": 2", "version 2"),
            ("\"cost\": 0.3", "\"cost\": -0.3", "out of range"),
            ("\"overflow\": 0.1", "\"overflow\": 1.1", "out of range"),
            ("\"step\": 1.0", "\"step\": -1.0", "negative"),
            ("\"format\": \"bf16\"", "\"format\": \"fp16\"", "not those of the settings"),
            ("\"format\": \"bf16\"", "\"format\": \"fp7\"", "unknown format"),
            ("\"kind\": \"output_gradient\"", "\"kind\": \"weight\"", "weight"),
            ("\"node\": 7", "\"node\": -7", "u32"),
            ("\"seed\"", "\"sed\"", "sed"),
            ("{", "[", "not a profile"),
        ];
        for (from, to, word) in cases {
            assert!(text.contains(from), "{from}");
            let error = Profile::read(text.replacen(from, to, 1).as_bytes()).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("bitbudget profile"), "{to}: {error}");
        }
        let mut twice = profile();
        twice.tensors.push(twice.tensors[0].clone());
        assert!(Profile::read(twice.write().unwrap().as_bytes()).unwrap_err().to_string().contains("twice"));
    }
}
